"""A configuration from its record. Nothing is imported because a file names it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from vaelab.checks import UsageError
from vaelab.runs.identity import plain
from vaelab.runs.record import differing_fields, to_record

# Packages that vaelab itself has imported; their functions serve as activations and the like.
_TRUSTED = ("vaelab", "jax", "flax")
_WRITING = {"runs", "cli", "training", "data", "plotting"}


class UnknownPartError(UsageError):
    """A part of a record that cannot be rebuilt: data in memory, or a type that is not named."""


def from_record(record: Any, modules: Sequence[ModuleType | str] = (), path: str = "") -> Any:
    """The value of a record made by `to_record`.

    Args:
      record: plain JSON values.
      modules: modules whose types and functions may be used, beside vaelab's: modules, or names of
        modules, which are imported.
      path: dotted path of the value, for errors.

    Raises:
      UnknownPartError: a type or function is neither vaelab's nor in `modules`, or has changed; an array
        is known by its digest alone.

    >>> import jax
    >>> from vaelab import networks
    >>> from vaelab.runs.record import to_record
    >>> network = networks.MLP((8,), activation=jax.numpy.tanh)
    >>> from_record(to_record(network)) == network
    True
    """
    if isinstance(record, list):
        return tuple(from_record(item, modules, f"{path}.{i}") for i, item in enumerate(record))
    if not isinstance(record, dict):
        return record
    if "type" not in record:
        return {k: from_record(v, modules, f"{path}.{k}") for k, v in record.items()}
    kind = record["type"]
    where = path.lstrip(".")
    if kind == "float":
        return float(record["value"])
    if kind == "array":
        raise UnknownPartError(
            f"{where} is an array of shape {tuple(record['shape'])}, and the record holds its "
            "digest alone: pass the array, or the experiment, again."
        )
    if kind == "class":
        return _named(record["name"], modules, path)
    if kind == "function":
        return _function(record, modules, path)
    if kind in ("module", "loop"):
        raise UnknownPartError(f"{where} is a {kind}, which a record cannot rebuild.")
    if kind in ("partial", "method"):
        parts = {name: from_record(record[name], modules, f"{path}.{name}") for name in record}
        if kind == "partial":
            return functools.partial(parts["function"], *parts["arguments"], **parts["keywords"])
        return getattr(parts["of"], parts["name"])
    return _object(kind, record, modules, path)


def _object(
    kind: str, record: dict[str, Any], modules: Sequence[ModuleType | str], path: str
) -> Any:
    where, found = path.lstrip("."), _named(kind, modules, path)
    if not isinstance(found, type) or not (_is_value(found) or _of_caller(found)):
        raise UnknownPartError(f"{where} = {kind} is not a type of a configuration.")
    defaults = _defaults(found)
    parts = {
        # A default, such as the initialiser of a layer, may be a function without a name of its own.
        name: defaults[name]
        if name in defaults and plain(to_record(defaults[name])) == part
        else from_record(part, modules, f"{path}.{name}")
        for name, part in record.items()
        if name != "type"
    }
    try:
        return found(**parts)
    except TypeError as error:
        raise UnknownPartError(
            f"{where} = {kind} cannot be rebuilt ({error}): pass the experiment."
        ) from error


def _defaults(found: type) -> dict[str, Any]:
    """The defaults of a dataclass, by field."""
    if not dataclasses.is_dataclass(found):
        return {}
    fields = [field for field in dataclasses.fields(found) if field.init]
    return {
        field.name: field.default for field in fields if field.default is not dataclasses.MISSING
    }


def _function(record: dict[str, Any], modules: Sequence[ModuleType | str], path: str) -> Any:
    found = _named(record["name"], modules, path)
    if differences := differing_fields(plain(to_record(found)), record):
        raise UnknownPartError(
            f"{path.lstrip('.')}: the function {record['name']} has changed since the run was trained, in "
            f"{', '.join(differences)}: restore its old code, or pass the experiment."
        )
    return found


def _belongs(found: Any, package: str) -> bool:
    """True for what a package defines itself; a module that it imports, such as `os`, is not part of it.

    Some of vaelab's packages have functions that write files, which are no part of a configuration.
    """
    parts = (getattr(found, "__module__", None) or "").split(".")
    writes = parts[0] == "vaelab" and not _WRITING.isdisjoint(parts[1:2])
    if writes and not isinstance(found, type):
        return False
    return parts[0] == package


def _is_value(found: type) -> bool:
    """True for a type whose construction only holds its fields."""
    return dataclasses.is_dataclass(found) or hasattr(found, "_fields")


def _of_caller(found: type) -> bool:
    return found.__module__.partition(".")[0] not in _TRUSTED


def _named(name: str, modules: Sequence[ModuleType | str], path: str) -> Any:
    """The object of a dotted name, in a trusted package or in one of the modules."""
    named = {
        module.__name__: module
        for module in (
            importlib.import_module(m) if isinstance(m, str) else m for m in modules
        )
    }  # fmt: skip
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        place = ".".join(parts[:length])
        found: Any = named.get(place)
        if found is None and parts[0] in _TRUSTED:
            found = sys.modules.get(place)
        if found is None:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        if found is not None and _belongs(found, parts[0]):
            return found
    raise UnknownPartError(
        f"{path.lstrip('.')} = {name} is not part of vaelab: pass the module that defines it, as "
        f"modules=[{parts[0]}]."
    )

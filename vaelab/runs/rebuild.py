"""A configuration from its record. Nothing is imported because a file names it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from vaelab.checks import UsageError
from vaelab.runs.identity import plain
from vaelab.runs.record import differing_fields, to_record
from vaelab.runs.trust import TRUSTED, is_number_type, is_part, module_of
from vaelab.untrusted import one_line, printable, reason_of


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
    where = printable(path.lstrip("."), 200)
    if kind == "float":
        return _float(record.get("value"), where)
    if kind == "array":
        shape = record.get("shape")
        shown = printable(str(tuple(shape) if isinstance(shape, list) else shape))
        raise UnknownPartError(
            f"{where} is an array of shape {shown}, and the record holds its digest alone: pass the array, "
            "or the experiment, again."
        )
    if kind == "class":
        return _class(record, modules, where)
    if kind == "function":
        return _function(record, modules, where)
    if kind in ("module", "loop"):
        raise UnknownPartError(f"{where} is a {kind}, which a record cannot rebuild.")
    if kind in ("partial", "method"):
        parts = {name: from_record(record[name], modules, f"{path}.{name}") for name in record}
        return _partial(parts, where) if kind == "partial" else _method(parts, where)
    return _object(kind, record, modules, path)


def _float(value: Any, where: str) -> float:
    if value not in ("nan", "inf", "-inf"):
        raise UnknownPartError(f"{where} is no number: repair or remove the file.")
    return float(value)


def _partial(parts: Mapping[str, Any], where: str) -> Any:
    function, arguments, keywords = (
        parts.get(name) for name in ("function", "arguments", "keywords")
    )
    if not (callable(function) and isinstance(arguments, tuple) and isinstance(keywords, dict)):
        raise UnknownPartError(f"{where} is no partial function: pass the experiment.")
    return functools.partial(function, *arguments, **keywords)


def _method(parts: Mapping[str, Any], where: str) -> Any:
    """A bound method that the type of a rebuilt object defines. No other attribute leads anywhere else."""
    of, name = parts.get("of"), str(parts.get("name"))
    public = not name.startswith("_") or name == "__call__"
    if not public or not inspect.isfunction(inspect.getattr_static(type(of), name, None)):
        raise UnknownPartError(f"{where} is no method of a configuration: pass the experiment.")
    return getattr(of, name)


def _object(
    kind: Any, record: dict[str, Any], modules: Sequence[ModuleType | str], path: str
) -> Any:
    where = printable(path.lstrip("."), 200)
    found, shown = _named(kind, modules, where), printable(str(kind))
    if not isinstance(found, type) or not is_part(found):
        raise UnknownPartError(f"{where} = {shown} is not a type of a configuration.")
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
    except UsageError as error:
        raise UnknownPartError(f"{where} = {shown}: {one_line(str(error))}") from None
    except Exception as error:  # fields of any types
        raise UnknownPartError(
            f"{where} = {shown} cannot be rebuilt ({reason_of(error)}): pass the experiment."
        ) from error


def _defaults(found: type) -> dict[str, Any]:
    """The defaults of a dataclass, by field."""
    if not dataclasses.is_dataclass(found):
        return {}
    fields = [field for field in dataclasses.fields(found) if field.init]
    return {
        field.name: field.default for field in fields if field.default is not dataclasses.MISSING
    }


def _class(record: dict[str, Any], modules: Sequence[ModuleType | str], where: str) -> type:
    found = _named(record.get("name"), modules, where)
    if not isinstance(found, type) or not (is_part(found) or is_number_type(found)):
        raise UnknownPartError(f"{where} is not a type of a configuration.")
    return found


def _function(record: dict[str, Any], modules: Sequence[ModuleType | str], where: str) -> Any:
    found = _named(record.get("name"), modules, where)
    shown = printable(record["name"])
    if isinstance(found, type) or not callable(found) or not is_part(found):
        raise UnknownPartError(f"{where} = {shown} is not a function of a configuration.")
    if differences := differing_fields(plain(to_record(found)), record):
        raise UnknownPartError(
            f"{where}: the function {shown} has changed since the run was trained, in "
            f"{', '.join(differences)}: restore its old code, or pass the experiment."
        )
    return found


def _named(name: Any, modules: Sequence[ModuleType | str], where: str) -> Any:
    """The object of a dotted name, in a trusted package or in one of the modules. Nothing is imported for it."""
    if not isinstance(name, str):
        raise UnknownPartError(f"{where} has no name: repair or remove the file.")
    named = {
        module.__name__: module
        for module in (
            importlib.import_module(m) if isinstance(m, str) else m for m in modules
        )
    }  # fmt: skip
    parts = name.split(".")
    private = any(part.startswith("__") for part in parts)
    for length in range(0 if private else len(parts) - 1, 0, -1):
        place = ".".join(parts[:length])
        found: Any = named.get(place)
        if found is None and parts[0] in TRUSTED:
            found = sys.modules.get(place)
        if found is None:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        # What a package defines itself: a module that it imports, such as `os`, is not part of it.
        if found is not None and module_of(found).partition(".")[0] == parts[0]:
            return found
    raise UnknownPartError(
        f"{where} = {printable(name)} is not part of vaelab: pass the module that defines it, as "
        f"modules=[{printable(parts[0])}]."
    )

"""A configuration as plain JSON values. Two configurations that differ have different records."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

import jax
import numpy as np

from vaelab.checks import UsageError
from vaelab.data.arrays import digest
from vaelab.runs.functions import code_digest, globals_of, installed_name, name_of, public_name
from vaelab.untrusted import printable


def to_record(value: Any, path: str = "", within: tuple[int, ...] = ()) -> Any:
    """A configuration as plain JSON values, which `vaelab.runs.rebuild.from_record` reads.

    An object is its type's public name and its fields. A function of vaelab or of an installed package
    is its name. Any other function is its name, a digest of its code, and records of what it refers to:
    defaults, variables of the functions around it, globals. An array is a digest. The digest of code
    depends on the version of Python.

    Args:
      value: the configuration.
      path: dotted path of the value, for errors.
      within: identities of the objects around the value.

    Raises:
      UsageError: a value cannot be told apart from another value.

    >>> to_record({"kappa": np.float32(0.5), "activation": jax.numpy.tanh})
    {'kappa': 0.5, 'activation': {'type': 'function', 'name': 'jax.numpy.tanh'}}
    >>> to_record(functools.partial(max, 1))["arguments"]
    [1]
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        array = np.asarray(value)
        return to_record(array.item()) if array.ndim == 0 else _lists(digest(array))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"type": "float", "value": str(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, ModuleType):
        return {"type": "module", "name": value.__name__}
    if isinstance(value, type):
        return {"type": "class", "name": public_name(value)}
    if id(value) in within:
        return {"type": "loop", "levels": within[::-1].index(id(value)) + 1}

    def record(part: Any, name: str) -> Any:
        return to_record(part, f"{path}.{name}" if path else name, (*within, id(value)))

    if isinstance(value, Mapping):
        return {str(name): record(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [record(item, str(index)) for index, item in enumerate(value)]
    name, parts = _parts(value, path)
    return {"type": name} | {n: record(p, n) for n, p in parts.items()}


def _parts(value: Any, path: str) -> tuple[str, Mapping[str, Any]]:
    """The name of the type, and what has to be recorded of an object."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return public_name(type(value)), value._asdict()
    if dataclasses.is_dataclass(value):
        names = [
            f.name
            for f in dataclasses.fields(value)
            if f.init and f.name not in ("parent", "name")  # two fields of every Linen module
        ]
        return public_name(type(value)), {name: getattr(value, name) for name in names}
    if isinstance(value, functools.partial):
        return "partial", {
            "function": value.func, "arguments": value.args, "keywords": value.keywords,
        }  # fmt: skip
    if inspect.ismethod(value):
        return "method", {"name": value.__name__, "of": value.__self__}
    if (name := installed_name(value)) is not None:
        return "function", {"name": name}
    if isinstance(value, FunctionType):
        return "function", {
            "name": name_of(value),
            "code": code_digest(value.__code__),
            "defaults": [*(value.__defaults__ or ()), value.__kwdefaults__ or {}],
            "captured": {**inspect.getclosurevars(value).nonlocals, **globals_of(value)},
        }
    contents: dict[str, Any] | None = getattr(value, "__dict__", None)
    if contents is not None and (contents or callable(value)):
        if "__wrapped__" in contents:  # `jax.jit` and the like
            contents = {"function": value.__wrapped__}
        return public_name(type(value)), contents
    raise UsageError(
        f"{path or 'the value'} = {value!r} cannot be recorded, so another run cannot be told from this "
        "one: use a number, a function, a dataclass or an object with fields."
    )


def _lists(record: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in record.items()}


def differing_fields(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Dotted paths at which two records differ, each with the value before and now.

    >>> differing_fields({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c (3, now 2)']
    >>> differing_fields({"type": "vaelab.VAE", "dim": 2}, {"type": "vaelab.VAE"})
    ['dim (absent, now 2)']
    """
    if (
        isinstance(ours, dict)
        and isinstance(theirs, dict)
        and ours.get("type") == theirs.get("type")
    ):
        return [
            difference
            for name in ours | theirs
            for difference in differing_fields(
                ours.get(name, "absent"), theirs.get(name, "absent"), f"{path}{name}."
            )
        ]
    if ours == theirs:
        return []
    before, now = (
        printable(
            str(v["type"]).rpartition(".")[2] if isinstance(v, dict) and "type" in v else str(v)
        )
        for v in (theirs, ours)
    )
    return [f"{printable(path[:-1])} ({before}, now {now})"]

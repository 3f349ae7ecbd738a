"""A configuration as plain JSON values, such that two that differ have different records."""

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

from vaelab.runs.functions import code_digest, globals_of, installed_name, name_of
from vaelab.checks import UsageError
from vaelab.data.arrays import digest


def to_dict(value: Any, path: str = "", within: tuple[int, ...] = ()) -> Any:
    """A configuration as plain JSON values; every dataclass names its type.

    A function of an installed package is its name. Any other is a digest of its code, and records of
    what it refers to: defaults, variables of the functions around it, globals. An object is its fields,
    an array a digest. The code's digest depends on the version of Python.

    Raises:
      UsageError: a value cannot be told apart from another, with its place, `path`. (`within` are the
        objects around it.)

    >>> to_dict({"kappa": np.float32(0.5), "activation": jax.numpy.tanh})
    {'kappa': 0.5, 'activation': 'jax.numpy.tanh'}
    >>> to_dict(functools.partial(max, 1))
    {'type': 'partial', 'function': 'builtins.max', 'arguments': [1], 'keywords': {}}
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return _array(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if id(value) in within:
        return f"the object {within[::-1].index(id(value)) + 1} levels above"

    def record(part: Any, name: str) -> Any:
        return to_dict(part, f"{path}.{name}" if path else name, (*within, id(value)))

    if isinstance(value, Mapping):
        return {str(name): record(item, str(name)) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_dict(value._asdict(), path, within)
    if isinstance(value, list | tuple):
        return [record(item, str(index)) for index, item in enumerate(value)]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    name, parts = _parts(value, path)
    return parts if name is None else {"type": name} | {n: record(p, n) for n, p in parts.items()}


def _parts(value: Any, path: str) -> tuple[str | None, Any]:
    """The type's name and what has to be recorded of an object; or None and a name that is enough."""
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
        return type(value).__name__, {name: getattr(value, name) for name in fields}
    if isinstance(value, functools.partial):
        parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
        return "partial", parts
    if inspect.ismethod(value):
        return "method", {"name": value.__name__, "of": value.__self__}
    if (name := installed_name(value)) is not None:
        return None, name
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
        return name_of(type(value)), contents
    raise UsageError(
        f"{path or 'the value'} = {value!r} cannot be recorded, so that another run could not be told "
        "from this one: use a number, a function, a dataclass or an object with fields."
    )


def _array(value: Any) -> Any:
    array = np.asarray(value)
    if array.ndim == 0:
        return to_dict(array.item())
    return to_dict(digest(array))


def differing_fields(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Dotted paths at which two configurations made by `to_dict` differ.

    >>> differing_fields({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c (3, now 2)']
    >>> differing_fields({"type": "VAE", "dim": 2}, {"type": "VAE"})
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
    before, now = (v.get("type", v) if isinstance(v, dict) else v for v in (theirs, ours))
    return [f"{path[:-1]} ({before}, now {now})"]

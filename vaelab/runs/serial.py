"""Typed results as JSON values and back: the one border at which results are serialised."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """NamedTuples as objects, tuples as lists, numbers of numpy as Python's. NaN and ±∞ become null.

    >>> from vaelab.evaluation import Estimate
    >>> to_json({"elbo": Estimate(np.float64(1.5), math.nan)})
    {'elbo': {'mean': 1.5, 'standard_error': None}}
    """
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_json(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The NamedTuple, mapping, tuple or number of a type from `to_json`'s values. null is NaN for a float.

    Raises:
      TypeError: the value is of another type.

    >>> from vaelab.evaluation import Estimate
    >>> from_json(Estimate, {"mean": 1.5, "standard_error": None})
    Estimate(mean=1.5, standard_error=nan)
    >>> from_json(int, "3")
    Traceback (most recent call last):
    TypeError: expected int, got str
    """
    result: Any = value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        pass
    elif origin in (types.UnionType, typing.Union):
        others = [each for each in arguments if each is not type(None)]
        if value is not None or len(others) == len(arguments):
            result = from_json(others[0], value)
    elif origin in (dict, Mapping):
        items = _of(dict, value).items()
        result = {name: from_json(arguments[1], item) for name, item in items}
    elif origin is tuple and arguments[-1] is not Ellipsis:
        items = _of(list, value)
        if len(items) != len(arguments):
            raise TypeError(f"expected {len(arguments)} values, got {len(items)}")
        result = tuple(map(from_json, arguments, items))
    elif origin in (tuple, list):
        result = origin(from_json(arguments[0], item) for item in _of(list, value))
    elif hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        # A field that the file does not have keeps its default.
        items = _of(dict, value).items()
        result = kind(**{name: from_json(hints[name], item) for name, item in items})
    elif kind is np.ndarray:
        result = np.array([from_json(float, item) for item in _of(list, value)])
    elif kind is float:
        result = math.nan if value is None else float(_of(int | float, value))
    else:
        result = _of(kind, value)
    return result


def _of(kind: Any, value: Any) -> Any:
    """The value, which must be of this type. A boolean is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = kind.__name__ if isinstance(kind, type) else str(kind)
        raise TypeError(f"expected {expected}, got {type(value).__name__}")
    return value

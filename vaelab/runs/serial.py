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

    >>> from vaelab.evaluation import Estimate
    >>> from_json(Estimate, {"mean": 1.5, "standard_error": None})
    Estimate(mean=1.5, standard_error=nan)
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None  # type: ignore[return-value]
        return from_json(next(each for each in arguments if each is not type(None)), value)
    if origin in (dict, Mapping):
        return {name: from_json(arguments[1], item) for name, item in value.items()}  # type: ignore[return-value]
    if origin in (tuple, list):
        return origin(from_json(arguments[0], item) for item in value)
    if hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        # A field that the file does not have keeps its default.
        return kind(**{name: from_json(hints[name], item) for name, item in value.items()})
    if kind is float:
        return float("nan") if value is None else float(value)  # type: ignore[return-value]
    return value

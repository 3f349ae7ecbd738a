"""Checks of settings and data at the public door. Each error is one sentence. Traced values pass."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import jax
import numpy as np


class UsageError(ValueError):
    """A mistake that the user can correct. The message is one sentence: field, value and remedy.

    Commands print the message alone. Every other exception is a bug and shows its traceback.
    """


class UndefinedError(UsageError):
    """A quantity that has no meaning for a model or its data. The message is the reason.

    Commands that measure several quantities print the reason and continue with the next quantity.
    """


class MissingFileError(UsageError, FileNotFoundError):
    """A file that does not exist. The message names the file and says how to get it."""


class DamagedFileError(UsageError):
    """A file that cannot be read. The message names the file and says what is wrong with it."""


class MissingPackageError(UsageError, ImportError):
    """A package that is not installed. The message names the extra that installs it."""


for _error in (UsageError, UndefinedError, MissingFileError, DamagedFileError, MissingPackageError):
    _error.__module__ = "vaelab"  # tracebacks show the public name


def is_number(value: Any) -> bool:
    """True for a Python or numpy number, False for None, arrays and traced values."""
    return isinstance(value, Real)


def check_at_least_one(**values: Any) -> None:
    """Raises if a count is below 1 or not whole. None passes.

    >>> check_at_least_one(num_samples=0)
    Traceback (most recent call last):
    vaelab.UsageError: num_samples must be at least 1, got 0.
    """
    for name, value in values.items():
        if is_number(value) and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}.")
        if is_number(value) and value % 1:
            raise UsageError(f"{name} must be a whole number, got {value}.")


def check_positive(**values: Any) -> None:
    """Raises if a number is not positive and finite. None passes.

    >>> check_positive(learning_rate=-1.0)
    Traceback (most recent call last):
    vaelab.UsageError: learning_rate must be positive and finite, got -1.0.
    """
    for name, value in values.items():
        if is_number(value) and not 0 < value < math.inf:
            raise UsageError(f"{name} must be positive and finite, got {value}.")


def check_not_negative(**values: Any) -> None:
    """Raises if a number is below 0 or not finite. None passes.

    >>> check_not_negative(weight_decay=-0.1)
    Traceback (most recent call last):
    vaelab.UsageError: weight_decay must be finite and not negative, got -0.1.
    """
    for name, value in values.items():
        if is_number(value) and not 0 <= value < math.inf:
            raise UsageError(f"{name} must be finite and not negative, got {value}.")


def check_fraction(**values: Any) -> None:
    """Raises if a number lies outside [0, 1). None passes.

    >>> check_fraction(decay=1.5)
    Traceback (most recent call last):
    vaelab.UsageError: decay must lie in [0, 1), got 1.5.
    """
    for name, value in values.items():
        if is_number(value) and not 0 <= value < 1:
            raise UsageError(f"{name} must lie in [0, 1), got {value}.")


def classes_of(labels: Any) -> Any:
    """The labels, which must be classes: integers [N].

    Raises:
      UsageError: there are no labels, or they are not classes.

    >>> classes_of(np.array([0.5, 1.5]))
    Traceback (most recent call last):
    vaelab.UsageError: labels must be classes, integers [N], got float64 of the shape (2,): choose data with classes.
    """
    if labels is None:
        raise UsageError("the data have no labels: choose data with classes.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise UsageError(
            f"labels must be classes, integers [N], got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}: choose data with classes."
        )
    return labels


def check_values(name: str, x: Any, low: float, high: float) -> None:
    """Raises unless all values of x [N, *event] are finite and in [low, high], a likelihood's `data_range`.

    Traced arrays and arrays of several hosts pass.

    Raises:
      UsageError: the first example at fault, with the value and the remedy.

    >>> check_values("x", np.array([[0.0, 255.0]]), 0.0, 1.0)
    Traceback (most recent call last):
    vaelab.UsageError: x holds 255 in example 0, outside [0, 1]: rescale the data to that range, or choose ...
    """
    if isinstance(x, jax.core.Tracer):
        return
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return
    x = np.asarray(x)
    if not x.size:
        return
    smallest, largest = x.min(), x.max()  # NaN if one coordinate is NaN
    if low <= smallest and largest <= high and np.isfinite([smallest, largest]).all():
        return
    bad = ~(np.isfinite(x) & (x >= low) & (x <= high))
    index = int(np.argmax(bad.reshape(len(x), -1).any(axis=1)))
    value, noun = x[index][bad[index]].ravel()[0], noun_of(x)
    if not np.isfinite(value):
        raise UsageError(
            f"{name} holds {value} in {noun} {index}: repair or remove that {noun}, the data must "
            "be finite."
        )
    raise UsageError(
        f"{name} holds {value:g} in {noun} {index}, outside [{low:g}, {high:g}]: rescale the data "
        "to that range, or choose a likelihood for data without bounds."
    )


def noun_of(x: np.ndarray) -> str:
    """The word for one element of x [N, *event] in sentences."""
    return "image" if x.ndim == 4 else "example"

"""Checks of settings and of data at the public door: one sentence; traced values pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class UndefinedError(ValueError):
    """A quantity that has no meaning for a model or its data; the message is the reason.

    Commands that measure several quantities print the reason and go on.
    """


def check_at_least_one(**values: Any) -> None:
    """Raises one sentence where a count is below 1; None passes, too.

    >>> check_at_least_one(num_samples=0)
    Traceback (most recent call last):
    ValueError: num_samples must be at least 1, got 0.
    """
    for name, value in values.items():
        if isinstance(value, int | np.integer) and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")


def check_positive(**values: Any) -> None:
    """Raises one sentence where a number is not above 0; None passes, too.

    >>> check_positive(learning_rate=-1.0)
    Traceback (most recent call last):
    ValueError: learning_rate must be positive, got -1.0.
    """
    for name, value in values.items():
        if isinstance(value, int | float | np.number) and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")


def check_not_negative(**values: Any) -> None:
    """Raises one sentence where a number is below 0 or not finite; None passes, too.

    >>> check_not_negative(weight_decay=-0.1)
    Traceback (most recent call last):
    ValueError: weight_decay must be finite and not negative, got -0.1.
    """
    for name, value in values.items():
        if isinstance(value, int | float | np.number) and not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {value}.")


def check_fraction(**values: Any) -> None:
    """Raises one sentence where a number lies outside [0, 1); None passes, too.

    >>> check_fraction(decay=1.5)
    Traceback (most recent call last):
    ValueError: decay must lie in [0, 1), got 1.5.
    """
    for name, value in values.items():
        if isinstance(value, int | float | np.number) and not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}.")


def classes_of(labels: Any) -> Any:
    """Labels that are classes: integers [N]. For whatever has no use for other targets.

    Raises:
      ValueError: there are no labels, or they are no classes.

    >>> classes_of(np.array([0.5, 1.5]))
    Traceback (most recent call last):
    ValueError: labels must be classes, integers [N], got float64 of the shape (2,): choose data with classes.
    """
    if labels is None:
        raise ValueError("the data have no labels: choose data with classes.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            f"labels must be classes, integers [N], got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}: choose data with classes."
        )
    return labels

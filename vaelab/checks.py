"""Checks of settings where an object is made: one sentence for a wrong number; traced values pass."""

from __future__ import annotations

from typing import Any

import numpy as np


class UndefinedError(ValueError):
    """A quantity that has no meaning for a model or its data; the message says why.

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

"""Step sizes of duals (numbers or schedules), their checks, and the bounded multiplicative step."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import jax.numpy as jnp

from vaelab.checks import UsageError, check_positive
from vaelab.types import Array

# A number, an array, or an optax schedule: from the number of updates made to the step size.
StepSize = float | Array | Callable[[Array], float | Array]


class StepCount(NamedTuple):
    """State of duals that need no other state."""

    step: Array  # [], number of updates made


def count_steps(multipliers: object = None) -> StepCount:
    """The state before the first update."""
    del multipliers
    return StepCount(jnp.zeros([], jnp.int32))


def step_size_at(step_size: StepSize, step: Array) -> float | Array:
    """The step size after this number of updates.

    >>> float(step_size_at(lambda step: 1 / (1 + step), jnp.array(3)))
    0.25
    """
    return step_size(step) if callable(step_size) else step_size


def multiply(
    multiplier: Array,
    exponent: Array,
    step_range: tuple[float, float],
    multiplier_range: tuple[float, float],
) -> Array:
    """The additive update that multiplies λ by exp(exponent), with step and λ inside their ranges.

    >>> multiply(jnp.array(2.0), jnp.log(3.0), (0.9, 2.0), (0.0, 10.0))  # from 2 to 4, not to 6
    Array(2., dtype=float32...)
    """
    step = jnp.clip(jnp.exp(exponent), *step_range)
    return jnp.clip(multiplier * step, *multiplier_range) - multiplier


def check_step_size(step_size: StepSize) -> None:
    """Raises one sentence if a step size is a number and not positive and finite.

    >>> check_step_size(-1.0)
    Traceback (most recent call last):
    vaelab.UsageError: step_size must be positive and finite, got -1.0.
    """
    check_positive(step_size=step_size)


def check_range(**ranges: tuple[float, float]) -> None:
    """Raises one sentence unless 0 <= low < high; a range with traced ends passes.

    >>> check_range(step_range=(1.1, 0.9))
    Traceback (most recent call last):
    vaelab.UsageError: step_range must be (low, high) with 0 <= low < high, got (1.1, 0.9).
    """
    for name, (low, high) in ranges.items():
        if isinstance(low, Real) and isinstance(high, Real) and not 0 <= low < high:
            raise UsageError(f"{name} must be (low, high) with 0 <= low < high, got {low, high}.")

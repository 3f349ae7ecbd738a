"""The contract of constraints."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np

from vaelab.checks import UsageError, is_number
from vaelab.types import Array, Examples, Terms


class Constraint(abc.ABC):
    """C(x, z), met if E[C] ≤ 0. Each constraint is a frozen dataclass.

    κ may be a tracer, so that a sweep over κ is one program. Only numbers are validated.
    """

    kappa: float
    """Tolerance of the constraint."""
    in_nats: ClassVar[bool] = False
    """True if C is measured in nats. Then λ = 1 makes the Lagrangian the negative ELBO plus a constant. REWO requires it."""
    quantity: ClassVar[str]
    """The quantity that κ bounds, and its unit."""

    def describe(self) -> str:
        """The bound as a short text, "RE ≤ 0.1"."""
        return f"{type(self).__name__} ≤ {self.kappa:g}"

    @abc.abstractmethod
    def __call__(self, examples: Examples, terms: Terms) -> Array:
        """C(x, z), [B, ...] -> [K, B], for K samples of B examples."""

    @abc.abstractmethod
    def divisor(self, shape: Sequence[int]) -> float:
        """Divisor that makes C relative to its threshold, for examples of this shape; above 0.

        Dual steps use C / divisor, so that one step size serves every resolution and every κ.
        """

    @abc.abstractmethod
    def achieved(self, mean: float, shape: Sequence[int]) -> float:
        """The quantity that κ bounds, in κ's units, from E[C] over examples of this shape."""

    def kappa_from_pilot(self, reached: float, fraction: float) -> float:
        """κ at `fraction` of the error of a pilot model that reached this value. 0.5 halves the error."""
        return reached - (1 - fraction) * abs(reached)

    def interpolation_axis(self, values: Any) -> Any:
        """Increasing function of the bounded quantity in which rate-distortion curves are smooth.

        Here the logarithm, for a positive error. [P] or a number -> the same.
        """
        return np.log(values)

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        """Raises if the constraint does not fit the data, or a likelihood over `num_levels` levels.

        Raises:
          UsageError: one sentence with the fault and its remedy.
        """
        del train, num_levels


@runtime_checkable  # so that the command line finds the fields of those that are dataclasses
class ImageFunction(Protocol):
    """A differentiable function of images: a frozen network or your own."""

    def __call__(self, x: Array, /) -> Array:
        """[B, height, width, channels] -> [B, ...]."""
        ...


class LowerBound(Constraint):
    """A constraint κ − v ≤ 0 on a quantity v ≤ 1. A larger v is better.

    The divisor is 1, the largest v, because κ may be 0 or negative.

    Start λ at about 100. With λ = 1 the best v is worth one or two nats, less than the rate that it costs.
    Then the posterior collapses before λ has grown, and recovers only when λ is in the thousands.
    """

    def describe(self) -> str:
        return f"{type(self).__name__} ≥ {self.kappa:g}"

    def divisor(self, shape: Sequence[int]) -> float:
        del shape
        return 1.0

    def achieved(self, mean: float, shape: Sequence[int]) -> float:
        del shape
        return self.kappa - mean

    def kappa_from_pilot(self, reached: float, fraction: float) -> float:
        return 1 - fraction * (1 - reached)  # of the shortfall from 1

    def interpolation_axis(self, values: Any) -> Any:
        return -np.log(1 - values)  # of the shortfall from 1


def check_kappa(constraint: Constraint, is_valid: Callable[[Any], bool], wanted: str) -> None:
    """Raises unless κ is a valid number. Arrays pass: their values are not known before the run."""
    kappa = constraint.kappa
    if isinstance(kappa, jax.core.Tracer | jax.Array):
        return
    if not (is_number(kappa) and is_valid(kappa)):
        raise UsageError(
            f"kappa of the constraint {type(constraint).__name__} must be {wanted}, got {kappa!r}."
        )

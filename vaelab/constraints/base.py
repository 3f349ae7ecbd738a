"""The contract of constraints."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax

from vaelab.types import Array, Examples, Terms


class Constraint(abc.ABC):
    """What an objective asks of a constraint; each is a frozen dataclass.

    κ may be a tracer, so that a sweep over it is one program: only Python numbers are validated.
    """

    kappa: float
    """the tolerance"""
    needs_labels: ClassVar[bool] = False
    in_nats: ClassVar[bool] = False
    """whether C is, so that λ = 1 makes the Lagrangian a negative ELBO up to a constant; REWO wants it"""
    initial_weight: ClassVar[float] = 1.0
    """what λ's start, the dual's initial_multiplier, is multiplied by"""
    step_scale: ClassVar[float] = 1.0
    """what a dual step that is not relative divides C / scale by, too"""
    quantity: ClassVar[str]
    """what κ bounds, and its unit"""

    def describe(self) -> str:
        """The bound in a few signs, "RE ≤ 0.1"."""
        return f"{type(self).__name__} ≤ {self.kappa:g}"

    @abc.abstractmethod
    def __call__(self, examples: Examples, terms: Terms) -> Array:
        """C(x, z), [B, ...] -> [K, B], for K samples of B examples."""

    @abc.abstractmethod
    def scale(self, shape: Sequence[int]) -> float:
        """The number of dimensions that C sums over, for examples of this shape; 1 where it is a mean."""

    @abc.abstractmethod
    def achieved(self, scaled: float) -> float:
        """The quantity that κ bounds, in κ's units, from E[C] / scale."""

    @property
    def threshold(self) -> float:
        """What a relative dual step divides C / scale by, κ² where a squared error is bounded."""
        return 1.0

    def relative(self, value: float, fraction: float) -> float:
        """κ that asks for `fraction` of the error, or shortfall, of a model that reached this value."""
        return value - (1 - fraction) * abs(value)

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        """Raises where constraint and data, or a likelihood over so many levels, do not fit.

        Raises:
          ValueError: one sentence with the fault and its remedy.
        """
        del num_levels
        if self.needs_labels and train.labels is None:
            raise ValueError(
                f"the constraint {type(self).__name__} needs labels, and these data have none: choose "
                "another constraint, or data with labels."
            )


@runtime_checkable  # so that the command line finds the fields of those that are dataclasses
class ImageFunction(Protocol):
    """A function of images, differentiable in them: a frozen network, or your own."""

    def __call__(self, x: Array, /) -> Array:
        """[B, height, width, channels] -> [B, ...]."""
        ...


class LowerBound(Constraint):
    """A constraint κ − v ≤ 0 on a quantity v of at most 1, of which more is better.

    Dual steps divide it by 10: a squared error per dimension is of the order of a tenth to a hundredth,
    and the step that suits it would take λ to a hundred times its final value here, before the model
    has learned to reconstruct. (Steps relative to the threshold, which is 1, suit both.)

    For the same reason λ starts at 100. At 1 the best v is worth a nat or two, less than the rate that it
    costs: the posterior collapses before λ has grown, and comes back only when λ is in the thousands.
    """

    initial_weight: ClassVar[float] = 100.0
    step_scale: ClassVar[float] = 10.0

    def describe(self) -> str:
        return f"{type(self).__name__} ≥ {self.kappa:g}"

    def scale(self, shape: Sequence[int]) -> float:
        del shape
        return 1.0

    def achieved(self, scaled: float) -> float:
        return self.kappa - scaled

    def relative(self, value: float, fraction: float) -> float:
        return 1 - fraction * (1 - value)  # of the shortfall from 1


def check_kappa(constraint: Constraint, is_valid: Callable[[Any], bool], wanted: str) -> None:
    """Raises unless κ is valid, or an array, about which nothing can be said before the run."""
    kappa = constraint.kappa
    if isinstance(kappa, jax.core.Tracer | jax.Array):
        return
    if not is_valid(kappa):
        raise ValueError(
            f"kappa of the constraint {type(constraint).__name__} must be {wanted}, got {kappa}."
        )

"""Schedules: configurations of a factor in [0, 1] that multiplies a step size.

A schedule is a factor and not a step size. So the same schedules serve optimisers and duals,
`--optimiser.learning-rate` has one meaning, and a sweep can trace the learning rate.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.types import Array

Factor = Callable[[Array], Array]


class Schedule(abc.ABC):
    """A factor in [0, 1] for every step. Each schedule is a frozen dataclass."""

    @abc.abstractmethod
    def build(self, num_steps: int) -> Factor:
        """step [] (0 for the first update) -> factor [], for a run of `num_steps` steps."""

    def check(self, num_steps: int) -> None:
        """Raises one sentence if the schedule is longer than the run.

        Raises:
          UsageError: field, value and remedy.
        """
        del num_steps

    @property
    def depends_on_length(self) -> bool:
        """True if the factor of a step depends on `num_steps`. Such a run cannot be made longer."""
        return False


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The factor 1 at every step."""

    def build(self, num_steps: int) -> Factor:
        del num_steps
        return lambda step: jnp.ones(jnp.shape(step))


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `final` over the whole run, (1 + cos(π t/T))/2. Loshchilov & Hutter, 2017, eq. 5.

    >>> factor = Cosine().build(num_steps=100)
    >>> [round(float(factor(step)), 3) for step in (0, 25, 50, 100)]
    [1.0, 0.854, 0.5, 0.0]
    """

    final: float = 0.0
    """Factor at the end of the run, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1:
            raise UsageError(f"final must lie in [0, 1], got {self.final}.")

    @property
    def depends_on_length(self) -> bool:
        return True

    def build(self, num_steps: int) -> Factor:
        def factor(step):
            done = jnp.clip(step / num_steps, 0.0, 1.0)
            return self.final + (1 - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * done))

        return factor


@dataclasses.dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise to 1 over `steps` steps, followed by another schedule over the rest of the run.

    >>> factor = WarmUp(4, then=Cosine()).build(num_steps=104)
    >>> [round(float(factor(step)), 3) for step in (0, 1, 3, 4, 54, 104)]
    [0.25, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    steps: int
    """Number of steps of the rise. The factor of step t is (t + 1) / steps."""
    then: Schedule = Constant()
    """Schedule after the rise."""

    def __post_init__(self) -> None:
        check_at_least_one(steps=self.steps)

    @property
    def depends_on_length(self) -> bool:
        return self.then.depends_on_length

    def build(self, num_steps: int) -> Factor:
        rest = self.then.build(num_steps - self.steps)

        def factor(step):
            rise = (step + 1) / self.steps
            return jnp.where(step < self.steps, rise, rest(jnp.maximum(step - self.steps, 0)))

        return factor

    def check(self, num_steps: int) -> None:
        if self.steps >= num_steps:
            raise UsageError(
                f"steps of the warm-up, {self.steps}, must be below num_steps = {num_steps}: shorten "
                "the warm-up or lengthen the run."
            )
        self.then.check(num_steps - self.steps)


@dataclasses.dataclass(frozen=True)
class Steps(Schedule):
    """A factor that starts at 1 and is multiplied by `factor` at each of the `boundaries`.

    >>> factor = Steps((60, 80), factor=0.5).build(num_steps=100)
    >>> [float(factor(step)) for step in (0, 59, 60, 80)]
    [1.0, 1.0, 0.5, 0.25]
    """

    boundaries: tuple[int, ...]
    """Steps at which the factor decreases, in increasing order."""
    factor: float = 0.1
    """Multiplier of the step size at each boundary, in [0, 1]."""

    def __post_init__(self) -> None:
        increasing = all(
            a < b for a, b in zip((0, *self.boundaries), self.boundaries, strict=False)
        )
        if not self.boundaries or not increasing:
            raise UsageError(
                f"boundaries must be increasing steps above 0, at least one, got {self.boundaries}."
            )
        if not 0 <= self.factor <= 1:
            raise UsageError(f"factor must lie in [0, 1], got {self.factor}.")

    def build(self, num_steps: int) -> Factor:
        del num_steps
        boundaries = jnp.array(self.boundaries)
        return lambda step: self.factor ** jnp.sum(step >= boundaries)

    def check(self, num_steps: int) -> None:
        if self.boundaries[-1] >= num_steps:
            raise UsageError(
                f"boundaries {self.boundaries} must be below num_steps = {num_steps}: leave out those "
                "beyond it or lengthen the run."
            )


def check_schedule(schedule: Schedule) -> None:
    """Raises one sentence if `schedule` is no `Schedule`, but a number or an optax schedule."""
    if not isinstance(schedule, Schedule):
        raise UsageError(
            f"schedule must be a training.Schedule, such as Cosine(), got {schedule!r}: pass an optax "
            "schedule as the step size."
        )

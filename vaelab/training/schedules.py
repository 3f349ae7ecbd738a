"""Schedules: factors in [0, 1] of a step size over the steps of a run, as values of a configuration.

A schedule is a factor, not a step size. So one type serves optimisers and duals, `--optimiser.learning-rate`
means the same with every schedule, and a sweep may trace the learning rate.
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
    """Factor in [0, 1] of a step size at every step; each schedule is a frozen dataclass."""

    @abc.abstractmethod
    def build(self, num_steps: int) -> Factor:
        """step [] (0 for the first update) -> factor [], for a run of `num_steps` steps."""

    def check(self, num_steps: int) -> None:
        """Raises one sentence where the schedule is longer than the run.

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
    """The whole step size at every step."""

    def build(self, num_steps: int) -> Factor:
        del num_steps
        return lambda step: jnp.ones(jnp.shape(step))


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 to `final` along half a cosine, (1 + cos(π t/T))/2, over the whole run. Loshchilov & Hutter, 2017, eq. 5.

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
    """Rises linearly to 1 over `steps` steps; then follows another schedule over the rest of the run.

    >>> factor = WarmUp(4, then=Cosine()).build(num_steps=104)
    >>> [round(float(factor(step)), 3) for step in (0, 1, 3, 4, 54, 104)]
    [0.25, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    steps: int
    """Steps of the rise; the factor of step t is (t + 1) / steps."""
    then: Schedule = Constant()
    """Schedule of the rest of the run."""

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
    """1, and `factor` times the factor before from each of the `boundaries` on.

    >>> factor = Steps((60, 80), factor=0.5).build(num_steps=100)
    >>> [float(factor(step)) for step in (0, 59, 60, 80)]
    [1.0, 1.0, 0.5, 0.25]
    """

    boundaries: tuple[int, ...]
    """Steps at which the factor falls, in increasing order."""
    factor: float = 0.1
    """What the step size is multiplied by at each boundary, in [0, 1]."""

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
    """Raises one sentence where `schedule` is a number or an optax schedule, not a `Schedule`."""
    if not isinstance(schedule, Schedule):
        raise UsageError(
            f"schedule must be a training.Schedule, such as Cosine(), got {schedule!r}: an optax "
            "schedule is passed as the step size itself."
        )

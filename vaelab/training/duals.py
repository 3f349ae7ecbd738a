"""The duals of an experiment: values that build transformations of the multipliers."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from numbers import Real
from typing import ClassVar

import optax

from vaelab import saddle
from vaelab.checks import UsageError, check_fraction, check_not_negative, check_positive
from vaelab.constraints import Constraint
from vaelab.saddle.steps import check_step_size, step_size_at
from vaelab.training.schedules import Constant, Schedule, check_schedule
from vaelab.types import Array


@dataclasses.dataclass(frozen=True)
class Dual(abc.ABC):
    """How multipliers start and move; each dual is a frozen dataclass.

    The step size may be a tracer, or an optax schedule: only numbers are validated.
    """

    label: ClassVar[str]
    """What plots call a model trained with it."""

    step_size: float
    """Change of λ (or of log λ) per step and unit of the constraint / its divisor."""
    initial_multiplier: float | dict[str, float] = 1.0
    """λ at the start: one number, or one for each constraint by its name."""
    decay: float = 0.99
    """Decay of the constraint's moving average, in [0, 1)."""
    schedule: Schedule = dataclasses.field(default=Constant(), kw_only=True)
    """Factor of the step size over the run."""
    freeze_prior: bool = dataclasses.field(default=False, kw_only=True)
    """True holds the prior's parameters until all constraints were met once."""
    multiplier_limit: float = dataclasses.field(default=1e8, kw_only=True)
    """Highest λ. A constraint still violated there is reported as infeasible."""

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        check_schedule(self.schedule)
        check_fraction(decay=self.decay)
        for name, start in self._starts().items():
            check_positive(**{name: start})
            if isinstance(start, Real) and not self.multiplier_limit > start:
                raise UsageError(
                    f"multiplier_limit must be above {name} = {start}, got {self.multiplier_limit}."
                )

    @abc.abstractmethod
    def build(self, num_steps: int) -> optax.GradientTransformation:
        """The transformation of the multipliers, for a run of `num_steps` steps."""

    def check(self, constraints: Mapping[str, Constraint], num_steps: int) -> None:
        """Raises one sentence where the dual does not fit the constraints or the run's length.

        Raises:
          UsageError: field, value and remedy.
        """
        starts = self.initial_multiplier
        if isinstance(starts, Mapping) and starts.keys() != constraints.keys():
            raise UsageError(
                f"dual.initial_multiplier has the names {sorted(starts)} and the constraints are "
                f"{sorted(constraints)}: give each constraint its own number."
            )
        try:
            self.schedule.check(num_steps)
        except ValueError as error:
            raise UsageError(f"dual.schedule: {error}") from None

    def scheduled_step_size(self, num_steps: int, start: int = 0) -> Callable[[Array], Array]:
        """Step size at each update of the dual, the first of which is made at step `start`."""
        factor = self.schedule.build(num_steps)
        return lambda step: step_size_at(self.step_size, step + start) * factor(step + start)

    def _starts(self) -> dict[str, float]:
        start = self.initial_multiplier
        if not isinstance(start, Mapping):
            return {"initial_multiplier": start}
        return {f"initial_multiplier of {name}": value for name, value in start.items()}


@dataclasses.dataclass(frozen=True)
class Geco(Dual):
    """GECO's multipliers, `saddle.geco`. Rezende & Viola, 2018, algorithm 1."""

    label: ClassVar[str] = "GECO"
    step_size: float = 0.1
    """ν, change of log λ per step and unit of the constraint / its divisor."""
    hold_steps: int = 0
    """Steps at the start during which λ rests."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(hold_steps=self.hold_steps)

    def build(self, num_steps: int) -> optax.GradientTransformation:
        rule = self.rule(self.scheduled_step_size(num_steps, self.hold_steps))
        return saddle.hold_for(rule, self.hold_steps) if self.hold_steps else rule

    def rule(self, step_size: saddle.StepSize) -> optax.GradientTransformation:
        """The transformation after the `hold_steps`."""
        return saddle.geco(step_size, multiplier_range=(1e-6, self.multiplier_limit))


@dataclasses.dataclass(frozen=True)
class PiGeco(Geco):
    """GECO with a proportional part, `saddle.pi_geco`."""

    label: ClassVar[str] = "PI-GECO"
    step_size: float = 0.03
    """ν, change of log λ per step and unit of the constraint / its divisor."""
    proportional: float = 4.0
    """K, the gain that makes λ give back what it gathered while the constraint was closing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(proportional=self.proportional)

    def rule(self, step_size: saddle.StepSize) -> optax.GradientTransformation:
        return saddle.pi_geco(
            step_size,
            proportional=self.proportional,
            multiplier_range=(1e-6, self.multiplier_limit),
        )


@dataclasses.dataclass(frozen=True)
class Rewo(Dual):
    """REWO's multipliers, `saddle.rewo`. Klushyn et al., 2019, section 3.2. Constraints must be in nats."""

    label: ClassVar[str] = "REWO"
    step_size: float = 1.0
    """ν, change of log λ per step and unit of the constraint / its divisor."""
    initial_multiplier: float | dict[str, float] = 1000.0
    """λ at the start, 1/β₀, well above 1: one number, or one for each constraint by its name."""
    freeze_prior: bool = dataclasses.field(default=True, kw_only=True)
    """True holds the prior's parameters until all constraints were met once (the initial phase)."""
    steepness: float = 3.0
    """τ, how sharply λ slows down as it nears 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(steepness=self.steepness)
        for name, start in self._starts().items():
            if isinstance(start, Real) and not start > 1:
                raise UsageError(
                    f"{name} must be well above 1 under REWO, got {start}: it is held until the "
                    "constraints are met, which a small one may never bring about."
                )

    def check(self, constraints: Mapping[str, Constraint], num_steps: int) -> None:
        super().check(constraints, num_steps)
        for name, constraint in constraints.items():
            if not constraint.in_nats:
                raise UsageError(
                    f"dual = Rewo requires constraints in nats, and {name} is not: use NLL (with a "
                    "GaussianDecoder for a squared error), or Geco."
                )

    def build(self, num_steps: int) -> optax.GradientTransformation:
        return saddle.rewo(
            self.scheduled_step_size(num_steps),
            steepness=self.steepness,
            multiplier_range=(1e-6, self.multiplier_limit),
        )


@dataclasses.dataclass(frozen=True)
class Projected(Dual):
    """Projected gradient ascent, `saddle.projected`. Arrow, Hurwicz & Uzawa, 1958."""

    label: ClassVar[str] = "projected ascent"
    step_size: float = 0.1
    """η, change of λ per step and unit of the constraint / its divisor."""

    def build(self, num_steps: int) -> optax.GradientTransformation:
        return saddle.projected(
            self.scheduled_step_size(num_steps), multiplier_range=(0.0, self.multiplier_limit)
        )


@dataclasses.dataclass(frozen=True)
class NuPi(Dual):
    """The ν-PI controller, `saddle.nu_pi`. Sohrabi et al., 2024, eq. 7."""

    label: ClassVar[str] = "ν-PI"
    step_size: float = 0.1
    """η, change of λ per step and unit of the constraint / its divisor."""
    nu: float = 0.0
    """ν, decay of the error's moving average, in (-1, 1)."""
    proportional: float = 1.0
    """K_p, gain of the change of that average."""
    integral: float = 1.0
    """K_i, gain of the error itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.build(num_steps=1)  # checks nu and the gains

    def build(self, num_steps: int) -> optax.GradientTransformation:
        return saddle.nu_pi(
            self.scheduled_step_size(num_steps),
            nu=self.nu,
            proportional=self.proportional,
            integral=self.integral,
            multiplier_range=(0.0, self.multiplier_limit),
        )

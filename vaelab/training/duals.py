"""Duals: configurations that build transformations of the multipliers."""

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
    """Start and update of the multipliers λ. Each dual is a frozen dataclass.

    The step size may be a number, a tracer or an optax schedule. Only numbers are validated.
    """

    label: ClassVar[str]
    """Name of the dual in plots."""

    step_size: float
    """Change of λ (or of log λ) in one step, for a constraint that equals its divisor."""
    initial_multiplier: float | dict[str, float] = 1.0
    """λ at the start: one number, or one for each constraint by its name."""
    decay: float = 0.99
    """Decay of the moving average of each constraint, in [0, 1)."""
    schedule: Schedule = dataclasses.field(default=Constant(), kw_only=True)
    """Factor of the step size over the run."""
    freeze_prior: bool = dataclasses.field(default=False, kw_only=True)
    """True keeps the parameters of the prior constant until all constraints were met once."""
    multiplier_limit: float = dataclasses.field(default=1e8, kw_only=True)
    """Highest λ. A constraint that is violated at this λ is reported as infeasible."""

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
        """Raises one sentence if the dual does not fit the constraints or the length of the run.

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
        """Step size at each update of the dual. Step `start` of the run makes the first update."""
        factor = self.schedule.build(num_steps)
        return lambda step: step_size_at(self.step_size, step + start) * factor(step + start)

    def _starts(self) -> dict[str, float]:
        start = self.initial_multiplier
        if not isinstance(start, Mapping):
            return {"initial_multiplier": start}
        return {f"initial_multiplier of {name}": value for name, value in start.items()}


@dataclasses.dataclass(frozen=True)
class Geco(Dual):
    """Multipliers of GECO, `saddle.geco`. Rezende & Viola, 2018, algorithm 1."""

    label: ClassVar[str] = "GECO"
    step_size: float = 0.1
    """Change ν of log λ in one step, for a constraint that equals its divisor."""
    hold_steps: int = 0
    """Number of steps at the start during which λ stays constant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(hold_steps=self.hold_steps)

    def build(self, num_steps: int) -> optax.GradientTransformation:
        rule = self.rule(self.scheduled_step_size(num_steps, self.hold_steps))
        return saddle.hold_for(rule, self.hold_steps) if self.hold_steps else rule

    def rule(self, step_size: saddle.StepSize) -> optax.GradientTransformation:
        """The transformation that starts after `hold_steps` steps."""
        return saddle.geco(step_size, multiplier_range=(1e-6, self.multiplier_limit))


@dataclasses.dataclass(frozen=True)
class PiGeco(Geco):
    """GECO with a proportional part, `saddle.pi_geco`."""

    label: ClassVar[str] = "PI-GECO"
    step_size: float = 0.03
    """Change ν of log λ in one step, for a constraint that equals its divisor."""
    proportional: float = 4.0
    """Gain K of the proportional part, which lowers λ while the violation decreases."""

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
    """Multipliers of REWO, `saddle.rewo`, for constraints in nats. Klushyn et al., 2019, section 3.2."""

    label: ClassVar[str] = "REWO"
    step_size: float = 1.0
    """Change ν of log λ in one step, for a constraint that equals its divisor."""
    initial_multiplier: float | dict[str, float] = 1000.0
    """λ = 1/β₀ at the start, far above 1: one number, or one for each constraint by its name."""
    freeze_prior: bool = dataclasses.field(default=True, kw_only=True)
    """True keeps the parameters of the prior constant until all constraints were met once (the initial phase)."""
    steepness: float = 3.0
    """Steepness τ. The larger τ is, the nearer to 1 λ slows down."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(steepness=self.steepness)
        for name, start in self._starts().items():
            if isinstance(start, Real) and not start > 1:
                raise UsageError(
                    f"{name} must be well above 1 under REWO, got {start}: choose a number such as 1000, "
                    "because λ stays constant until the constraints are met."
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
    """Change η of λ in one step, for a constraint that equals its divisor."""

    def build(self, num_steps: int) -> optax.GradientTransformation:
        return saddle.projected(
            self.scheduled_step_size(num_steps), multiplier_range=(0.0, self.multiplier_limit)
        )


@dataclasses.dataclass(frozen=True)
class NuPi(Dual):
    """The ν-PI controller, `saddle.nu_pi`. Sohrabi et al., 2024, eq. 7."""

    label: ClassVar[str] = "ν-PI"
    step_size: float = 0.1
    """Change η of λ in one step, for a constraint that equals its divisor."""
    nu: float = 0.0
    """Decay ν of the moving average of the error, in (-1, 1)."""
    proportional: float = 1.0
    """Gain K_p of the change of this average."""
    integral: float = 1.0
    """Gain K_i of the error."""

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

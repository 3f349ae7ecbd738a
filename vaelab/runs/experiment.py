"""What an experiment is: one value, from which a run follows."""

from __future__ import annotations

import dataclasses
import math

from vaelab.checks import UsageError, check_at_least_one, check_fraction, check_positive
from vaelab.data import DataSet
from vaelab.models import Model
from vaelab.training.duals import Dual
from vaelab.training.loop import Timetable
from vaelab.training.objectives import Objective
from vaelab.training.optimisers import Adam, Optimiser
from vaelab.training.samplers import Sampler, Uniform


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, what it is trained on, for and by, and how long."""

    data: DataSet
    """data set and its binarisation"""
    model: Model
    """what is trained, its decoder giving the likelihood"""
    objective: Objective
    """what is minimised"""
    num_steps: int
    """training steps at most"""
    optimiser: Optimiser = Adam()  # noqa: RUF009
    """of the model's parameters"""
    dual: Dual | None = None
    """of the constraints' multipliers; None where there are none"""
    prior_optimiser: Optimiser | None = None
    """of the prior's parameters; None takes the optimiser of the others"""
    clip_norm: float | None = None
    """largest L2 norm of the whole gradient, after its division by max(1, λ); None does not clip"""
    ema_decay: float | None = None
    """decay of a moving average of the parameters, in [0, 1), which validation and report use; None uses the parameters themselves"""
    prior_period: int = 1
    """steps per update of the prior; above 1 the double loop of Klushyn et al., 2019"""
    batch_size: int = 100
    """examples per step"""
    sampler: Sampler = Uniform()  # noqa: RUF009
    """how the examples of a step are drawn"""
    log_every: int = 100
    """steps per dispatch and row of metrics.jsonl"""
    evaluate_every: int = 1000
    """steps between validations, each with a checkpoint"""
    patience: int | None = None
    """validations without a better bound (only those count at which the constraints are met on average, none during a warm-up) after which training stops and the best parameters are reported; None trains to the end and reports the last"""
    seed: int = 0
    """of everything random"""
    num_samples: int = 5000
    """importance samples per test image in the report's log-likelihood"""
    num_test: int | None = None
    """test images the log-likelihood is estimated on, drawn alike for all runs; None takes all"""
    posterior_samples: int = 4
    """posterior samples per test image in the report's ELBO"""
    prior_samples: int = 64
    """inner samples of a sampled prior in the report's ELBO"""

    def __post_init__(self) -> None:
        check_at_least_one(
            batch_size=self.batch_size, prior_period=self.prior_period,
            num_samples=self.num_samples, posterior_samples=self.posterior_samples,
            prior_samples=self.prior_samples,
        )  # fmt: skip
        check_positive(clip_norm=self.clip_norm)
        check_fraction(ema_decay=self.ema_decay)
        for name, least in (("num_test", 2), ("patience", 1)):  # one image has no standard error
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least} or None, got {value}.")
        self.objective.check(self.model, self.num_steps)
        if bool(self.objective.constraints) != (self.dual is not None):
            raise UsageError(
                "dual must be one, such as Geco or Rewo, where the objective has constraints, and None elsewhere."
            )
        if self.dual is not None:
            self.dual.check(self.objective.constraints, self.num_steps)
        self.timetable  # noqa: B018  validates its own fields
        for name in ("optimiser", "prior_optimiser"):
            optimiser = getattr(self, name)
            if optimiser is not None:
                try:
                    optimiser.schedule.check(self.num_steps)
                except ValueError as error:
                    raise UsageError(f"{name}.schedule: {error}") from None

    @property
    def objective_label(self) -> str:
        """What the objective is called in pictures."""
        return self.objective.label if self.dual is None else self.dual.label

    @property
    def initial_multiplier(self) -> float | dict[str, float]:
        """λ at the start, one number or one by constraint; of no account where there are none."""
        return 1.0 if self.dual is None else self.dual.initial_multiplier

    @property
    def multiplier_limit(self) -> float:
        """What no λ exceeds; infinite where there are none."""
        return math.inf if self.dual is None else self.dual.multiplier_limit

    @property
    def timetable(self) -> Timetable:
        return Timetable(
            self.num_steps,
            self.log_every,
            self.evaluate_every,
            self.patience,
            self.objective.settling_steps,
        )

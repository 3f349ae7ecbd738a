"""An experiment: one value, from which a run follows."""

from __future__ import annotations

import dataclasses
import difflib
import math
from numbers import Integral
from typing import Any

from vaelab.checks import (
    UsageError,
    check_at_least_one,
    check_fraction,
    check_instance,
    check_not_negative,
    check_positive,
)
from vaelab.data import DataSet, as_data_set
from vaelab.models import Model
from vaelab.streams import Stream
from vaelab.training.duals import Dual
from vaelab.training.objectives import Objective
from vaelab.training.optimisers import Adam, Optimiser
from vaelab.training.samplers import Sampler, Uniform
from vaelab.training.timetable import Timetable
from vaelab.types import Splits
from vaelab.untrusted import one_line

_LARGEST = 2_000_000_000  # steps and sizes are 32-bit integers on the device
# Fields that say how a run is evaluated. A run may be evaluated again with other values.
EVALUATION_FIELDS = ("num_samples", "num_test", "posterior_samples", "prior_samples")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, its data, its objective, its optimiser, and the length of training.

    `runs.train(experiment)` trains it. Every field takes any value that keeps the contract of its type.

    >>> from vaelab import data, likelihoods, models, networks, priors, training
    >>> model = models.VAE(
    ...     encoder=networks.ConditionalGaussian(networks.MLP((16,), event_ndims=3), dim=2),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
    ...     prior=priors.StandardNormal(2),
    ... )
    >>> experiment = Experiment(data.Digits(), model, training.ELBO(), num_steps=100)
    >>> experiment.with_fields(num_step=200)
    Traceback (most recent call last):
    vaelab.UsageError: an experiment has no field 'num_step'; the nearest name is 'num_steps'.
    """

    data: DataSet
    """Data set. An array [N, *event], a pair (x, labels), `Splits` or a path becomes one."""
    model: Model
    """Model to train. Its decoder is the likelihood."""
    objective: Objective
    """Loss of a training step."""
    num_steps: int
    """Training stops after this many steps, or earlier by `patience`."""
    optimiser: Optimiser = Adam()  # noqa: RUF009
    """Optimiser of the parameters."""
    dual: Dual | None = None
    """Update of the multipliers of the constraints. None if there are no constraints."""
    prior_optimiser: Optimiser | None = None
    """Optimiser of the prior's parameters. None takes `optimiser`."""
    clip_norm: float | None = None
    """Largest L2 norm of the whole gradient, after its division by max(1, λ). None does not clip."""
    skip_norm: float | None = None
    """Steps are skipped if the L2 norm of the whole gradient, after its division by max(1, λ), is larger than this. None skips no step."""
    skip_limit: int = 10
    """Number of skipped steps in a row after which a gradient is clipped to `skip_norm` and accepted."""
    nonfinite_limit: int = 0
    """Number of successive steps that may have a gradient that is NaN or infinite. These steps are skipped and counted; one more ends training. 0 skips none: the first loss that is NaN or infinite ends training."""
    ema_decay: float | None = None
    """Decay of the moving average of the parameters, in [0, 1). Validation and report use the average. None averages nothing."""
    prior_period: int = 1
    """Steps per update of the prior. A number above 1 is the double loop of Klushyn et al., 2019."""
    batch_size: int = 100
    """Examples per step."""
    sampler: Sampler = Uniform()  # noqa: RUF009
    """Order in which examples are drawn."""
    log_every: int = 100
    """Steps per logged row of metrics."""
    evaluate_every: int = 1000
    """Steps between two validations. Each validation is followed by a checkpoint."""
    patience: int | None = None
    """Training stops after this many validations without a better bound, and the best parameters are reported. Only validations count at which the constraints are met on average; those of a warm-up do not count. None trains to the end and reports the last parameters."""
    seed: int = 0
    """Seed of all random numbers, from 0 to 2³¹ − 1."""
    num_samples: int = 5000
    """Importance samples per test example in the report's log-likelihood."""
    num_test: int | None = None
    """Number of test examples for the log-likelihood and the active units: a random subset, the same for all runs. None takes all."""
    posterior_samples: int = 4
    """Posterior samples per test example in the report's ELBO."""
    prior_samples: int = 64
    """Inner samples of an estimated prior in the report's ELBO."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", as_data_set(self.data))
        for name, kind, optional in (
            ("model", Model, False), ("objective", Objective, False), ("optimiser", Optimiser, False),
            ("sampler", Sampler, False), ("dual", Dual, True), ("prior_optimiser", Optimiser, True),
        ):  # fmt: skip
            check_kind(name, getattr(self, name), kind, optional=optional)
        check_at_least_one(
            batch_size=self.batch_size, prior_period=self.prior_period,
            num_samples=self.num_samples, posterior_samples=self.posterior_samples,
            prior_samples=self.prior_samples, skip_limit=self.skip_limit,
        )  # fmt: skip
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if str(field.type).startswith("int") and not isinstance(value, Integral | None):
                raise UsageError(f"{field.name} must be a whole number, got {value!r}.")
        check_positive(clip_norm=self.clip_norm, skip_norm=self.skip_norm)
        check_fraction(ema_decay=self.ema_decay)
        check_not_negative(nonfinite_limit=self.nonfinite_limit)
        for name, least in (("num_test", 2), ("patience", 1)):  # one example has no standard error
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least} or None, got {value}.")
        check_seed(self.seed)
        for name, value in vars(self).items():
            if name != "seed" and isinstance(value, Integral) and int(value) > _LARGEST:
                raise UsageError(f"{name} must be at most {_LARGEST}, got {value}.")
        self.objective.check(self.model, self.num_steps)
        if bool(self.objective.constraints) != (self.dual is not None):
            raise UsageError(
                "dual must be given, such as Geco() or Rewo(), if the objective has constraints, and "
                "must be None otherwise."
            )
        if self.dual is not None:
            self.dual.check(self.objective.constraints, self.num_steps)
        self.timetable  # noqa: B018  validates its own fields
        for name, optimiser in self._optimisers().items():
            try:
                optimiser.schedule.check(self.num_steps)
            except UsageError as error:
                raise UsageError(f"{name}.schedule: {error}") from None

    def with_fields(self, **changes: Any) -> Experiment:
        """The experiment with other values of some fields.

        Raises:
          UsageError: there is no such field, or a value does not fit.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                nearest = difflib.get_close_matches(name, names, 1, cutoff=0.0)[0]
                raise UsageError(
                    f"an experiment has no field {name!r}; the nearest name is {nearest!r}."
                )
        return dataclasses.replace(self, **changes)

    def check_splits(self, splits: Splits, stream: Stream | None = None) -> None:
        """Raises one sentence if the experiment does not fit its data.

        Args:
          splits: the data.
          stream: the training set if it is streamed.

        Raises:
          UsageError: field, value and remedy.
        """
        self.sampler.plan(splits.train if stream is None else stream, self.batch_size)
        if len(splits.test.x) < 2:
            raise UsageError(
                "the test split holds one example, which has no standard error: give it at least two."
            )
        if self.num_test is not None and self.num_test > len(splits.test.x):
            raise UsageError(
                f"num_test = {self.num_test} is more than the {len(splits.test.x)} test examples: choose "
                f"at most {len(splits.test.x)}."
            )
        self.model.check_data(splits.train)
        self.model.decoder.check_values(splits.test.x)
        for name, constraint in self.objective.constraints.items():
            try:
                constraint.check(splits.train, self.model.decoder.num_levels)
            except UsageError as error:
                raise UsageError(f"objective.constraints.{name}: {error}") from None

    def check_longer(self) -> None:
        """Raises one sentence if the schedule of a step depends on `num_steps`.

        Raises:
          UsageError: the schedules that forbid another length.
        """
        schedules = {name: optimiser.schedule for name, optimiser in self._optimisers().items()}
        if self.dual is not None:
            schedules["dual"] = self.dual.schedule
        for name, schedule in schedules.items():
            if schedule.depends_on_length:
                raise UsageError(
                    f"num_steps cannot change: {name}.schedule = {type(schedule).__name__} depends on "
                    "the length of the run: start a new run from these parameters with start."
                )

    @property
    def objective_label(self) -> str:
        """Name of the objective in plots."""
        return self.objective.label if self.dual is None else self.dual.label

    @property
    def initial_multiplier(self) -> float | dict[str, float]:
        """λ at the start: one number, or one for each constraint."""
        return 1.0 if self.dual is None else self.dual.initial_multiplier

    @property
    def multiplier_limit(self) -> float:
        """Highest λ. Infinite without constraints."""
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

    def _optimisers(self) -> dict[str, Optimiser]:
        optimisers = {"optimiser": self.optimiser, "prior_optimiser": self.prior_optimiser}
        return {name: value for name, value in optimisers.items() if value is not None}


def check_kind(name: str, value: Any, kind: type, *, optional: bool = False) -> None:
    """Raises one sentence if a value does not keep the contract of its field."""
    check_instance(name, value)
    if not isinstance(value, kind) and not (optional and value is None):
        raise UsageError(
            f"{name} must be of the type {kind.__name__}{' or None' if optional else ''}, got {one_line(repr(value))}."
        )


def check_seed(seed: Any) -> None:
    """Raises one sentence if a seed is not a whole number from 0 to 2³¹ − 1."""
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**31:
        raise UsageError(f"seed must be a whole number from 0 to {2**31 - 1}, got {seed}.")

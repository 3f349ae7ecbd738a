"""What an experiment is: one value, from which a run follows."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.data import DataSet
from vaelab.data.arrays import digest
from vaelab.models import VAE, ConvDRAW
from vaelab.training.loop import Schedule
from vaelab.training.objectives import AnnealedVariance, Objective
from vaelab.training.optimisers import Adam, Geco, Rewo
from vaelab.training.samplers import Sampler, Uniform
from vaelab.types import Examples


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, what it is trained on, for and by, and how long."""

    data: DataSet
    """data set and its binarisation"""
    model: VAE | ConvDRAW
    """what is trained, its decoder giving the likelihood"""
    objective: Objective
    """what is minimised"""
    num_steps: int
    """training steps at most"""
    optimiser: Adam = Adam()  # noqa: RUF009
    """of the model's parameters"""
    dual: Geco | Rewo | None = None
    """of the constraints' multipliers; None where there are none"""
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
        for name, least in (("num_test", 2), ("patience", 1)):  # one image has no standard error
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least} or None, got {value}.")
        objective = self.objective
        if isinstance(objective, AnnealedVariance) and objective.anneal_steps > self.num_steps:
            raise ValueError(
                f"objective.anneal_steps = {objective.anneal_steps} is more than num_steps = {self.num_steps}: "
                "the run would end while it still anneals; set both."
            )
        if bool(self.objective.constraints) != (self.dual is not None):
            raise ValueError(
                "dual must be Geco or Rewo where the objective has constraints, and None elsewhere."
            )
        other = [n for n, c in self.objective.constraints.items() if not c.in_nats]
        if isinstance(self.dual, Rewo) and other:
            raise ValueError(
                f"dual = Rewo needs constraints in nats, and {other[0]} is none: use NLL (with a "
                "GaussianDecoder for a squared error), or Geco."
            )
        self.schedule  # noqa: B018  validates its own fields

    @property
    def objective_label(self) -> str:
        """What the objective is called in pictures."""
        return self.objective.label if self.dual is None else self.dual.label

    @property
    def initial_multiplier(self) -> float:
        """λ at the start, before a constraint's own weight; of no account where there are none."""
        return 1.0 if self.dual is None else self.dual.initial_multiplier

    @property
    def multiplier_limit(self) -> float:
        """What no λ exceeds; infinite where there are none."""
        return math.inf if self.dual is None else self.dual.multiplier_limit

    @property
    def schedule(self) -> Schedule:
        return Schedule(
            self.num_steps,
            self.log_every,
            self.evaluate_every,
            self.patience,
            self.objective.settling_steps,
        )


def to_dict(value: Any) -> Any:
    """A configuration as plain JSON values; every dataclass names its type."""
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
        return {"type": type(value).__name__} | {f: to_dict(getattr(value, f)) for f in fields}
    if isinstance(value, dict):
        return {name: to_dict(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_dict(digest(value))
    if isinstance(value, Examples):
        return to_dict(value._asdict())
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    if callable(value):
        return value.__name__
    return value


def differing_fields(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Dotted paths at which two configurations made by `to_dict` differ.

    >>> differing_fields({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c (3, now 2)']
    >>> differing_fields({"type": "VAE", "dim": 2}, {"type": "VAE"})
    ['dim (absent, now 2)']
    """
    if (
        isinstance(ours, dict)
        and isinstance(theirs, dict)
        and ours.get("type") == theirs.get("type")
    ):
        return [
            difference
            for name in ours | theirs
            for difference in differing_fields(
                ours.get(name, "absent"), theirs.get(name, "absent"), f"{path}{name}."
            )
        ]
    if ours == theirs:
        return []
    before, now = (v.get("type", v) if isinstance(v, dict) else v for v in (theirs, ours))
    return [f"{path[:-1]} ({before}, now {now})"]

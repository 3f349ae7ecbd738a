"""The negative ELBO under a likelihood whose variance is annealed by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import UsageError, check_at_least_one, check_positive
from vaelab.constraints import Constraint
from vaelab.models import Model
from vaelab.training.objectives.base import Objective, metrics, total_rate
from vaelab.types import Array


@dataclasses.dataclass(frozen=True)
class AnnealedVariance(Objective):
    """Negative ELBO whose likelihood starts σ₀/σ₁ times too wide: E[rate + distortion · (σ₁/σ)²].

    σ falls linearly from σ₀ to σ₁ over `anneal_steps`. For a Gaussian decoder of scale σ₁ the gradient
    is that of its ELBO at scale σ. The schedule of Eslami et al., 2018, appendix, is 2.0, 0.7 and
    200,000 steps; set `anneal_steps` to the length of the run. This is the baseline that Rezende &
    Viola, 2018, argue against.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    anneal_steps: int
    """steps over which σ falls"""
    initial_scale: float = 2.0
    """σ₀, at the start"""
    final_scale: float = 0.7
    """σ₁, at the end: the scale of the model's Gaussian decoder; only σ₀/σ₁ matters"""
    num_samples: int = 1
    """posterior samples per example"""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples, anneal_steps=self.anneal_steps)
        check_positive(initial_scale=self.initial_scale, final_scale=self.final_scale)

    def check(self, model: Model, num_steps: int) -> None:
        if self.anneal_steps > num_steps:
            raise UsageError(
                f"objective.anneal_steps = {self.anneal_steps} is more than num_steps = {num_steps}: "
                "the run would end while it still anneals; set both."
            )

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers
        terms = model(examples.x, key, self.num_samples, context=examples.context)
        rate = total_rate(terms, closed_form=True)
        loss = -jnp.mean(losses.elbo(terms.distortion * self.precision(step), rate))
        return loss, metrics(loss, terms, examples)

    def for_length(self, num_steps, *, before):
        """σ falls over the same share of the run."""
        anneal_steps = -(-self.anneal_steps * num_steps // before)  # rounded up
        return dataclasses.replace(self, anneal_steps=anneal_steps)

    @property
    def label(self):
        return "ELBO, annealed"

    @property
    def settling_steps(self):
        return self.anneal_steps

    def precision(self, step: Array | int) -> Array:
        """(σ₁/σ)² at a step."""
        done = jnp.minimum(step / self.anneal_steps, 1.0)
        scale = self.initial_scale * (1 - done) + self.final_scale * done  # in the end exactly σ₁
        return (self.final_scale / scale) ** 2

    def distortion_weight(self, step):
        return float(self.precision(step))

    def describe(self, multipliers, step):
        del multipliers
        precision = float(self.precision(step))
        if precision == 1.0:
            return "the negative ELBO, at the end of the annealing"
        return f"rate + {precision:.4g} · distortion, still annealing"

"""The negative ELBO of a likelihood whose variance is annealed by hand."""

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
    """Negative ELBO with an annealed scale σ of the likelihood, E[rate + distortion · (σ₁/σ)²].

    σ decreases linearly from σ₀ to σ₁ over `anneal_steps`. For a Gaussian decoder of scale σ₁, the gradient
    equals the gradient of the ELBO at scale σ. Eslami et al., 2018, appendix, use σ₀ = 2.0, σ₁ = 0.7 and
    200,000 steps; in a shorter run, shorten `anneal_steps`, too. Rezende & Viola, 2018, compare GECO with
    this baseline.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    anneal_steps: int
    """Number of steps in which σ decreases."""
    initial_scale: float = 2.0
    """Scale σ₀ at the start."""
    final_scale: float = 0.7
    """Scale σ₁ at the end, which is the scale of the Gaussian decoder. Only the ratio σ₀/σ₁ has an effect."""
    num_samples: int = 1
    """Posterior samples per example."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples, anneal_steps=self.anneal_steps)
        check_positive(initial_scale=self.initial_scale, final_scale=self.final_scale)

    def check(self, model: Model, num_steps: int) -> None:
        if self.anneal_steps > num_steps:
            raise UsageError(
                f"objective.anneal_steps = {self.anneal_steps} is more than num_steps = {num_steps}: "
                f"choose at most {num_steps}, or lengthen the run."
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
        scale = self.initial_scale * (1 - done) + self.final_scale * done  # exactly σ₁ at the end
        return (self.final_scale / scale) ** 2

    def distortion_weight(self, step):
        return float(self.precision(step))

    def describe(self, multipliers, step):
        del multipliers
        precision = float(self.precision(step))
        if precision == 1.0:
            return "the negative ELBO, at the end of the annealing"
        return f"rate + {precision:.4g} · distortion, still annealing"

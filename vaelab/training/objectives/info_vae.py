"""InfoVAE: a weight of the rate, and a divergence of the aggregated posterior from the prior."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import check_at_least_one, check_not_negative, check_positive
from vaelab.constraints import Constraint
from vaelab.training.objectives.base import Objective, metrics, total_rate


@dataclasses.dataclass(frozen=True)
class InfoVAE(Objective):
    """E[distortion + β · rate] + γ · MMD²(q(z), p(z)), over the joint latents of all levels.

    The parameters of the paper are α = 1 − β and λ = γ + β. β = 0 is MMD-VAE. The model draws the samples
    of p(z). If they are reparameterised, a learned prior moves towards q(z). Zhao et al., 2019, eq. 7.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {}  # type: ignore[misc]
    num_samples: int = 1
    """Posterior samples per example."""
    beta: float = 0.0
    """Weight β of the rate."""
    gamma: float = 1000.0
    """Weight γ of the squared maximum mean discrepancy, which is at most 2."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        check_not_negative(beta=self.beta)
        check_positive(gamma=self.gamma)

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers, step
        terms_key, prior_key = jax.random.split(key)
        terms = model(examples.x, terms_key, self.num_samples, context=examples.context)
        posterior = jnp.concatenate([z[0] for z in terms.latents], axis=-1)
        samples = model.sample_latents(prior_key, len(posterior), examples.context)
        mmd = losses.squared_mmd(posterior, jnp.concatenate(samples, axis=-1))
        rate = total_rate(terms, closed_form=True)
        loss = -jnp.mean(losses.elbo(terms.distortion, rate, beta=self.beta)) + self.gamma * mmd
        return loss, metrics(loss, terms, examples) | {"mmd": mmd}

    @property
    def label(self):
        return "InfoVAE"

    def describe(self, multipliers, step):
        del multipliers, step
        return f"distortion + {self.beta:g} · rate + {self.gamma:g} · MMD², no bound on log p(x)"

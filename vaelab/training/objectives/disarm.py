"""The negative ELBO of a model with Bernoulli levels, with the unbiased gradient DisARM."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from vaelab import losses
from vaelab.models import Model
from vaelab.models.base import check_bernoulli
from vaelab.training.objectives.base import metrics
from vaelab.training.objectives.level_weights import WeightedRates
from vaelab.types import Array, Terms


@dataclasses.dataclass(frozen=True)
class DisARM(WeightedRates):
    """Negative ELBO or β-VAE objective for Bernoulli levels: unbiased gradients of all parameters.

    A bit has no derivative. The straight-through gradient of `ELBO` is therefore biased. DisARM estimates
    the gradient in the logits of a Bernoulli level from pairs of antithetic samples of this level
    (`models.Model.antithetic_terms`), whose cost differs. Gaussian levels are reparameterised, with all bits
    held constant. Every chain of all pairs is a sample of q(z|x), so all other gradients are means over
    all chains. Dong, Mnih & Tucker, 2020.
    """

    num_samples: int = 1
    """Pairs of posterior samples per example, for each Bernoulli level."""
    closed_form: bool = True
    """True computes the rates in closed form where they have one. False estimates the rates from samples."""

    def check(self, model: Model, num_steps: int) -> None:
        super().check(model, num_steps)
        check_bernoulli(model)

    def __call__(self, model, multipliers, examples, key, step):
        del multipliers
        encoding = model.encode(examples.x, examples.context)
        terms, logits = model.antithetic_terms(encoding, examples.x, key, self.num_samples)
        betas = self.betas(step, len(terms.rate))
        loss = -self.weighted_bound(terms, betas, closed_form=self.closed_form)
        surrogate = jnp.zeros([])
        levels = model.bernoulli_levels
        pairs = (len(levels), 2, self.num_samples)
        for number, level in enumerate(levels):
            cost = self._cost_below(terms, betas, level).reshape(*pairs, -1)[number]
            bits = terms.latents[level].reshape(*pairs, *terms.latents[level].shape[1:])[number]
            gradient = losses.disarm_gradient(cost, bits, logits[level])
            surrogate += jnp.mean(jnp.sum(gradient * logits[level], axis=-1))
        # The surrogate has a gradient and no value.
        return loss + surrogate - jax.lax.stop_gradient(surrogate), metrics(loss, terms, examples)

    @property
    def label(self):
        return "DisARM"

    def _cost_below(self, terms: Terms, betas: tuple[Array, ...], level: int) -> Array:
        """The part of the cost of each chain that depends on the bits of `level`, [K, B].

        The rates above are equal in both chains of a pair. The closed form of the level's own rate depends on
        its logits alone.
        """
        cost = terms.distortion
        for below in range(level, len(betas)):
            if below > level or terms.kl[level] is None or not self.closed_form:
                cost = cost + betas[below] * terms.rate[below]
        return cost

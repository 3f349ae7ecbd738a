"""A prior over bits with independent coordinates."""

from __future__ import annotations

from typing import Any, ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab import natural
from vaelab.checks import check_at_least_one
from vaelab.priors.base import Given, Prior
from vaelab.types import Array, PRNGKey


class BernoulliPrior(Prior):
    """p(z) = Π_d exp(z_d·η_d − softplus(η_d)) over bits, with learned logits η that start at 0.

    A sample carries the gradient of the mean (straight through).

    >>> import jax
    >>> prior = BernoulliPrior(latent_dim=3)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(3))
    >>> prior.apply(variables, jnp.ones(3))  # −3 log 2
    Array(-2.0794415, dtype=float32)
    """

    factorises: ClassVar[bool] = True
    discrete: ClassVar[bool] = True
    family: ClassVar[type | None] = natural.Bernoulli

    def setup(self) -> None:
        self.logits = self.param("logits", nn.initializers.zeros, (self.latent_dim,))

    def coordinates(self) -> natural.Bernoulli:
        return natural.Bernoulli(self.logits)

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        return jnp.sum(self.coordinates().log_prob(z), axis=-1)

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        return self.coordinates().sample(key, (num_samples,))

    def kl(self, posterior: Any) -> Array | None:
        """Σ_z q(z) (log q(z) − log p(z)) of each coordinate, for independent bits."""
        bits = getattr(posterior, "distribution", None)
        if not isinstance(bits, distrax.Bernoulli):
            return None
        return natural.Bernoulli(bits.logits).kl(self.coordinates())

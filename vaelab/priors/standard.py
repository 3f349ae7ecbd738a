"""The standard normal prior."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vaelab import natural
from vaelab.checks import check_at_least_one
from vaelab.priors.base import Given, Prior
from vaelab.priors.components import diagonal_gaussian
from vaelab.types import Array, PRNGKey


class StandardNormal(Prior):
    """p(z) = N(z; 0, I). Kingma & Welling, 2014.

    >>> prior = StandardNormal(latent_dim=2)
    >>> prior.apply({}, jnp.zeros(2), method="log_prob")  # −log 2π
    Array(-1.837877, dtype=float32)
    """

    factorises: ClassVar[bool] = True
    family: ClassVar[type | None] = natural.Gaussian

    def coordinates(self) -> natural.Gaussian:
        zeros = jnp.zeros(self.latent_dim)
        return natural.Gaussian(zeros, zeros)

    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        self.check_arguments(z, given)
        return -0.5 * (jnp.sum(z**2, axis=-1) + self.latent_dim * jnp.log(2 * jnp.pi))

    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        self.check_arguments(given=given)
        check_at_least_one(num_samples=num_samples)
        return jax.random.normal(key, (num_samples, self.latent_dim))

    def kl(self, posterior: Any) -> Array | None:
        """½ Σ (μ² + σ² − 1 − log σ²) per coordinate, for a diagonal Gaussian posterior."""
        parts = diagonal_gaussian(posterior)
        if parts is None:
            return None
        mean, scale = parts
        return 0.5 * (mean**2 + scale**2 - 1.0) - jnp.log(scale)

"""Discretised logistic likelihood: 8-bit pixels under a logistic distribution."""

from __future__ import annotations

from typing import ClassVar

import distrax
import jax
import jax.numpy as jnp

from vaelab.likelihoods.quantised import Quantised, QuantisedDecoder
from vaelab.types import Array, PRNGKey


class DiscretisedLogistic(Quantised):
    """`Quantised` with F the logistic function. Kingma et al., 2016, appendix; Salimans et al., 2017."""

    def variance(self) -> Array:
        """The variance of the logistic distribution before it is binned, s² π²/3."""
        return jnp.broadcast_to((self.scale * jnp.pi) ** 2 / 3, self.batch_shape)

    def _log_cdf(self, u: Array) -> Array:
        return -jax.nn.softplus(-u)

    def _log_bin(self, centre: Array, half: Array) -> Array:
        # σ(b) − σ(a) = (1 − exp(a − b)) σ(b) σ(−a), exactly.
        outside = jax.nn.softplus(-centre - half) + jax.nn.softplus(centre - half)
        return jnp.log(-jnp.expm1(-2 * half)) - outside

    def _standard_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        return jax.random.logistic(key, shape, self.loc.dtype)


class DiscretisedLogisticDecoder(QuantisedDecoder):
    """Binned logistic likelihood, `quantised.DiscretisedLogistic`. [..., D] -> [..., *shape]."""

    label: ClassVar[str] = "discretised logistic"

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return DiscretisedLogistic(location, scale, self.levels)

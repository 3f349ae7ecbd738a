"""Laplace likelihood."""

from __future__ import annotations

from typing import ClassVar

import distrax
import jax
import jax.numpy as jnp

from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array, PRNGKey


class Laplace(distrax.Distribution):
    """log p(x) = −|x − μ|/b − log 2b. distrax's own stores its batch shape, so `vmap` cannot return it.

    >>> Laplace(jnp.array(0.0), jnp.array(1.0)).log_prob(jnp.array(0.0))  # −log 2
    Array(-0.6931472, dtype=float32...)
    """

    def __init__(self, loc: Array, scale: Array):
        super().__init__()
        self.loc, self.scale = loc, scale

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.loc.shape, self.scale.shape)

    def log_prob(self, value: Array) -> Array:
        return -jnp.abs(value - self.loc) / self.scale - jnp.log(2 * self.scale)

    def mean(self) -> Array:
        return jnp.broadcast_to(self.loc, self.batch_shape)

    def mode(self) -> Array:
        return self.mean()

    def variance(self) -> Array:
        return jnp.broadcast_to(2 * self.scale**2, self.batch_shape)

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        noise = jax.random.laplace(key, (n, *self.batch_shape), self.loc.dtype)
        return self.loc + self.scale * noise


class LaplaceDecoder(ScaledDecoder):
    """Laplace likelihood exp(−|x − g(z)|/b)/2b. [..., D] -> distribution over [..., *shape]."""

    label: ClassVar[str] = "Laplace"

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return Laplace(location, scale)

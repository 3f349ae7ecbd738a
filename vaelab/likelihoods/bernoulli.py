"""Bernoulli likelihood: bits, or the cross-entropy of values between 0 and 1."""

from __future__ import annotations

from typing import ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.likelihoods.base import Decoder, Pixels
from vaelab.types import Array


class Bernoulli(distrax.Bernoulli):
    """Independent bits, with log p(x) = x·η − softplus(η) for logits η.

    distrax evaluates two softplus functions per pixel and guards both products; over images that is
    much of a training step's time outside its matrix products. Values outside {0, 1} are allowed
    and give the cross-entropy.

    >>> Bernoulli(logits=jnp.array(0.0)).log_prob(jnp.array(1.0))
    Array(-0.6931472, dtype=float32...)
    """

    def log_prob(self, value: Array) -> Array:
        return value * self.logits - _softplus(self.logits)


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    """log(1 + exp(x)), without jax.nn.softplus's guards against infinities, which cost the most."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


# Autodiff of the two kinks would be wrong at 0.
_softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


class BernoulliDecoder(Decoder):
    """Factorised Bernoulli likelihood. [..., D] -> distribution over [..., *shape]."""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def num_levels(self) -> int:
        return 2

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        logits = self.head(z, 1)[..., 0]
        return Pixels(Bernoulli(logits=logits), self.shape)

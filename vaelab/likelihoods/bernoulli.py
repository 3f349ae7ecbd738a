"""Bernoulli likelihood: bits, or the cross-entropy of values between 0 and 1."""

from __future__ import annotations

from typing import ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab import natural
from vaelab.likelihoods.base import Decoder, Pixels
from vaelab.types import Array


class Bernoulli(distrax.Bernoulli):
    """Independent bits, with log p(x) = x·η − softplus(η) for logits η: `natural.Bernoulli`.

    It is faster than distrax's. Values between 0 and 1 are allowed and give the cross-entropy.

    >>> Bernoulli(logits=jnp.array(0.0)).log_prob(jnp.array(1.0))
    Array(-0.6931472, dtype=float32...)
    """

    def log_prob(self, value: Array) -> Array:
        if self._probs is None:
            return natural.Bernoulli(self.logits).log_prob(value)
        # The logarithm of a probability that has the factor 0 is not taken: its gradient would be NaN.
        ones = jnp.log(jnp.where(value > 0, self._probs, 1.0))
        zeros = jnp.log1p(-jnp.where(value < 1, self._probs, 0.0))
        return value * ones + (1 - value) * zeros


class BernoulliDecoder(Decoder):
    """Factorised Bernoulli likelihood. [..., D] -> distribution over [..., *shape]."""

    label: ClassVar[str] = "Bernoulli"
    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def num_levels(self) -> int:
        return 2

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        logits = self.head(z, 1)[..., 0]
        return Pixels(Bernoulli(logits=logits), self.event_shape)

"""Categorical likelihood over grey levels."""

from __future__ import annotations

from typing import ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.likelihoods.base import Decoder, Pixels, check_levels
from vaelab.types import Array, PRNGKey


class GreyLevels(distrax.Distribution):
    """Categorical over the V equidistant grey levels 0, 1/(V − 1), ..., 1; logits [..., V] -> [...].

    A value is read as its nearest level. One logit may be +∞: that level is certain.

    >>> GreyLevels(logits=jnp.zeros((5, 17))).log_prob(jnp.full(5, 0.25)).shape
    (5,)
    """

    def __init__(self, logits: Array):
        super().__init__()
        self.logits = jnp.minimum(logits, jnp.finfo(logits.dtype).max)  # ∞ − ∞ would be NaN

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        level = jnp.round(jnp.clip(value, 0.0, 1.0) * (self._num_levels - 1))
        chosen = level[..., None] == jnp.arange(self._num_levels)
        # The gradient of a masked sum is a product, that of an indexed lookup a slow scatter.
        logit = jnp.sum(jnp.where(chosen, self.logits, 0.0), axis=-1)
        total, largest = jax.nn.logsumexp(self.logits, axis=-1), jnp.finfo(self.logits.dtype).max
        impossible = (total == largest) & (logit < largest)
        return jnp.where(impossible, -jnp.inf, logit - total)

    def mean(self) -> Array:
        return jnp.sum(jax.nn.softmax(self.logits) * self._levels, axis=-1)

    def mode(self) -> Array:
        return self._levels[jnp.argmax(self.logits, axis=-1)]

    def variance(self) -> Array:
        squares = jnp.sum(jax.nn.softmax(self.logits) * self._levels**2, axis=-1)
        return squares - self.mean() ** 2

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        return self._levels[jax.random.categorical(key, self.logits, shape=(n, *self.batch_shape))]

    @property
    def _num_levels(self) -> int:
        return self.logits.shape[-1]

    @property
    def _levels(self) -> Array:
        return jnp.linspace(0.0, 1.0, self._num_levels)


class CategoricalDecoder(Decoder):
    """A categorical distribution over grey levels per pixel. [..., D] -> [..., *shape]."""

    label: ClassVar[str] = "categorical"

    levels: int = 256
    """Number of equidistant grey levels from 0 to 1; 17 for scikit-learn's digits."""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        super().__post_init__()

    @property
    def num_levels(self) -> int:
        return self.levels

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        return Pixels(GreyLevels(self.head(z, self.levels)), self.event_shape)

"""Poisson likelihood: counts 0, 1, 2, ..."""

from __future__ import annotations

import math
from typing import ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from vaelab.checks import UsageError
from vaelab.likelihoods.base import Decoder, Pixels
from vaelab.types import Array, PRNGKey


class Poisson(distrax.Distribution):
    """log p(x) = x·η − exp(η) − log x! for the log-rate η; counts are floats.

    >>> Poisson(jnp.array(0.0)).log_prob(jnp.array(2.0))  # −1 − log 2
    Array(-1.69314..., dtype=float32...)
    """

    def __init__(self, log_rate: Array):
        super().__init__()
        self.log_rate = log_rate

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.log_rate.shape

    def log_prob(self, value: Array) -> Array:
        infinite = jnp.isinf(self.log_rate)
        log_rate = jnp.where(infinite, 0.0, self.log_rate)  # ∞ would be NaN, also in the gradient
        # Under a rate of 0 only the count 0 is possible; under an infinite rate no count is.
        limit = jnp.where((self.log_rate < 0) & (value == 0), 0.0, -jnp.inf)
        return jnp.where(infinite, limit, _log_prob(value, log_rate))

    def mean(self) -> Array:
        return jnp.exp(self.log_rate)

    def mode(self) -> Array:
        return jnp.floor(jnp.exp(self.log_rate))

    def variance(self) -> Array:
        return jnp.exp(self.log_rate)

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        counts = jax.random.poisson(key, jnp.exp(self.log_rate), (n, *self.batch_shape))
        return counts.astype(self.log_rate.dtype)


def _log_prob(value: Array, log_rate: Array) -> Array:
    """log p(x) for finite η, in a form that keeps its digits for large counts. Loader, 2000.

    With t = η − log x, log p(x) = −x (e^t − 1 − t) − ½ log 2πx − r(x), r the remainder of Stirling's series.
    """
    large = value > 15.0
    # Each branch is computed at values that suit it, or its gradient would be NaN elsewhere.
    few, many = jnp.where(large, 1.0, value), jnp.where(large, value, 16.0)
    plain = few * log_rate - jnp.exp(log_rate) - gammaln(few + 1.0)
    t = log_rate - jnp.log(many)
    rest = 1 / (12 * many) - 1 / (360 * many**3)
    deviance = many * _expm1_minus(t)
    return jnp.where(large, -deviance - 0.5 * jnp.log(2 * jnp.pi * many) - rest, plain)


def _expm1_minus(t: Array) -> Array:
    """e^t − 1 − t, by its series near 0."""
    near = jnp.abs(t) < 0.3
    small = jnp.where(near, t, 0.0)
    series = jnp.ones_like(t)
    for n in range(9, 2, -1):
        series = 1.0 + small / n * series
    return jnp.where(near, 0.5 * small**2 * series, jnp.expm1(t) - t)


class PoissonDecoder(Decoder):
    """Factorised Poisson likelihood; the head gives log-rates. [..., D] -> [..., *shape]."""

    label: ClassVar[str] = "Poisson"
    data_range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    @property
    def discrete(self) -> bool:
        return True

    def check_values(self, x: np.ndarray) -> None:
        if np.any(x != np.round(x)):
            raise UsageError(
                "model.decoder has a Poisson likelihood, and the data are not all counts 0, 1, 2, ...: "
                "round the data, or choose another decoder."
            )

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        return Pixels(Poisson(self.head(z, 1)[..., 0]), self.event_shape)

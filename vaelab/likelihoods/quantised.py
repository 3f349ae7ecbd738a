"""Continuous distributions binned to equidistant levels, for pixels with a number of grey levels."""

from __future__ import annotations

import abc
from typing import ClassVar

import distrax
import jax.numpy as jnp

from vaelab.likelihoods.base import check_levels
from vaelab.likelihoods.scaled import ScaledDecoder
from vaelab.types import Array, PRNGKey

_FAR = 1e20  # locations beyond it are treated as infinite


class Quantised(distrax.Distribution, abc.ABC):
    """P(v) = F((v + h/2 − μ)/s) − F((v − h/2 − μ)/s) over the V levels v = 0, h, ..., 1, h = 1/(V − 1).

    The first and the last bin extend to ∓∞, so that the masses sum to one. A value is read as its nearest
    level. `mean` is the location μ, which is the reconstruction. The mean of the masses, which is always
    in [0, 1], is another number.

    Raises:
      UsageError: fewer than two levels.
    """

    def __init__(self, loc: Array, scale: Array, levels: int = 256):
        super().__init__()
        check_levels(levels)
        self.loc = loc
        self.scale = scale
        self.levels = levels

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.loc.shape, self.scale.shape)

    def log_prob(self, value: Array) -> Array:
        width, last = 1 / (self.levels - 1), self.levels - 1
        level = jnp.round(jnp.clip(value, 0.0, 1.0) * last)
        # Beyond _FAR, or at ∞, the gradient with respect to the scale would be NaN.
        centre = (level * width - jnp.clip(self.loc, -_FAR, _FAR)) / self.scale
        half = 0.5 * width / self.scale
        log_prob = self._log_bin(centre, half)
        # The first bin holds all below its upper border, the last bin all above its lower border.
        log_prob = jnp.where(level == 0, self._log_cdf(centre + half), log_prob)
        log_prob = jnp.where(level == last, self._log_cdf(half - centre), log_prob)
        limit = jnp.where(level == jnp.where(self.loc > 0, last, 0), 0.0, -jnp.inf)
        return jnp.where(jnp.isinf(self.loc), limit, log_prob)

    @abc.abstractmethod
    def _log_cdf(self, u: Array) -> Array:
        """log F(u); F is symmetric, 1 − F(u) = F(−u)."""

    @abc.abstractmethod
    def _log_bin(self, centre: Array, half: Array) -> Array:
        """log (F(centre + half) − F(centre − half))."""

    @abc.abstractmethod
    def _standard_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        """Samples of F."""

    def mean(self) -> Array:
        return jnp.broadcast_to(self.loc, self.batch_shape)

    def mode(self) -> Array:
        # Masses fall with the distance from μ, except that the open bins may hold more.
        nearest = self._quantise(self.mean())
        candidates = jnp.stack([nearest, jnp.zeros_like(nearest), jnp.ones_like(nearest)])
        best = jnp.argmax(self.log_prob(candidates), axis=0)
        return jnp.where(best == 0, nearest, best - 1.0)

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        noise = self._standard_sample(key, (n, *self.batch_shape))
        return self._quantise(self.loc + self.scale * noise)

    def _quantise(self, values: Array) -> Array:
        steps = self.levels - 1
        return jnp.round(jnp.clip(values, 0.0, 1.0) * steps) / steps


class QuantisedDecoder(ScaledDecoder):
    """A likelihood over V equidistant levels from 0 to 1, by binning a continuous one."""

    levels: int = 256
    """Number of levels V; 256 for 8-bit images."""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        super().__post_init__()

    @property
    def num_levels(self) -> int:
        return self.levels

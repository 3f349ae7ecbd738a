"""Continuous distributions binned to equidistant levels, for pixels that have so many values."""

from __future__ import annotations

import abc

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from vaelab.types import Array, PRNGKey

_NARROW = 0.1  # bin widths, in standard deviations, below which a series is used


class Quantised(distrax.Distribution, abc.ABC):
    """P(v) = F((v + h/2 − μ)/s) − F((v − h/2 − μ)/s) over the V levels v = 0, h, ..., 1, h = 1/(V − 1).

    The first and the last bin are open to ∓∞, so that the masses sum to one. A value is read as its
    nearest level. `mean` is the location μ, what a decoder reconstructs, and not the mean of the
    masses, which never leaves [0, 1].

    Raises:
      ValueError: fewer than two levels.
    """

    def __init__(self, loc: Array, scale: Array, levels: int = 256):
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}.")
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
        width = 1 / (self.levels - 1)
        level = jnp.round(jnp.clip(value, 0.0, 1.0) * (self.levels - 1))
        centre = (level * width - self.loc) / self.scale
        half = 0.5 * width / self.scale
        log_prob = self._log_bin(centre, half)
        # The open bins: all below the first level's upper border, all above the last one's lower.
        log_prob = jnp.where(level == 0, self._log_cdf(centre + half), log_prob)
        return jnp.where(level == self.levels - 1, self._log_cdf(half - centre), log_prob)

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
        # Masses fall with the distance from μ, save that the open bins may hold more than their like.
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


class QuantisedNormal(Quantised):
    """`Quantised` with F the normal distribution's Φ: 8-bit pixels under a Gaussian.

    >>> QuantisedNormal(jnp.array(0.5), jnp.array(0.1)).log_prob(jnp.array(128 / 255))
    Array(-4.15..., dtype=float32...)
    """

    def variance(self) -> Array:
        """Of the normal distribution before it is binned."""
        return jnp.broadcast_to(self.scale**2, self.batch_shape)

    def _log_cdf(self, u: Array) -> Array:
        return _log_ndtr(u)

    def _log_bin(self, centre: Array, half: Array) -> Array:
        # By symmetry; both borders are then in the upper tail, or around 0.
        centre = jnp.abs(centre)
        narrow = 2 * half < _NARROW
        # Each branch is computed at values that suit it: the gradient of the other would be NaN.
        upper = _log_ndtr(half - centre)
        lower = _log_ndtr(-jnp.where(narrow, half + 1.0, half) - centre)
        wide = upper + jnp.log(-jnp.expm1(lower - upper))
        # φ(c) ∫ exp(−ct − t²/2) dt over ±half, with 1 − t²/2 for the second exponential.
        small = jnp.where(narrow, half, 0.5 * _NARROW)
        series = (
            -0.5 * (centre**2 + jnp.log(2 * jnp.pi))
            + jnp.log(2 * small)
            + _log_sinhc(centre * small)
            - small**2 / 6
        )
        return jnp.where(narrow, series, wide)

    def _standard_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        return jax.random.normal(key, shape, self.loc.dtype)


class DiscretisedLogistic(Quantised):
    """`Quantised` with F the logistic function. Kingma et al., 2016, appendix; Salimans et al., 2017."""

    def variance(self) -> Array:
        """Of the logistic distribution before it is binned, s² π²/3."""
        return jnp.broadcast_to((self.scale * jnp.pi) ** 2 / 3, self.batch_shape)

    def _log_cdf(self, u: Array) -> Array:
        return -jax.nn.softplus(-u)

    def _log_bin(self, centre: Array, half: Array) -> Array:
        # σ(b) − σ(a) = (1 − exp(a − b)) σ(b) σ(−a), exactly.
        outside = jax.nn.softplus(-centre - half) + jax.nn.softplus(centre - half)
        return jnp.log(-jnp.expm1(-2 * half)) - outside

    def _standard_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        return jax.random.logistic(key, shape, self.loc.dtype)


@jax.custom_jvp
def _log_ndtr(u: Array) -> Array:
    """log Φ(u), with a derivative that stays finite far out in the tail."""
    return log_ndtr(u)


@_log_ndtr.defjvp
def _log_ndtr_jvp(primals, tangents):
    (u,), (tangent,) = primals, tangents
    value = _log_ndtr(u)
    far = u < -10.0
    near = jnp.where(far, 0.0, u)
    ratio = jnp.exp(-0.5 * (near**2 + jnp.log(2 * jnp.pi)) - jnp.where(far, 0.0, value))
    # φ/Φ by Mills' ratio: the exponentials' difference would be lost in float32.
    inverse = 1 / jnp.where(far, u, -10.0) ** 2
    tail = -jnp.where(far, u, -10.0) / (1 - inverse + 3 * inverse**2 - 15 * inverse**3)
    return value, tangent * jnp.where(far, tail, ratio)


def _log_sinhc(x: Array) -> Array:
    """log (sinh(x)/x) for x ≥ 0."""
    small = x < 0.1
    large = jnp.where(small, 1.0, x)
    far = large + jnp.log(-jnp.expm1(-2 * large)) - jnp.log(2 * large)
    square = jnp.where(small, x, 0.0) ** 2
    return jnp.where(small, square / 6 - square**2 / 180, far)

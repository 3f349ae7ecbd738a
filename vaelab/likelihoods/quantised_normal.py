"""Quantised normal likelihood: 8-bit pixels under a Gaussian."""

from __future__ import annotations

from typing import ClassVar

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from vaelab.likelihoods.quantised import Quantised, QuantisedDecoder
from vaelab.types import Array, PRNGKey

_NARROW = 0.1  # bin widths, in standard deviations, below which a series is used
_OVERFLOW = 1e20  # standard deviations, whose square overflows: log P = −∞


class QuantisedNormal(Quantised):
    """`Quantised` with F the normal distribution's Φ: 8-bit pixels under a Gaussian.

    >>> QuantisedNormal(jnp.array(0.5), jnp.array(0.1)).log_prob(jnp.array(128 / 255))
    Array(-4.15..., dtype=float32...)
    """

    def variance(self) -> Array:
        """The variance of the normal distribution before it is binned."""
        return jnp.broadcast_to(self.scale**2, self.batch_shape)

    def _log_cdf(self, u: Array) -> Array:
        return _log_ndtr(u)

    def _log_bin(self, centre: Array, half: Array) -> Array:
        # By symmetry, so that both borders are in the upper tail or around 0.
        centre = jnp.minimum(jnp.abs(centre), _OVERFLOW)
        narrow = 2 * half < _NARROW
        # Each branch is computed at values that suit it, or its gradient would be NaN elsewhere.
        upper = _log_ndtr(half - centre)
        lower = _log_ndtr(-jnp.where(narrow, half + 1.0, half) - centre)
        # Far out their difference has no digits, and the lower border does not matter.
        gap = jnp.where(centre > 1e3, -100.0, lower - upper)
        wide = upper + jnp.log(-jnp.expm1(gap))
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


class QuantisedNormalDecoder(QuantisedDecoder):
    """Binned Gaussian likelihood, `quantised.QuantisedNormal`. [..., D] -> [..., *shape]."""

    label: ClassVar[str] = "quantised normal"

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return QuantisedNormal(location, scale, self.levels)


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
    # φ/Φ by Mills' ratio: the difference of the exponents has no digits in float32.
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

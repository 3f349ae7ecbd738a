"""Exponential families by their natural parameters, arrays only: independent coordinates.

Products of densities are sums of natural parameters: p(z) ∝ a(z) b(z) is the family's `a + b`. All
methods work coordinate by coordinate. The caller chooses the axes of an event by summing over them.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, Self

import jax
import jax.numpy as jnp

from vaelab.types import Array, PRNGKey


class ExponentialFamily(Protocol):
    """p(z) = h(z) exp(⟨ψ(z), η⟩ − A(η)) for each coordinate. Every array has the parameters' shape."""

    @property
    def natural_parameters(self) -> tuple[Array, ...]:
        """η, one array for each statistic in ψ(z)."""
        ...

    @property
    def mean(self) -> Array:
        """E z."""
        ...

    @property
    def variance(self) -> Array:
        """E (z − E z)²."""
        ...

    def __add__(self, other: Self) -> Self:
        """The normalised product of both densities: natural parameters add."""
        ...

    def kl(self, other: Self) -> Array:
        """KL(self ‖ other) of each coordinate, nats."""
        ...

    def log_prob(self, z: Array) -> Array:
        """log p(z) of each coordinate, nats."""
        ...

    def sample(self, key: PRNGKey, sample_shape: tuple[int, ...] = ()) -> Array:
        """z ~ p with a gradient in the parameters, [*sample_shape, ...]."""
        ...

    def noise(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        """Noise for `at`, of this shape."""
        ...

    def at(self, noise: Array) -> Array:
        """The sample that this noise gives. Bits are constants; other samples are reparameterised."""
        ...

    def sample_and_log_ratio(
        self, key: PRNGKey, other: Self, sample_shape: tuple[int, ...] = ()
    ) -> tuple[Array, Array]:
        """z ~ p, and log p(z) − log other(z) of each coordinate, whose mean is the KL."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """N(z; μ, σ²), ψ(z) = (z, z²), η = (μ/σ², −1/(2σ²)).

    log σ² = +∞ is a factor without information: its sum with another factor is that factor. It has no samples.

    >>> Gaussian(jnp.array(0.0), jnp.array(0.0)) + Gaussian(jnp.array(1.0), jnp.array(0.0))
    Gaussian(mean=Array(0.5, dtype=float32...), log_variance=Array(-0.6931472, dtype=float32...))
    """

    mean: Array
    """μ"""
    log_variance: Array
    """log σ²"""

    @property
    def variance(self) -> Array:
        """σ²."""
        return jnp.exp(self.log_variance)

    @property
    def precision(self) -> Array:
        """1/σ²."""
        return jnp.exp(-self.log_variance)

    @property
    def natural_parameters(self) -> tuple[Array, Array]:
        """(μ/σ², −1/(2σ²))."""
        return self.mean * self.precision, -0.5 * self.precision

    def __add__(self, other: Gaussian) -> Gaussian:
        """1/σ² = 1/σ_a² + 1/σ_b² and μ = σ² (μ_a/σ_a² + μ_b/σ_b²).

        With Δ the difference of log-variances, the weights of the means are σ(±Δ) and the log-variance is
        min − log(1 + exp(−|Δ|)). Nothing overflows. Sønderby et al., 2016, eqs. 17 and 18.
        """
        difference = other.log_variance - self.log_variance
        # Two factors without information, or two points, have the same weight.
        same = jnp.isinf(self.log_variance) & (self.log_variance == other.log_variance)
        difference = jnp.where(same, 0.0, difference)
        mean = jax.nn.sigmoid(difference) * self.mean + jax.nn.sigmoid(-difference) * other.mean
        smaller = jnp.minimum(self.log_variance, other.log_variance)
        # −|Δ| as a minimum: its gradient at 0 is 0, and the gradient of abs is not.
        distance = jnp.minimum(difference, -difference)
        return Gaussian(mean, smaller - jnp.log1p(jnp.exp(distance)))

    def kl(self, other: Gaussian) -> Array:
        """½ ((μ − m)²/s² + σ²/s² − 1 − log (σ²/s²)) for other = N(m, s²)."""
        ratio = self.log_variance - other.log_variance
        distance = other.precision * (self.mean - other.mean) ** 2
        return 0.5 * (distance + jnp.expm1(ratio) - ratio)

    def log_prob(self, z: Array) -> Array:
        """log N(z; μ, σ²) of each coordinate, nats."""
        square = (z - self.mean) ** 2 * self.precision
        return -0.5 * (square + self.log_variance + jnp.log(2 * jnp.pi))

    def sample(self, key: PRNGKey, sample_shape: tuple[int, ...] = ()) -> Array:
        """z = μ + σ ε, reparameterised, [*sample_shape, ...]."""
        return self.at(self._noise(key, sample_shape))

    def noise(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        """ε ~ N(0, 1)."""
        return jax.random.normal(key, shape, self.mean.dtype)

    def at(self, noise: Array) -> Array:
        """z = μ + σ ε."""
        return self.mean + jnp.exp(0.5 * self.log_variance) * noise

    def sample_and_log_ratio(
        self, key: PRNGKey, other: Gaussian, sample_shape: tuple[int, ...] = ()
    ) -> tuple[Array, Array]:
        """z ~ p, and log p(z) − log other(z), computed from the noise because z − μ would lose digits."""
        noise = self._noise(key, sample_shape)
        ratio = self.log_variance - other.log_variance
        # z − μ of `other` without the rounding of z: both densities may be narrow and far from 0.
        shift = (self.mean - other.mean) + jnp.exp(0.5 * self.log_variance) * noise
        return self.at(noise), 0.5 * (other.precision * shift**2 - noise**2 - ratio)

    def _noise(self, key: PRNGKey, sample_shape: tuple[int, ...]) -> Array:
        shape = jnp.broadcast_shapes(self.mean.shape, self.log_variance.shape)
        return self.noise(key, (*sample_shape, *shape))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Bernoulli:
    """p(z) = exp(z·η − softplus(η)) for a bit z, ψ(z) = z, with logits η.

    Logits of ±∞ are certain bits.

    >>> Bernoulli(jnp.array(1.0)) + Bernoulli(jnp.array(-3.0))
    Bernoulli(logits=Array(-2., dtype=float32...))
    """

    logits: Array
    """η = log p(1) − log p(0)"""

    @property
    def mean(self) -> Array:
        """p(1)."""
        return jax.nn.sigmoid(self.logits)

    @property
    def variance(self) -> Array:
        """p(1) p(0)."""
        return jax.nn.sigmoid(self.logits) * jax.nn.sigmoid(-self.logits)

    @property
    def natural_parameters(self) -> tuple[Array]:
        """(η,)."""
        return (self.logits,)

    def __add__(self, other: Bernoulli) -> Bernoulli:
        """Logits add."""
        return Bernoulli(self.logits + other.logits)

    def kl(self, other: Bernoulli) -> Array:
        """Σ_z p(z) (log p(z) − log other(z)), of each coordinate.

        Equal to σ(η) (η − θ) − softplus(η) + softplus(θ), whose terms cancel for large logits.
        """
        return _expected_gap(self.logits, other.logits) + _expected_gap(-self.logits, -other.logits)

    def log_prob(self, z: Array) -> Array:
        """z·η − softplus(η) = (z·η − max(η, 0)) − log(1 + e^−|η|), nats; the cross-entropy between the bits.

        One softplus function instead of two: on images they take much of the time of a training step
        outside the matrix products.
        """
        # Only the first bracket needs a guard at infinity. A guard around the whole is slower. The guard of η
        # keeps 0·∞ out of the gradient in z.
        certain = jnp.where(z == (self.logits > 0), 0.0, -jnp.inf)
        finite = jnp.abs(self.logits) < jnp.inf
        linear = z * jnp.where(finite, self.logits, 0.0) - jnp.maximum(self.logits, 0.0)
        linear = jnp.where(finite, linear, certain)
        return linear - _softplus_of_minus_abs(self.logits)

    def sample(self, key: PRNGKey, sample_shape: tuple[int, ...] = ()) -> Array:
        """A bit with the gradient of the mean (straight through), [*sample_shape, ...].

        The gradient of an expectation is biased, except for linear functions.
        """
        mean = self.mean
        bits = self.at(self.noise(key, (*sample_shape, *mean.shape)))
        return bits + (mean - jax.lax.stop_gradient(mean))

    def noise(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        """u ~ U[0, 1)."""
        return jax.random.uniform(key, shape, self.logits.dtype)

    def at(self, noise: Array) -> Array:
        """z = 1 if u < p(1), else 0, without a gradient."""
        return jax.lax.stop_gradient((noise < self.mean).astype(self.logits.dtype))

    def sample_and_log_ratio(
        self, key: PRNGKey, other: Bernoulli, sample_shape: tuple[int, ...] = ()
    ) -> tuple[Array, Array]:
        """z ~ p, and log p(z) − log other(z)."""
        z = self.sample(key, sample_shape)
        return z, self.log_prob(z) - other.log_prob(z)


def _expected_gap(p: Array, q: Array) -> Array:
    """σ(p) (log σ(p) − log σ(q)), and 0 if σ(p) = 0."""
    mass = jax.nn.sigmoid(p)
    gap = jnp.where(mass > 0, _softplus(-q) - _softplus(-p), 0.0)
    return mass * gap


@jax.custom_jvp
def _softplus_of_minus_abs(x: Array) -> Array:
    """log(1 + e^−|x|)."""
    return jnp.log1p(jnp.exp(-jnp.abs(x)))


# The sum with the derivative of max(x, 0), which is ½ at 0, is the derivative of softplus. So is the second derivative.
_softplus_of_minus_abs.defjvps(
    lambda tangent, _, x: tangent * (jax.nn.sigmoid(x) - 0.5 * (1 + jnp.sign(x)))
)


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    """log(1 + exp(x)) without the slow guards of jax.nn.softplus; no NaN at infinity."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


# Autodiff of the two kinks would be wrong at 0.
_softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))

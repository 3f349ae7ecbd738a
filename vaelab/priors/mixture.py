"""Finite mixtures of diagonal Gaussians, and the one whose components are free parameters."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.priors.base import Prior
from vaelab.types import Array, PRNGKey


class Components(NamedTuple):
    """The parts of a mixture Σ_k w_k N(z; μ_k, diag σ_k²)."""

    log_weights: Array  # [C], normalised; −inf is a weight of zero
    mean: Array  # [C, D]
    scale: Array  # [C, D], standard deviations > 0


def component_log_probs(z: Array, components: Components) -> Array:
    """log N(z; μ_k, diag σ_k²) of every component, nats. [..., D] -> [..., C].

    No array [..., C, D] is made: a few coordinates are summed one by one, many as a matrix product.
    """
    mean, inverse_scale = components.mean, 1 / components.scale
    num_components, latent_dim = mean.shape
    normaliser = 0.5 * latent_dim * jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(inverse_scale), axis=-1)
    if latent_dim <= 8:
        return -0.5 * _sum_of_squares(z, mean, inverse_scale) - normaliser
    log_probs = -0.5 * _matrix_product(z, mean, inverse_scale) - normaliser
    # The product has lost digits. The few components that matter most at each z are computed again,
    # the plain way, and replaced. (Crowds of more than four in the same place keep the product's
    # error: 0.01 nats for log σ² = −6 at |z_d| = 10 in 40 dimensions.)
    posterior = jax.lax.stop_gradient(log_probs + components.log_weights)
    _, index = jax.lax.top_k(posterior, min(4, num_components))
    squares = ((z[..., None, :] - mean[index]) * inverse_scale[index]) ** 2
    exact = -0.5 * jnp.sum(squares, axis=-1) - normaliser[index]
    correction = exact - jnp.take_along_axis(log_probs, index, axis=-1)
    correction = jnp.put_along_axis(
        jnp.zeros_like(log_probs), index, correction, axis=-1, inplace=False
    )
    return log_probs + correction


def _sum_of_squares(z: Array, mean: Array, inverse_scale: Array) -> Array:
    """Σ_d ((z_d − μ_d)/σ_d)², the plain way. [..., D], [C, D], [C, D] -> [..., C]."""
    terms = ((z[..., d, None] - mean[:, d]) * inverse_scale[:, d] for d in range(z.shape[-1]))
    return sum((term**2 for term in terms), start=jnp.zeros([]))


def _matrix_product(z: Array, mean: Array, inverse_scale: Array) -> Array:
    """The same by its expansion, z²/σ² − 2zμ/σ² + μ²/σ². [..., D], [C, D], [C, D] -> [..., C].

    The three terms cancel where z is near a component and both are far from the origin. Hence the
    origin is moved to the middle of the components, the product has full precision whatever the
    default is, and a coordinate's three terms stand side by side in it, so that they cancel before
    the sum over coordinates has become large.
    """
    centre = jax.lax.stop_gradient(jnp.mean(mean, axis=0))
    z, mean, precision = z - centre, mean - centre, inverse_scale**2
    left = jnp.stack([z**2, z, jnp.ones_like(z)], axis=-1)
    right = jnp.stack([precision, -2 * mean * precision, mean**2 * precision], axis=-1)
    left, right = left.reshape(*z.shape[:-1], -1), right.reshape(len(mean), -1)
    product = jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(product, 0.0)


class MixturePrior(Prior):
    """p(z) = Σ_k w_k N(z; μ_k, diag σ_k²), for priors that say what the components are.

    log p(z) = logsumexp_k (log w_k + Σ_d log N(z_d; μ_kd, σ_kd²)): the sum over coordinates is
    inside, or it would be a product of one-dimensional mixtures.
    """

    def components(self) -> Components:
        """Weights, means and standard deviations."""
        raise NotImplementedError

    def logits_of(self, num_components: int, *, learned: bool) -> Array:
        """The weights' logits [C], equal at the start: a parameter where they are learned."""
        zeros = jnp.zeros(num_components)
        return self.param("logits", lambda _: zeros) if learned else zeros

    def log_prob(self, z: Array, key: PRNGKey | None = None, weights: Array | None = None) -> Array:
        del key, weights
        components = self.components()
        return logsumexp(component_log_probs(z, components) + components.log_weights, axis=-1)

    def sample(self, key: PRNGKey, num_samples: int) -> Array:
        index_key, noise_key = jax.random.split(key)
        components = self.components()
        index = jax.random.categorical(index_key, components.log_weights, shape=(num_samples,))
        noise = jax.random.normal(noise_key, (num_samples, self.latent_dim))
        return components.mean[index] + components.scale[index] * noise


class GaussianMixture(MixturePrior):
    """Mixture of Gaussians with weights, means and variances of its own.

    Means start spread as N(0, `spread`²), variances at 1, weights equal.

    >>> prior = GaussianMixture(latent_dim=2, num_components=16)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(2), method="log_prob")
    >>> prior.apply(variables, jnp.zeros((5, 2)), method="log_prob").shape
    (5,)
    """

    num_components: int = 16
    """number of components C"""
    spread: float = 1.0
    """standard deviation of the components' means at the start"""

    def __post_init__(self) -> None:
        check_num_components(self.num_components)
        super().__post_init__()

    @nn.compact
    def components(self) -> Components:
        shape = (self.num_components, self.latent_dim)
        mean = self.param("mean", nn.initializers.normal(self.spread), shape)
        log_variance = self.param("log_variance", nn.initializers.zeros, shape)
        logits = self.param("logits", nn.initializers.zeros, shape[:1])
        return Components(jax.nn.log_softmax(logits), mean, jnp.exp(0.5 * log_variance))


def check_num_components(num_components: int) -> None:
    """Raises one sentence where a mixture has no component."""
    if isinstance(num_components, int) and num_components < 1:
        raise ValueError(f"num_components must be at least 1, got {num_components}.")

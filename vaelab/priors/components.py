"""Diagonal Gaussians as the components of a mixture, and their densities."""

from __future__ import annotations

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

from vaelab.types import Array


class Components(NamedTuple):
    """The parts of a mixture Σ_k w_k N(z; μ_k, diag σ_k²)."""

    log_weights: Array  # [C], or [..., C] for each z; −inf is a weight of zero
    mean: Array  # [C, D]
    scale: Array  # [C, D], standard deviations > 0


def component_log_probs(z: Array, components: Components) -> Array:
    """log N(z; μ_k, diag σ_k²) of every component, nats. [..., D] -> [..., C].

    No array [..., C, D] is made: few coordinates are summed one by one, many by a matrix product.
    """
    mean, inverse_scale = components.mean, 1 / components.scale
    num_components, latent_dim = mean.shape
    normaliser = 0.5 * latent_dim * jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(inverse_scale), axis=-1)
    if latent_dim <= 8:
        return -0.5 * _sum_of_squares(z, mean, inverse_scale) - normaliser
    log_probs = -0.5 * _matrix_product(z, mean, inverse_scale) - normaliser
    # The product has lost digits. The four components that matter most at each z are computed again
    # without it. More than four components in one place keep the product's error.
    posterior = jax.lax.stop_gradient(log_probs + components.log_weights)
    _, index = jax.lax.top_k(posterior, min(4, num_components))
    squares = ((z[..., None, :] - mean[index]) * inverse_scale[index]) ** 2
    exact = -0.5 * jnp.sum(squares, axis=-1) - normaliser[index]
    # Adding the difference to the product would keep the product's rounding.
    return jnp.put_along_axis(log_probs, index, exact, axis=-1, inplace=False)


def _sum_of_squares(z: Array, mean: Array, inverse_scale: Array) -> Array:
    """Σ_d ((z_d − μ_d)/σ_d)², coordinate by coordinate. [..., D], [C, D], [C, D] -> [..., C]."""
    terms = ((z[..., d, None] - mean[:, d]) * inverse_scale[:, d] for d in range(z.shape[-1]))
    return sum((term**2 for term in terms), start=jnp.zeros([]))


def _matrix_product(z: Array, mean: Array, inverse_scale: Array) -> Array:
    """The same by its expansion, z²/σ² − 2zμ/σ² + μ²/σ². [..., D], [C, D], [C, D] -> [..., C].

    The three terms cancel if z is near a component and both are far from the origin. Three things keep
    digits: the origin is the middle of the components; the product has full precision, independently of
    the default; the three terms of a coordinate are neighbours in it, so that they cancel before the sum
    over coordinates is large.
    """
    centre = jax.lax.stop_gradient(jnp.mean(mean, axis=0))
    z, mean, precision = z - centre, mean - centre, inverse_scale**2
    left = jnp.stack([z**2, z, jnp.ones_like(z)], axis=-1)
    right = jnp.stack([precision, -2 * mean * precision, mean**2 * precision], axis=-1)
    left, right = left.reshape(*z.shape[:-1], -1), right.reshape(len(mean), -1)
    product = jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(product, 0.0)


def diagonal_gaussian(distribution: Any) -> tuple[Array, Array] | None:
    """Mean and standard deviation [..., D] of a diagonal Gaussian over vectors; None for other types.

    Diagonal Gaussians are distrax's Independent(Normal(mean, scale), 1) and
    MultivariateNormalDiag(mean, scale). In projects without distrax they are a pair (mean, scale) of
    arrays [..., D]: a tuple, or your own NamedTuple.

    >>> normal = distrax.Normal(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    >>> diagonal_gaussian(distrax.Independent(normal, 1))
    (Array([[0., 0.]], dtype=float32), Array([[1., 1.]], dtype=float32))
    >>> diagonal_gaussian((jnp.zeros(1), jnp.ones(1)))
    (Array([0.], dtype=float32), Array([1.], dtype=float32))
    """
    if isinstance(distribution, tuple) and len(distribution) == 2:
        mean, scale = distribution
        return mean, scale
    if isinstance(distribution, distrax.MultivariateNormalDiag):
        return distribution.loc, distribution.scale_diag
    normal = getattr(distribution, "distribution", None)
    if not (isinstance(distribution, distrax.Independent) and isinstance(normal, distrax.Normal)):
        return None
    return (normal.loc, normal.scale) if len(distribution.event_shape) == 1 else None

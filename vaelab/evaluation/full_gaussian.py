"""Gaussians with a full covariance, one for each example, fitted by the curvature of a density."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evaluation.ascent import clip_step
from vaelab.types import Array

_PRECISIONS = 1e-2, 1e4  # of a fitted Gaussian, relative to that of the last one


class FullGaussian(NamedTuple):
    """N(z; m, R Rᵀ) over vectors, batch shape [B]."""

    mean: Array  # m [B, D]
    root: Array  # R [B, D, D]
    inverse_root: Array  # R⁻¹ [B, D, D]
    log_determinant: Array  # log |det R| [B]

    @classmethod
    def diagonal(cls, mean: Array, scale: Array) -> FullGaussian:
        """Independent coordinates. [B, D], [B, D]."""
        root, inverse = jax.vmap(jnp.diag)(scale), jax.vmap(jnp.diag)(1 / scale)
        return cls(mean, root, inverse, jnp.sum(jnp.log(scale), axis=-1))

    def at(self, noise: Array) -> Array:
        """z = m + R ε. [K, B, D] -> [K, B, D]."""
        return self.mean + jnp.einsum("bij,kbj->kbi", self.root, noise)

    def log_prob_at(self, noise: Array) -> Array:
        """log N(m + R ε; m, R Rᵀ), nats. [K, B, D] -> [K, B]."""
        constant = 0.5 * noise.shape[-1] * jnp.log(2 * jnp.pi)
        return -0.5 * jnp.sum(noise**2, axis=-1) - self.log_determinant - constant

    def log_prob(self, z: Array) -> Array:
        """log N(z; m, R Rᵀ), nats. [K, B, D] -> [K, B]."""
        return self.log_prob_at(jnp.einsum("bij,kbj->kbi", self.inverse_root, z - self.mean))

    def where_finite(self, other: FullGaussian) -> FullGaussian:
        """The Gaussian, or `other` for examples where a number is not finite."""
        finite = jnp.ones(len(self.mean), bool)
        for leaf in self:
            finite &= jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))

        def choose(leaf: Array, instead: Array) -> Array:
            return jnp.where(finite.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, instead)

        return jax.tree.map(choose, self, other)


def with_curvature(log_density: Callable[[Array], Array], last: FullGaussian) -> FullGaussian:
    """A Newton step from m, and the covariance S = (−H)⁻¹.

    Gradients g at the 2D points m ± R e_d give both: their mean is the gradient, and their differences are the
    Hessian H, both averaged over the spread of the last Gaussian,

      Rᵀ H R e_d = ½ Rᵀ (g(m + R e_d) − g(m − R e_d)).

    Directions of negative curvature count with its absolute value. Exact if log p is quadratic.

    Args:
      log_density: [B, D] -> [B], each example by itself.
      last: Gaussian to start from.
    """

    def gradient(z: Array) -> Array:
        return jax.grad(lambda z: jnp.sum(log_density(z)))(z)

    columns = jnp.moveaxis(last.root, -1, 0)  # [D, B, D]
    points = jnp.concatenate([last.mean + columns, last.mean - columns])
    above, below = jnp.split(jax.vmap(gradient)(points), 2)
    slope = jnp.einsum("bki,bk->bi", last.root, jnp.mean(above + below, axis=0) / 2)
    curvature = -0.5 * jnp.einsum("bki,jbk->bij", last.root, above - below)
    # eigh has no answer for NaN, and some of its implementations do not return.
    finite = jnp.all(jnp.isfinite(curvature), axis=(1, 2), keepdims=True)
    curvature = jnp.where(finite, curvature, jnp.eye(curvature.shape[-1]))
    precision, axes = jnp.linalg.eigh(0.5 * (curvature + jnp.swapaxes(curvature, 1, 2)))
    precision = jnp.clip(jnp.abs(precision), *_PRECISIONS)
    step = jnp.einsum("bij,bj->bi", axes, jnp.einsum("bji,bj->bi", axes, slope) / precision)
    scale = precision**-0.5
    return FullGaussian(
        last.mean + jnp.einsum("bij,bj->bi", last.root, clip_step(step)),
        jnp.einsum("bij,bjk->bik", last.root, axes * scale[:, None, :]),
        jnp.einsum("bji,bjk->bik", axes, last.inverse_root) / scale[:, :, None],
        last.log_determinant + jnp.sum(jnp.log(scale), axis=-1),
    )

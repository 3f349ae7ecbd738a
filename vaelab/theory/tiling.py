"""Tiles: parts of the latent space that belong to the same data, and their masses."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.theory.fixed_points import log_ratio, squared_distance, uniform
from vaelab.types import Array


class Tiles(NamedTuple):
    """Cells that share a reconstruction. The index of a tile is the index of its first cell."""

    label: Array  # [A] int32, the tile of each cell
    prior: Array  # [A], mass of the prior in tile k; 0 if k is not the first cell of a tile
    posterior: Array  # [A], mass of the aggregated posterior q(z) = 1/n Σ_i q(z|x_i) in tile k


@jax.jit
def tiles(
    x: Array,
    g: Array,
    beta: float | Array,
    log_prior: Array | None = None,
    *,
    tolerance: float | Array = 1e-2,
) -> Tiles:
    """The tiles of merged cells, and their masses under the prior and the aggregated posterior.

    Two cells belong to one tile if a chain of steps of at most `tolerance` joins their
    reconstructions. Arguments of `fixed_points.log_ratio`.

    >>> found = tiles(jnp.array([[0.0], [1.0]]), jnp.array([[0.0], [0.0], [1.0]]), 0.01)
    >>> jax.device_get(jnp.stack(found)).round(2)
    array([[0.  , 0.  , 2.  ],
           [0.67, 0.  , 0.33],
           [0.5 , 0.  , 0.5 ]], dtype=float32)
    """
    near = squared_distance(g, g) <= tolerance**2
    cells = jnp.arange(len(g))

    def spread(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        label, _ = carry
        smallest = jnp.min(jnp.where(near, label, len(g)), axis=1)
        return smallest, jnp.any(smallest != label)

    label, _ = jax.lax.while_loop(lambda carry: carry[1], spread, (cells, jnp.array(True)))
    log_prior = uniform(len(g)) if log_prior is None else log_prior
    prior = jnp.exp(log_prior)
    posterior = prior * tile_ratios(x, g, beta, log_prior)

    def sums(mass: Array) -> Array:
        return jax.ops.segment_sum(mass, label, num_segments=len(g))

    return Tiles(label, sums(prior), sums(posterior))


@jax.jit
def tile_ratios(x: Array, g: Array, beta: float | Array, log_prior: Array | None = None) -> Array:
    """q(a)/π_a = 1/n Σ_i m_ia. Equipartition means 1 for all cells with π_a > 0. [A].

    It is 1 if the ELBO is also stationary in π. A fixed point under a given prior need not have
    equipartition. Proposition 3.3.

    >>> x, g = jnp.array([[0.0], [1.0]]), jnp.array([[0.0], [0.0], [1.0]])
    >>> jax.device_get(tile_ratios(x, g, 0.01)).round(3)
    array([0.75, 0.75, 1.5 ], dtype=float32)
    """
    log_m = log_ratio(x, g, beta, log_prior)
    return jnp.exp(logsumexp(log_m, axis=0) - jnp.log(len(x)))


@jax.jit
def tile_kl(x: Array, g: Array, beta: float | Array, log_prior: Array | None = None) -> Array:
    """KL(q(z) ‖ π), the distance from equipartition, nats. [].

    >>> x, g = jnp.array([[0.0], [1.0]]), jnp.array([[0.0], [0.0], [1.0]])
    >>> jax.device_get(tile_kl(x, g, 0.01)).round(3)  # log 3/4 / 2 + log 3/2 / 2
    np.float32(0.059)
    """
    log_prior = uniform(len(g)) if log_prior is None else log_prior
    ratio = tile_ratios(x, g, beta, log_prior)
    return jnp.sum(jnp.exp(log_prior) * jax.scipy.special.xlogy(ratio, ratio))


@jax.jit
def optimal_log_prior(
    x: Array, g: Array, beta: float | Array, log_prior: Array, num_steps: int | Array = 1000
) -> Array:
    """The masses of the cells that maximise the ELBO for these reconstructions, log π [A].

    Steps of Blahut and Arimoto, `π_a ← π_a · 1/n Σ_i m_ia`, from `log_prior`. The ELBO is concave in
    π, and no step decreases it. At the maximum q(a) = π_a if π_a > 0, and Σ_i m_ia ≤ n otherwise.
    Blahut, 1972, theorem 5; proposition 3.3.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> jax.device_get(jnp.exp(optimal_log_prior(x, x, 0.01, jnp.log(jnp.array([0.9, 0.1]))))).round(3)
    array([0.5, 0.5], dtype=float32)
    """

    def step(_, log_prior: Array) -> Array:
        log_m = log_ratio(x, g, beta, log_prior)
        return log_prior + logsumexp(log_m, axis=0) - jnp.log(len(x))

    return jax.lax.fori_loop(0, num_steps, step, log_prior)


class BlurredReconstructions(NamedTuple):
    """The best decoder for posteriors that are the prior restricted to supports."""

    g: Array  # [A, D]; NaN in holes: the ELBO does not depend on them
    weights: Array  # [n, A], of the data in g; their sum over data is 1, and 0 in holes
    holes: Array  # [A] bool, cells in no support


@jax.jit
def blurred_reconstructions(
    x: Array, supports: Array, prior: Array | None = None
) -> BlurredReconstructions:
    """`g_a = Σ_i x_i 1[a ∈ Ω_i]/π(Ω_i) / Σ_i 1[a ∈ Ω_i]/π(Ω_i)`, the mean of the data in cell a.

    The weight of a datum is the inverse prior mass of its support. Equation 17.

    Args:
      x: [n, D], the data.
      supports: [n, A] bool, Ω_i, the cells in which q(z|x_i) = π(z)/π(Ω_i). None is empty.
      prior: [A], masses of the cells. Uniform by default.

    >>> supports = jnp.array([[True, True, False, False], [False, True, False, False]])
    >>> blurred = blurred_reconstructions(jnp.array([[0.0], [1.0]]), supports)
    >>> jax.device_get(blurred.g[:, 0]).round(2)  # the second overlaps: 2/3 of the datum of smaller support
    array([0.  , 0.67,  nan,  nan], dtype=float32)
    """
    chex.assert_rank([x, supports], 2)
    num_cells = supports.shape[1]
    prior = jnp.full(num_cells, 1 / num_cells) if prior is None else prior
    density = supports / (supports @ prior)[:, None]
    total = jnp.sum(density, axis=0)
    holes = total == 0
    weights = density / jnp.where(holes, 1.0, total)
    g = jnp.matmul(weights.T, x, precision=jax.lax.Precision.HIGHEST)
    return BlurredReconstructions(jnp.where(holes[:, None], jnp.nan, g), weights, holes)

"""Fixed points of a β-VAE with an arbitrary encoder and decoder, on cells of the latent space.

Cell a has the prior mass π_a and the reconstruction g_a. The posterior is q(a|x_i) = π_a m_ia. The
likelihood is N(g, σ²I) with σ² = β/2: β is the weight of the KL if the squared error has weight one. Rezende & Viola, 2018, sections 3.1 and 3.2, appendices A and C.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.theory import lipschitz
from vaelab.types import Array, PRNGKey


def grid(side: int) -> Array:
    """Centres of the side × side equal cells of [−1, 1]², along the second axis first. [side², 2].

    >>> grid(2).tolist()
    [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    """
    ticks = (2 * jnp.arange(side) + 1) / side - 1
    return jnp.stack(jnp.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)


def initial_reconstructions(key: PRNGKey, side: int, *, noise: float = 0.01) -> Array:
    """The centres of the cells as points in the plane of the data, with uniform noise in ±noise. [side², 2]."""
    centres = grid(side)
    return centres + jax.random.uniform(key, centres.shape, minval=-noise, maxval=noise)


def log_ratio(x: Array, g: Array, beta: float | Array, log_prior: Array | None = None) -> Array:
    """log m_ia = log q(a|x_i) − log π_a of the best encoder for these reconstructions. [n, A].

    `m_ia = exp(−‖x_i − g_a‖²/β) / Σ_b π_b exp(−‖x_i − g_b‖²/β)`, so Σ_a π_a m_ia = 1. It is
    computed in log space, and does not underflow for any β.

    Args:
      x: [n, D], the data.
      g: [A, D], reconstructions.
      beta: [] > 0, in squared units of x.
      log_prior: [A], log π. Uniform by default.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> jax.device_get(jnp.exp(log_ratio(x, x, 0.01))).round(3)
    array([[2., 0.],
           [0., 2.]], dtype=float32)
    """
    chex.assert_rank([x, g], 2)
    chex.assert_equal_shape_suffix([x, g], 1)
    exponent = -squared_distance(x, g) / beta
    log_prior = uniform(len(g)) if log_prior is None else log_prior
    return exponent - logsumexp(exponent + log_prior, axis=1, keepdims=True)


def uniform(num_cells: int) -> Array:
    """log π_a = −log A. [A]."""
    return jnp.full(num_cells, -jnp.log(num_cells))


def targets(log_m: Array, x: Array) -> Array:
    """T_a = Σ_i m_ia x_i / Σ_j m_ja, the best decoder for that encoder. [n, A], [n, D] -> [A, D].

    Each T_a is a convex combination of data. Numerator and denominator are divided by the largest m of
    the column. So a hole, a cell whose mass N_a = Σ_i m_ia underflows, has its exact limit. As β → 0
    the limit is the datum i with the smallest excess `‖x_i − g_a‖² − min_b ‖x_i − g_b‖²`. If every datum
    is the reconstruction of a cell, it is the nearest datum.

    >>> jax.device_get(targets(jnp.log(jnp.array([[1.0], [3.0]])), jnp.array([[0.0], [1.0]]))).round(3)
    array([[0.75]], dtype=float32)
    """
    weights = jax.nn.softmax(log_m, axis=0)
    return jnp.matmul(weights.T, x, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def transition(
    x: Array,
    g: Array,
    beta: float | Array,
    log_prior: Array | None = None,
    penalty: Array | None = None,
) -> Array:
    """T(g), one full step of the fixed-point equations: the best encoder, then the best decoder. [A, D].

    With a `penalty` Λ [A, A] the step of the decoder has Lipschitz constraints, see
    `lipschitz.projection`. Without a penalty the step is the pre-image iteration of kernel PCA with the
    normalised Gaussian kernel m. Equation 20, and equation 25 with a penalty. Arguments of `log_ratio`.

    >>> jax.device_get(transition(jnp.array([[0.0], [1.0]]), jnp.array([[0.2], [0.9]]), 0.01)).round(3)
    array([[0.],
           [1.]], dtype=float32)
    """
    log_m = log_ratio(x, g, beta, log_prior)
    unconstrained = targets(log_m, x)
    if penalty is None:
        return unconstrained
    return lipschitz.projection(unconstrained, jnp.sum(jnp.exp(log_m), axis=0), penalty)


@jax.jit
def fixed_point_objective(
    x: Array,
    g: Array,
    beta: float | Array,
    log_prior: Array | None = None,
    penalty: Array | None = None,
) -> Array:
    """The ELBO per datum at the best encoder, `1/n Σ_i log Σ_a π_a exp(−‖x_i − g_a‖²/β)`, nats. [].

    The constant of the Gaussian, −D/2 log(πβ), is left out. A penalty subtracts
    `Σ_ab Λ_ab ‖g_a − g_b‖²/(A n β)`. In this scale `transition` is the M-step under a uniform prior.

    No step `g + s (T(g) − g)` with 0 ≤ s ≤ 2 decreases the objective. For a fixed encoder it is a
    concave quadratic of g with its maximum at T(g), and the best encoder at the new g increases it.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> jax.device_get(fixed_point_objective(x, x, 0.01)).round(3)  # −log 2: two tiles
    np.float32(-0.693)
    """
    log_prior = uniform(len(g)) if log_prior is None else log_prior
    bound = jnp.mean(logsumexp(log_prior - squared_distance(x, g) / beta, axis=1))
    if penalty is None:
        return bound
    return bound - lipschitz.roughness(g, penalty) / (len(g) * len(x) * beta)


@jax.jit
def reconstruction_error(
    x: Array, g: Array, beta: float | Array, log_prior: Array | None = None
) -> Array:
    """`1/n Σ_i E_q(a|x_i) ‖x_i − g_a‖²` at the best encoder, in squared units of x. [].

    >>> reconstruction_error(jnp.array([[0.0], [2.0]]), jnp.array([[1.0]]), 0.1)
    Array(1., dtype=float32)
    """
    log_q = log_ratio(x, g, beta, log_prior)
    log_q += uniform(len(g)) if log_prior is None else log_prior
    return jnp.mean(jnp.sum(jnp.exp(log_q) * squared_distance(x, g), axis=1))


@dataclasses.dataclass(frozen=True)
class Rule:
    """The step and the stopping rule: `g ← (1 − s) g + s T(g)` until ‖g_new − g‖ < tolerance.

    The default is the rule of appendix A. The text does not give s: 0.1 is our choice. The rule stops
    when steps are short. Near a critical β this is not a stationary point. `Rule(1.0, 1e-10, 100_000)`
    iterates to convergence in float64.

    Raises:
      UsageError: smoothing is not in (0, 2), the range in which the objective increases; tolerance is
        negative; or max_steps is not positive.
    """

    smoothing: float = 0.1
    tolerance: float = 1e-3
    max_steps: int = 400

    def __post_init__(self) -> None:
        if not 0 < self.smoothing < 2:
            raise UsageError(f"smoothing must lie in (0, 2), got {self.smoothing}.")
        if self.tolerance < 0:
            raise UsageError(f"tolerance must not be negative, got {self.tolerance}.")
        check_at_least_one(max_steps=self.max_steps)


class FixedPoint(NamedTuple):
    """The end of an iteration."""

    g: Array  # [A, D], reconstructions
    num_steps: Array  # [] int32
    distance: Array  # [], ‖g_new − g‖ of the last step, over all cells
    path: Array | None = None  # [max_steps + 1, A, D], from the start; the last g is repeated


@partial(jax.jit, static_argnames=("rule", "keep_path"))
def iterate(
    x: Array,
    g: Array,
    beta: float | Array,
    log_prior: Array | None = None,
    penalty: Array | None = None,
    *,
    rule: Rule = Rule(),
    keep_path: bool = False,
) -> FixedPoint:
    """Smoothed steps of `transition` from g until the rule stops them, in one compiled program.

    Arguments of `transition`. Cells with equal reconstructions merge to tiles of the latent space.

    >>> end = iterate(jnp.array([[0.0], [1.0]]), jnp.array([[0.2], [0.9]]), 0.01)
    >>> jax.device_get(end.g).round(1), bool(end.distance < 1e-3)
    (array([[0.],
           [1.]], dtype=float32), True)
    """

    class Carry(NamedTuple):
        g: Array
        step: Array
        distance: Array
        path: Array | None

    def must_continue(carry: Carry) -> Array:
        return (carry.step < rule.max_steps) & (carry.distance >= rule.tolerance)

    def step(carry: Carry) -> Carry:
        move = rule.smoothing * (transition(x, carry.g, beta, log_prior, penalty) - carry.g)
        new, count = carry.g + move, carry.step + 1
        path = None if carry.path is None else carry.path.at[count].set(new)
        return Carry(new, count, jnp.sqrt(jnp.sum(move**2)), path)

    path = jnp.zeros((rule.max_steps + 1, *g.shape), g.dtype).at[0].set(g) if keep_path else None
    start = Carry(g, jnp.array(0), jnp.array(jnp.inf, g.dtype), path)
    end = jax.lax.while_loop(must_continue, step, start)
    path = end.path
    if path is not None:
        reached = jnp.arange(rule.max_steps + 1) <= end.step
        path = jnp.where(reached[:, None, None], path, end.g)
    return FixedPoint(end.g, end.step, end.distance, path)


def squared_distance(x: Array, g: Array) -> Array:
    """‖x_i − g_a‖², [n, A], from differences: x² − 2xg + g² would cancel."""
    return jnp.sum((x[:, None] - g) ** 2, axis=-1)

"""Lipschitz constraints on the reconstructions of cells, as a projection after each step."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaelab.types import Array


@jax.jit
def projection(targets: Array, masses: Array, penalty: Array) -> Array:
    """The G that minimises Σ_a N_a ‖G_a − T_a‖² + Σ_ab Λ_ab ‖G_a − G_b‖², over ordered pairs.

    With T = N⁻¹ MᵀX and N_a = Σ_i m_ia it solves (N + 2 Lap(Λ)) G = MᵀX, the step of the Lagrangian.
    Each row is divided by N_a + 2 Σ_b Λ_ab first:
    `G_a = f_a T_a + (1 − f_a) Σ_b Λ_ab G_b / Σ_b Λ_ab` with `f_a = N_a / (N_a + 2 Σ_b Λ_ab)`, a mean of
    the target of the cell and of its neighbours. So a hole (N_a = 0) is the mean of its neighbours, and
    a cell without neighbours keeps its target, whatever its mass: Λ = 0 returns T.

    A path of positive Λ must connect every hole to a cell with mass. Otherwise the hole is
    undetermined. float32 resolves Λ up to about 10⁵ N.

    Rezende & Viola, 2018, appendix B and equation 25.

    Args:
      targets: T [A, D], reconstructions without the constraint.
      masses: N [A] ≥ 0.
      penalty: Λ [A, A], symmetric, ≥ 0. The diagonal is ignored.

    >>> penalty = jnp.array([[0.0, 0.5], [0.5, 0.0]])
    >>> jax.device_get(projection(jnp.array([[0.0], [1.0]]), jnp.ones(2), penalty)).round(3)
    array([[0.333],
           [0.667]], dtype=float32)
    """
    chex.assert_rank([targets, masses, penalty], [2, 1, 2])
    chex.assert_equal_shape_prefix([targets, masses, penalty], 1)
    penalty = penalty - jnp.diag(jnp.diag(penalty))
    degree = jnp.sum(penalty, axis=1)
    joined = degree > 0
    own = jnp.where(joined, masses / jnp.where(joined, masses + 2 * degree, 1.0), 1.0)
    neighbours = penalty / jnp.where(joined, degree, 1.0)[:, None]
    matrix = jnp.eye(len(targets)) - (1 - own)[:, None] * neighbours
    return jnp.linalg.solve(matrix, own[:, None] * targets)


def local_penalty(centres: Array, radius: float, strength: float | Array) -> Array:
    """Λ_ab = strength if the distance of cells a and b is at most the radius, else 0. [A, L] -> [A, A].

    >>> local_penalty(jnp.array([[0.0], [1.0], [2.0]]), radius=1.0, strength=5.0).tolist()
    [[0.0, 5.0, 0.0], [5.0, 0.0, 5.0], [0.0, 5.0, 0.0]]
    """
    distance = jnp.sqrt(jnp.sum((centres[:, None] - centres) ** 2, axis=-1))
    # The distances of cells of a grid equal the radius up to rounding.
    near = (distance <= radius * (1 + 1e-5)) & ~jnp.eye(len(centres), dtype=bool)
    return strength * near


def global_penalty(num_cells: int, strength: float | Array) -> Array:
    """Λ_ab = strength for every pair of cells. [A, A].

    >>> global_penalty(2, 3.0)
    Array([[0., 3.],
           [3., 0.]], dtype=float32)
    """
    return strength * (1 - jnp.eye(num_cells))


@jax.jit
def roughness(g: Array, penalty: Array) -> Array:
    """The penalty Σ_ab Λ_ab ‖g_a − g_b‖², over ordered pairs. g [A, D] -> [].

    >>> roughness(jnp.array([[0.0], [2.0]]), global_penalty(2, 3.0))
    Array(24., dtype=float32)
    """
    # Σ_ab Λ_ab ‖g_a − g_b‖² = 2 Σ_a (Σ_b Λ_ab) ‖g_a‖² − 2 Σ_ab Λ_ab g_aᵀg_b would cancel.
    return jnp.sum(penalty * jnp.sum((g[:, None] - g) ** 2, axis=-1))

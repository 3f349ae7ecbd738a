"""Gradient ascent on a density, one position for each example."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vaelab.types import Array

_LONGEST = 3.0  # step, in standard deviations


def ascend(
    log_density: Callable[[Array], Array], start: Array, scale: Array, *, num_steps: int
) -> Array:
    """A position with a higher density than the start, [B, D]; no example ever descends.

    Steps are scale² times the gradient. An example's step size rises after a step that was taken,
    and falls after a step that was refused.

    Args:
      log_density: [B, D] -> [B], each example by itself.
      start: [B, D].
      scale: [B, D], standard deviations to precondition with.
    """

    def evaluate(position: Array) -> tuple[Array, Array]:
        value, pullback = jax.vjp(log_density, position)
        (gradient,) = pullback(jnp.ones_like(value))
        return value, gradient

    def step(_, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        position, value, gradient, size = carry
        move = clip_step(size[:, None] * scale * gradient)
        moved = position + scale * move
        new_value, new_gradient = evaluate(moved)
        taken = new_value > value  # False for NaN
        each = taken[:, None]
        return (
            jnp.where(each, moved, position),
            jnp.where(taken, new_value, value),
            jnp.where(each, new_gradient, gradient),
            size * jnp.where(taken, 1.5, 0.3),
        )

    carry = (start, *evaluate(start), jnp.ones(len(start)))
    return jax.lax.fori_loop(0, num_steps, step, carry)[0]


def clip_step(move: Array) -> Array:
    """Moves of at most 3 standard deviations, in units of these. [B, D] -> [B, D]."""
    length = jnp.linalg.norm(move, axis=-1, keepdims=True)
    return move * jnp.minimum(1.0, _LONGEST / jnp.maximum(length, _LONGEST))

"""REWO: the multiplier of a constraint in nats moves to 1 once the constraint is met."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_positive
from vaelab.saddle.steps import (
    StepCount,
    StepSize,
    check_range,
    check_step_size,
    count_steps,
    multiply,
    step_size_at,
)
from vaelab.types import Array


def rewo(
    step_size: StepSize = 1.0,
    *,
    steepness: float | Array = 3.0,
    step_range: tuple[float, float] = (0.9, 1.05),
    multiplier_range: tuple[float, float] = (1e-6, 1e8),
) -> optax.GradientTransformationExtraArgs:
    """REWO: λ ← λ · exp(−ν f(1/λ, δ) δ), δ = C̄/scale. Klushyn et al., 2019, section 3.2.

    With β = 1/λ, H the step function and τ = `steepness`,

      f(β, δ) = (1 − H(δ)) · tanh(τ (β − 1)) − H(δ):

    λ rises while the constraint is violated. Once it is met, λ moves to 1 from either side. With one
    constraint on the NLL, λ = 1 makes the Lagrangian the negative ELBO plus a constant. (With a constraint on
    the squared error, λ = 1 would mean σ² = ½.) λ converges to max(1, λ_KKT). Start with β ≪ 1, that is
    λ ≫ 1, and use a constraint in nats. λ is held until all constraints were met once on average
    (`feasible_once`).

    >>> tx = rewo(1.0)
    >>> state, multiplier = tx.init(None), jnp.array(1000.0)
    >>> tx.update(jnp.array(-0.05), state, multiplier, feasible_once=True)[0]
    Array(-48.53..., dtype=float32...)
    >>> tx.update(jnp.array(-0.05), state, multiplier, feasible_once=False)[0]
    Array(0., dtype=float32...)
    """
    check_step_size(step_size)
    check_range(step_range=step_range, multiplier_range=multiplier_range)
    check_positive(steepness=steepness)

    def update(average, state, multipliers, *, feasible_once, **extra_args):
        del extra_args
        nu = step_size_at(step_size, state.step)

        def step(delta, multiplier):
            f = jnp.where(delta > 0, -1.0, jnp.tanh(steepness * (1 / multiplier - 1)))
            change = multiply(multiplier, -nu * f * delta, step_range, multiplier_range)
            return jnp.where(feasible_once, change, 0.0)

        updates = jax.tree.map(step, average, multipliers)
        return updates, StepCount(optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(count_steps, update)

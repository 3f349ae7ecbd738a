"""GECO: each step multiplies the multiplier of a constraint by exp(ν C̄)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

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


def geco(
    step_size: StepSize = 0.1,
    *,
    step_range: tuple[float, float] = (0.995, 1.005),
    multiplier_range: tuple[float, float] = (1e-6, 1e8),
    anti_windup: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """GECO: λ ← λ · exp(ν C̄/scale). Rezende & Viola, 2018, algorithm 1.

    λ rises while the constraint is violated and falls while it is slack, towards λ_KKT.

    The first error can be huge. It stays in the average long after the batches meet the constraint, and λ
    would explode. So by default `step_range` bounds the change of λ in one step, and `anti_windup` holds
    λ while the average is stale: its sign differs from the sign of the batch, and its size is larger.
    Under noise the batch is the larger of the two: a rule that held λ at every difference of signs would
    halve the steps, and miss the constraint if the noise is skewed. While the constraint is violated, λ
    may grow by a factor of 1.005 in each step. `step_range=(0, inf), anti_windup=False` is the published rule.

    Args:
      step_size: ν > 0, or a schedule of it.
      step_range: lowest and highest factor of λ in one step.
      multiplier_range: lowest and highest λ.
      anti_windup: True holds λ while the average is stale.

    Raises:
      UsageError: ν is a number and not positive, or a range is not (low, high) with 0 <= low < high.

    >>> tx = geco(1.0, step_range=(0, float("inf")), anti_windup=False)
    >>> state = tx.init(jnp.array(3.0))
    >>> tx.update(jnp.log(2.0), state, jnp.array(3.0), constraint=1.0)[0]
    Array(3., dtype=float32...)
    """
    check_step_size(step_size)
    check_range(step_range=step_range, multiplier_range=multiplier_range)

    def update(average, state, multipliers, *, constraint, **extra_args):
        del extra_args
        nu = step_size_at(step_size, state.step)

        def step(average, batch, multiplier):
            exponent = bounded_exponent(nu, average, batch, step_range, anti_windup=anti_windup)
            return multiply(multiplier, exponent, step_range, multiplier_range)

        updates = jax.tree.map(step, average, constraint, multipliers)
        return updates, StepCount(optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(count_steps, update)


def bounded_exponent(
    step_size: float | Array,
    average: Array,
    batch: Array,
    step_range: tuple[float, float],
    *,
    anti_windup: bool,
) -> Array:
    """GECO's change of log λ: ν C̄/scale inside `step_range`, and 0 while the average is stale.

    >>> bounded_exponent(1.0, jnp.array(0.5), jnp.array(-0.1), (0.0, 2.0), anti_windup=True)
    Array(0., dtype=float32...)
    """
    exponent = step_size * average
    if anti_windup:
        stale = (average * batch < 0) & (jnp.abs(average) > jnp.abs(batch))
        exponent = jnp.where(stale, 0.0, exponent)
    return jnp.clip(exponent, *log_range(step_range))


def log_range(step_range: tuple[float, float]) -> tuple[float, ...]:
    """The logarithms of a range of factors; that of 0 is −∞.

    >>> log_range((0, 1.0))
    (-inf, 0.0)
    """
    return tuple(math.log(factor) if factor else -math.inf for factor in step_range)

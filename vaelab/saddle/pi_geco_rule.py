"""PI-GECO: GECO with a proportional part, which prevents the overshoot of λ early in training."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_not_negative
from vaelab.saddle.geco_rule import bounded_exponent, log_range
from vaelab.saddle.steps import StepSize, check_range, check_step_size, multiply, step_size_at
from vaelab.types import Array, PyTree


class PiGecoState(NamedTuple):
    """State of `pi_geco`."""

    step: Array  # [], number of updates made
    previous: PyTree  # C̄/scale of the step before, clipped to [−1, 1]
    owed: PyTree  # change of log λ that `step_range` has postponed, in [−0.1, 0.1]


def pi_geco(
    step_size: StepSize = 0.03,
    *,
    proportional: float | Array = 4.0,
    step_range: tuple[float, float] = (0.995, 1.005),
    multiplier_range: tuple[float, float] = (1e-6, 1e8),
    anti_windup: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """PI-GECO: λ ← λ · exp(ν C̄_t/scale + K (c_t − c_{t−1})), c = C̄/scale clipped to [−1, 1], c_{−1} = 1.

    If λ grows before the model can reconstruct, it must decay again later. The proportional term
    prevents this overshoot: while C̄ falls, it lowers λ again. With K = 0 this is `geco`, which describes the
    other arguments.

    The part of a step that `step_range` cuts off is added to the next steps, up to a tenth of λ. Without
    this, skewed noise would not cancel and the constraint would be missed. Use scales that make C̄/scale
    relative to the constraint's threshold. The controller of Sohrabi et al., 2024, eq. 7, on log λ.

    Args:
      step_size: ν > 0, the integral gain, or a schedule of it.
      proportional: K >= 0, the proportional gain. A few units are usual.
      step_range: lowest and highest factor of λ in one step.
      multiplier_range: lowest and highest λ.
      anti_windup: True sets the integral term to 0 while the average is stale.

    Raises:
      UsageError: ν is not positive, K is negative, or a range is not (low, high) with 0 <= low < high.

    >>> tx = pi_geco(1.0, proportional=2.0, step_range=(0, float("inf")))
    >>> state = tx.init(jnp.array(1.0))
    >>> update, state = tx.update(jnp.array(0.25), state, jnp.array(1.0), constraint=0.25)
    >>> bool(jnp.isclose(1.0 + update, jnp.exp(0.25 + 2.0 * (0.25 - 1.0))))
    True
    """
    check_step_size(step_size)
    check_not_negative(proportional=proportional)
    check_range(step_range=step_range, multiplier_range=multiplier_range)
    limits = log_range(step_range)

    def init(multipliers):
        ones, zeros = (jax.tree.map(f, multipliers) for f in (jnp.ones_like, jnp.zeros_like))
        return PiGecoState(jnp.zeros([], jnp.int32), previous=ones, owed=zeros)

    def update(average, state, multipliers, *, constraint, **extra_args):
        del extra_args
        nu = step_size_at(step_size, state.step)
        now = jax.tree.map(lambda c: jnp.clip(c, -1.0, 1.0), average)

        def exponent(average, batch, c, previous, owed):
            integral = bounded_exponent(nu, average, batch, step_range, anti_windup=anti_windup)
            return integral + proportional * (c - previous) + owed

        exponents = jax.tree.map(exponent, average, constraint, now, state.previous, state.owed)
        excess = jax.tree.map(lambda e: e - jnp.clip(e, *limits), exponents)
        owed = jax.tree.map(lambda e: jnp.clip(e, -0.1, 0.1), excess)
        updates = jax.tree.map(
            lambda multiplier, e: multiply(multiplier, e, step_range, multiplier_range),
            multipliers,
            exponents,
        )
        return updates, PiGecoState(optax.safe_increment(state.step), now, owed)

    return optax.GradientTransformationExtraArgs(init, update)

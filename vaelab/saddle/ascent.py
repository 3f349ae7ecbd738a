"""Duals that ascend by additive steps: projected gradient ascent and the ν-PI controller."""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import UsageError
from vaelab.saddle.steps import (
    StepCount,
    StepSize,
    check_range,
    check_step_size,
    count_steps,
    step_size_at,
)
from vaelab.types import Array, PyTree


def projected(
    step_size: StepSize, *, multiplier_range: tuple[float, float] = (0.0, 1e8)
) -> optax.GradientTransformationExtraArgs:
    """Projected gradient ascent: λ ← [λ + η C̄/scale]₊. Arrow, Hurwicz & Uzawa, 1958.

    >>> tx = projected(0.5)
    >>> tx.update(jnp.array(-4.0), tx.init(None), jnp.array(1.0))[0]
    Array(-1., dtype=float32...)
    """
    check_step_size(step_size)
    check_range(multiplier_range=multiplier_range)

    def update(average, state, multipliers, **extra_args):
        del extra_args
        eta = step_size_at(step_size, state.step)
        updates = jax.tree.map(
            lambda c, multiplier: jnp.clip(multiplier + eta * c, *multiplier_range) - multiplier,
            average,
            multipliers,
        )
        return updates, StepCount(optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(count_steps, update)


class NuPiState(NamedTuple):
    """State of `nu_pi`."""

    step: Array  # [], number of updates made
    xi: PyTree  # exponential moving average ξ of the error


def nu_pi(
    step_size: StepSize,
    *,
    nu: float | Array = 0.0,
    proportional: float | Array = 1.0,
    integral: float | Array = 1.0,
    multiplier_range: tuple[float, float] = (0.0, 1e8),
) -> optax.GradientTransformationExtraArgs:
    """ν-PI controller: λ ← [λ + η (K_i e_t + K_p (ξ_t − ξ_{t−1}))]₊. Sohrabi et al., 2024, eq. 7.

    e is *this batch's* constraint / scale, ξ_t = ν ξ_{t−1} + (1 − ν) e_t and ξ_{−1} = e_0, so that the first
    step is plain ascent. K_p = K_i = 1 with ν = 0 is the optimistic gradient method.

    >>> tx = nu_pi(0.5)
    >>> updates, state = tx.update(None, tx.init(jnp.array(1.0)), jnp.array(1.0), constraint=2.0)
    >>> updates
    Array(1., dtype=float32...)
    >>> tx.update(None, state, jnp.array(2.0), constraint=1.0)[0]
    Array(0., dtype=float32...)
    """
    check_step_size(step_size)
    check_range(multiplier_range=multiplier_range)
    if isinstance(nu, Real) and not -1 < nu < 1:
        raise UsageError(f"nu must lie in (-1, 1), got {nu}.")
    for name, gain in (("proportional", proportional), ("integral", integral)):
        if isinstance(gain, Real) and not math.isfinite(gain):
            raise UsageError(f"{name} must be finite, got {gain}.")

    def init(multipliers):
        return NuPiState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, multipliers))

    def update(average, state, multipliers, *, constraint, **extra_args):
        del average, extra_args
        previous = jax.tree.map(
            lambda xi, e: jnp.where(state.step == 0, e, xi), state.xi, constraint
        )
        xi = jax.tree.map(lambda old, e: nu * old + (1 - nu) * e, previous, constraint)
        eta = step_size_at(step_size, state.step)

        def step(e, xi, previous, multiplier):
            direction = integral * e + proportional * (xi - previous)
            return jnp.clip(multiplier + eta * direction, *multiplier_range) - multiplier

        updates = jax.tree.map(step, constraint, xi, previous, multipliers)
        return updates, NuPiState(optax.safe_increment(state.step), xi)

    return optax.GradientTransformationExtraArgs(init, update)

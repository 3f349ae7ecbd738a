"""Wrappers that rescale, hold or pace a transformation inside `saddle_point`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_at_least_one, check_not_negative


def rescale_by_multipliers() -> optax.GradientTransformationExtraArgs:
    """Divides gradients by max(1, λ), the largest λ of several: β in front of the rate again.

    The Lagrangian multiplies the model's gradients by λ. Adam's second moment remembers a λ of 1000
    for thousands of steps after λ has come down, and makes tiny steps meanwhile. Gradient clipping and
    plain descent would see λ at once. Chain it before clipping and the model's optimiser, inside the primal of
    `saddle_point`. A prior's gradient comes from the rate alone and has no λ in it: leave it out. The
    loss, and with it the multipliers' gradient, stays as it is.

    >>> tx = rescale_by_multipliers()
    >>> multipliers = {"nll": jnp.array(4.0)}
    >>> tx.update(jnp.array(2.0), tx.init(None), multipliers=multipliers)[0]
    Array(0.5, dtype=float32...)
    """

    def update(gradients, state, params=None, *, multipliers, **extra_args):
        del params, extra_args
        largest = jnp.max(jnp.array([1.0, *jax.tree.leaves(multipliers)]))
        return jax.tree.map(lambda gradient: gradient / largest, gradients), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def freeze_until_feasible(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Holds a group of parameters, its optimiser state included, until all constraints were met once.

    REWO's initial phase: wrap the prior's transformation in it, inside the primal of `saddle_point`.

    >>> tx = freeze_until_feasible(optax.sgd(1.0))
    >>> tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)), feasible_once=jnp.array(False))[0]
    Array(0., dtype=float32...)
    """
    return optax.conditionally_mask(
        inner, lambda step, *, feasible_once, **_: feasible_once, forward_extra_args=True
    )


def update_every(
    inner: optax.GradientTransformation, period: int
) -> optax.GradientTransformationExtraArgs:
    """Updates on every `period`-th step and holds parameters and state between.

    Around the prior's transformation it is the double loop of Klushyn et al., 2019: `period` inner steps on
    θ, φ and λ for each outer step on the prior. Around a dual it is λ's update period.

    >>> tx = update_every(optax.sgd(1.0), 2)
    >>> first, state = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
    >>> second, state = tx.update(jnp.array(2.0), state)
    >>> float(first), float(second)
    (0.0, -2.0)
    """
    check_at_least_one(period=period)
    return optax.conditionally_mask(inner, lambda step: step % period == period - 1)


def hold_for(
    inner: optax.GradientTransformation, num_steps: int
) -> optax.GradientTransformationExtraArgs:
    """Holds for the first `num_steps` steps, for example λ while the first errors are huge.

    >>> tx = hold_for(optax.sgd(1.0), 1)
    >>> tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))[0]
    Array(0., dtype=float32...)
    """
    check_not_negative(num_steps=num_steps)
    return optax.conditionally_mask(inner, lambda step: step >= num_steps)

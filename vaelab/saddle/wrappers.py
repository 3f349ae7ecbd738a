"""Wrappers that rescale, hold or pace a transformation inside `saddle_point`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_at_least_one, check_not_negative


def rescale_by_multipliers() -> optax.GradientTransformationExtraArgs:
    """Divides gradients by max(1, λ), where λ is the largest multiplier: the rate then has the factor β.

    The Lagrangian multiplies the model's gradients by λ. After λ has fallen from 1000, Adam's second moment
    stays large for thousands of steps, and steps are tiny. Clipping and plain descent depend on λ at once.
    Chain this before clipping and the model's optimiser, inside the primal of `saddle_point`. Do not apply
    it to a prior: its gradient comes from the rate and does not contain λ. The loss and the multipliers'
    gradient do not change.

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
    """Holds a group of parameters and its optimiser state until all constraints were met once.

    For REWO's initial phase, wrap the prior's transformation in it, inside the primal of `saddle_point`.

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

    Around the prior's transformation this is the double loop of Klushyn et al., 2019: `period` inner steps on
    θ, φ and λ for each outer step on the prior. Around a dual, `period` is the update period of λ.

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

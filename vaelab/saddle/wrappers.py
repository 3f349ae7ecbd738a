"""Wrappers that rescale, hold or pace a transformation inside `saddle_point`."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_at_least_one, check_not_negative, check_positive
from vaelab.types import Array


class SkipState(NamedTuple):
    """State of `skip_above`."""

    skipped: Array  # [], number of steps in a row that were skipped
    inner: optax.OptState


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


def skip_above(
    inner: optax.GradientTransformation, norm: float, *, limit: int = 10
) -> optax.GradientTransformationExtraArgs:
    """Skips a step whose gradient has a norm above `norm`, or is not finite: a zero update, and the state is held.

    Deep hierarchies now and then have a gradient that is larger by orders of magnitude, and would destroy Adam's
    moments. After `limit` skips in a row a finite gradient is clipped to `norm` and accepted, because
    otherwise training could stop moving. A gradient that is not finite is always skipped. Inside the primal of
    `saddle_point` the multipliers ascend also at skipped steps. Steps are
    skipped after Child, 2021.

    >>> tx = skip_above(optax.sgd(1.0), 5.0, limit=1)
    >>> first, state = tx.update(jnp.array(8.0), tx.init(jnp.array(0.0)))
    >>> second, state = tx.update(jnp.array(8.0), state)
    >>> float(first), float(second)
    (0.0, -5.0)
    """
    check_positive(norm=norm)
    check_at_least_one(limit=limit)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return SkipState(jnp.zeros([], jnp.int32), inner.init(params))

    def update(gradients, state, params=None, **extra_args):
        squares = [jnp.sum(jnp.square(gradient)) for gradient in jax.tree.leaves(gradients)]
        size = jnp.sqrt(sum(squares))
        accepted = (size <= norm) | (jnp.isfinite(size) & (state.skipped >= limit))

        def accept():
            factor = jnp.minimum(1.0, norm / size)
            clipped = jax.tree.map(lambda gradient: gradient * factor, gradients)
            updates, inner_state = inner.update(clipped, state.inner, params, **extra_args)
            return updates, SkipState(jnp.zeros_like(state.skipped), inner_state)

        def skip():
            updates = jax.tree.map(jnp.zeros_like, gradients)
            return updates, SkipState(optax.safe_increment(state.skipped), state.inner)

        return jax.lax.cond(accepted, accept, skip)

    return optax.GradientTransformationExtraArgs(init, update)


def skip_nonfinite(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Skips a step of which any gradient is NaN or infinite: a zero update, and the whole state is held.

    Around `saddle_point`: parameters, multipliers, moving averages and all counts stay as they are, also those of
    schedules. The state is that of `inner`, whose `step` then counts the steps that were made. The check reads
    every gradient before the first update, which takes about a tenth of a small model's step.

    >>> tx = skip_nonfinite(optax.with_extra_args_support(optax.trace(0.5)))
    >>> updates, state = tx.update(jnp.array(jnp.nan), tx.init(jnp.array(0.0)))
    >>> float(updates), float(state.trace)
    (0.0, 0.0)
    """

    def update(gradients, state, params=None, **extra_args):
        sums = [jnp.sum(gradient) for gradient in jax.tree.leaves(gradients)]
        return jax.lax.cond(
            jnp.isfinite(sum(sums)),
            lambda: inner.update(gradients, state, params, **extra_args),
            lambda: (jax.tree.map(jnp.zeros_like, gradients), state),
        )

    return optax.GradientTransformationExtraArgs(inner.init, update)

"""Constrained optimisation as one optax transformation.

The Lagrangian L(θ, λ) = E[rate] + Σ_j λ_j E[C_j] is linear in λ, so ∂L/∂λ_j is the constraint itself.
Put parameters and multipliers in one tree, `Saddle(params, multipliers)`, take one gradient, and
let `saddle_point` send the parameters' half to a *primal* transformation (which descends) and the
multipliers' half, averaged over steps and divided by each constraint's scale, to a *dual* one
(which ascends: `geco`, `rewo`, `projected`, `nu_pi`).

Duals are ordinary optax transformations of the multipliers. They receive as updates the averaged
constraint / scale, and as extra arguments `constraint`, this batch's constraint / scale, and
`feasible_once`, whether all constraints were ever met on average. Primals receive these two and
`multipliers`, for `freeze_until_feasible` and `rescale_by_multipliers`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_at_least_one, check_positive
from vaelab.types import Array, PyTree, Saddle


class SaddleState(NamedTuple):
    """State of `saddle_point`."""

    step: Array  # [], number of updates made
    average: PyTree  # moving average C̄ of each constraint, in the constraint's own units
    feasible_once: Array  # [] bool, the latch: all averages were ≤ 0 at some step
    primal: optax.OptState
    dual: optax.OptState


def saddle_point(
    primal: optax.GradientTransformation,
    dual: optax.GradientTransformation,
    *,
    decay: float | Array = 0.99,
    scales: float | dict[str, float] = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """Simultaneous descent on the parameters and ascent on the multipliers of a Lagrangian.

    The moving average is C̄_0 = Ĉ_0, C̄_t = α C̄_{t−1} + (1 − α) Ĉ_t, with Ĉ_t = ∂L/∂λ the batch's
    constraint and α = `decay`. The primal sees the gradient of the batch, the dual C̄_t / scale: the
    algorithm of Rezende & Viola, 2018 (algorithm 1), for any dual. Gradient clipping belongs inside
    `primal`; applied outside it would rescale the constraint.

    Args:
      primal: transforms the gradient of the parameters.
      dual: transforms the averaged constraints, `geco(...)`, `rewo(...)`, ...
      decay: α in [0, 1).
      scales: what the dual's constraint is divided by, for instance the number of data dimensions
        that it sums over: one number or, where the multipliers are a dict, a dict with their names.

    Returns:
      A transformation of `Saddle` trees with state `SaddleState`.

    >>> tx = saddle_point(optax.sgd(0.1), geco(0.1), scales=784)
    >>> variables = Saddle(params=jnp.array(1.0), multipliers={"nll": jnp.array(1.0)})
    >>> loss = lambda v: v.params**2 + v.multipliers["nll"] * (2.0 - v.params)
    >>> state = tx.init(variables)
    >>> updates, state = tx.update(jax.grad(loss)(variables), state, variables)
    >>> state.average
    {'nll': Array(1., dtype=float32...)}
    """
    _check_range("decay", decay, 0.0, 1.0)
    for scale in jax.tree.leaves(scales):
        check_positive(scales=scale)
    primal = optax.with_extra_args_support(primal)
    dual = optax.with_extra_args_support(dual)

    def init(variables: Saddle) -> SaddleState:
        if isinstance(scales, dict) and scales.keys() != variables.multipliers.keys():
            raise ValueError(
                f"scales {sorted(scales)} and multipliers {sorted(variables.multipliers)} must have "
                "the same names."
            )
        return SaddleState(
            step=jnp.zeros([], jnp.int32),
            average=jax.tree.map(jnp.zeros_like, variables.multipliers),
            feasible_once=jnp.array(False),
            primal=primal.init(variables.params),
            dual=dual.init(variables.multipliers),
        )

    def scaled(constraints: PyTree) -> PyTree:
        if not isinstance(scales, dict):
            return jax.tree.map(lambda c: c / scales, constraints)
        return jax.tree.map(lambda c, scale: c / scale, constraints, scales)

    def update(
        gradients: Saddle, state: SaddleState, variables: Saddle, **extra_args
    ) -> tuple[Saddle, SaddleState]:
        batch = gradients.multipliers
        average = jax.tree.map(
            lambda old, new: jnp.where(state.step == 0, new, decay * old + (1 - decay) * new),
            state.average,
            batch,
        )
        met = [jnp.all(c <= 0) for c in jax.tree.leaves(average)]
        feasible_once = state.feasible_once | jnp.all(jnp.array(met, bool))
        extra_args = dict(extra_args, constraint=scaled(batch), feasible_once=feasible_once)
        param_updates, primal_state = primal.update(
            gradients.params,
            state.primal,
            variables.params,
            multipliers=variables.multipliers,
            **extra_args,
        )
        multiplier_updates, dual_state = dual.update(
            scaled(average), state.dual, variables.multipliers, **extra_args
        )
        return Saddle(param_updates, multiplier_updates), SaddleState(
            optax.safe_increment(state.step), average, feasible_once, primal_state, dual_state
        )

    return optax.GradientTransformationExtraArgs(init, update)


class GecoState(NamedTuple):
    """State of `geco` with a proportional part."""

    previous: PyTree  # C̄/scale of the step before, clipped to [−1, 1]
    owed: PyTree  # change of log λ that `step_range` has put off, in [−0.1, 0.1]


def geco(
    step_size: float | Array = 0.1,
    *,
    proportional: float | Array = 0.0,
    step_range: tuple[float, float] = (0.995, 1.005),
    multiplier_range: tuple[float, float] = (1e-6, 1e8),
    anti_windup: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """GECO: λ ← λ · exp(ν C̄/scale). Rezende & Viola, 2018, algorithm 1.

    λ rises while the constraint is violated and falls while it is slack, towards λ_KKT.

    The first error can be huge and stays in the average long after the batches meet the constraint,
    which is how λ explodes. So at default settings one step changes λ by at most `step_range`, and
    λ rests (`anti_windup`) while the average is stale: of the other sign than the batch, and larger.
    (Noise makes the batch the larger of the two. To rest at every disagreement of signs would halve
    the step under noise, and miss the constraint where the noise is skewed.) While the constraint
    is truly violated, λ may still grow by a factor of 1.005 a step.
    `step_range=(0, inf), anti_windup=False` is the published rule.

    λ has no use for growing while the model is still learning, and it takes as long to come down
    again. With `proportional` = K > 0 the step is λ · exp(ν C̄_t/scale + K (c_t − c_{t−1})), c being C̄/scale
    clipped to [−1, 1], and 1 before the first step: while the constraint closes, λ gives back what it
    gathered. What `step_range` cuts off of this part the next steps make up for, up to a tenth of λ:
    skewed noise would not cancel otherwise, and the constraint be missed. A controller with a
    proportional part, Sohrabi et al., 2024, on log λ; K of a few, with scales that make C̄/scale
    relative to the threshold.

    >>> tx = geco(1.0, step_range=(0, float("inf")), anti_windup=False)
    >>> tx.update(jnp.log(2.0), tx.init(None), jnp.array(3.0), constraint=1.0)[0]
    Array(3., dtype=float32...)
    """
    _check_step(step_size, step_range, multiplier_range)

    # The published rule has no state; a proportional part remembers the step before.
    remembers = not (isinstance(proportional, int | float) and proportional == 0)
    limits = tuple(math.log(factor) if factor else -math.inf for factor in step_range)

    def init(multipliers):
        if not remembers:
            return optax.EmptyState()
        ones, zeros = (jax.tree.map(f, multipliers) for f in (jnp.ones_like, jnp.zeros_like))
        return GecoState(previous=ones, owed=zeros)

    def integral(average, batch):
        exponent = step_size * average
        if anti_windup:
            stale = (average * batch < 0) & (jnp.abs(average) > jnp.abs(batch))
            exponent = jnp.where(stale, 0.0, exponent)
        return jnp.clip(exponent, *limits)

    def update(average, state, multipliers, *, constraint, **extra_args):
        del extra_args
        exponents = jax.tree.map(integral, average, constraint)
        if remembers:
            now = jax.tree.map(lambda c: jnp.clip(c, -1.0, 1.0), average)
            exponents = jax.tree.map(
                lambda exponent, c, before, owed: exponent + proportional * (c - before) + owed,
                exponents, now, state.previous, state.owed,
            )  # fmt: skip
            excess = jax.tree.map(lambda e: e - jnp.clip(e, *limits), exponents)
            state = GecoState(now, jax.tree.map(lambda e: jnp.clip(e, -0.1, 0.1), excess))
        updates = jax.tree.map(
            lambda multiplier, exponent: _multiply(
                multiplier, exponent, step_range, multiplier_range
            ),
            multipliers,
            exponents,
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)


def rewo(
    step_size: float | Array = 1.0,
    *,
    steepness: float | Array = 3.0,
    step_range: tuple[float, float] = (0.9, 1.05),
    multiplier_range: tuple[float, float] = (1e-6, 1e8),
) -> optax.GradientTransformationExtraArgs:
    """REWO: λ ← λ · exp(−ν f(1/λ, δ) δ), δ = C̄/scale. Klushyn et al., 2019, section 3.2.

    With β = 1/λ, H the step function and τ = `steepness`,

      f(β, δ) = (1 − H(δ)) · tanh(τ (β − 1)) − H(δ):

    violated, λ rises; met, λ moves to 1 from either side. At 1, with one constraint on the NLL, the
    Lagrangian is the negative ELBO up to a constant (on a bare squared error λ = 1 would mean σ² = ½).
    It converges to max(1, λ_KKT). Start with β ≪ 1, that is λ ≫ 1, and use a constraint in
    nats. Until all constraints were met once on average (`feasible_once`) λ is held.

    >>> tx = rewo(1.0)
    >>> state, multiplier = tx.init(None), jnp.array(1000.0)
    >>> tx.update(jnp.array(-0.05), state, multiplier, feasible_once=True)[0]
    Array(-48.53..., dtype=float32...)
    >>> tx.update(jnp.array(-0.05), state, multiplier, feasible_once=False)[0]
    Array(0., dtype=float32...)
    """
    _check_step(step_size, step_range, multiplier_range)
    check_positive(steepness=steepness)

    def update(average, state, multipliers, *, feasible_once, **extra_args):
        del extra_args

        def step(delta, multiplier):
            f = jnp.where(delta > 0, -1.0, jnp.tanh(steepness * (1 / multiplier - 1)))
            change = _multiply(multiplier, -step_size * f * delta, step_range, multiplier_range)
            return jnp.where(feasible_once, change, 0.0)

        return jax.tree.map(step, average, multipliers), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def projected(
    step_size: float | Array, *, multiplier_range: tuple[float, float] = (0.0, 1e8)
) -> optax.GradientTransformationExtraArgs:
    """Projected gradient ascent: λ ← [λ + η C̄/scale]₊. Arrow, Hurwicz & Uzawa, 1958.

    >>> tx = projected(0.5)
    >>> tx.update(jnp.array(-4.0), tx.init(None), jnp.array(1.0))[0]
    Array(-1., dtype=float32...)
    """
    _check_step(step_size, (0.0, 1.0), multiplier_range)

    def update(average, state, multipliers, **extra_args):
        del extra_args
        return jax.tree.map(
            lambda c, multiplier: (
                jnp.clip(multiplier + step_size * c, *multiplier_range) - multiplier
            ),
            average,
            multipliers,
        ), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


class NuPIState(NamedTuple):
    """State of `nu_pi`."""

    step: Array  # [], number of updates made
    xi: PyTree  # exponential moving average ξ of the error


def nu_pi(
    step_size: float | Array,
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
    _check_step(step_size, (0.0, 1.0), multiplier_range)

    def init(multipliers):
        return NuPIState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, multipliers))

    def update(average, state, multipliers, *, constraint, **extra_args):
        del average, extra_args
        previous = jax.tree.map(
            lambda xi, e: jnp.where(state.step == 0, e, xi), state.xi, constraint
        )
        xi = jax.tree.map(lambda old, e: nu * old + (1 - nu) * e, previous, constraint)

        def step(e, xi, previous, multiplier):
            direction = integral * e + proportional * (xi - previous)
            return jnp.clip(multiplier + step_size * direction, *multiplier_range) - multiplier

        updates = jax.tree.map(step, constraint, xi, previous, multipliers)
        return updates, NuPIState(optax.safe_increment(state.step), xi)

    return optax.GradientTransformationExtraArgs(init, update)


def rescale_by_multipliers() -> optax.GradientTransformationExtraArgs:
    """Divides gradients by max(1, λ), the largest λ of several: β in front of the rate again.

    The Lagrangian multiplies the model's gradients by λ. Adam's second moment remembers a λ of 1000
    for thousands of steps after λ has come down, and makes tiny steps meanwhile; norm clipping and
    plain descent would see λ at once. Chain it before the model's optimiser, inside the primal of
    `saddle_point`. (A prior's gradient comes from the rate alone and has no λ in it.) The loss, and
    with it the multipliers' gradient, stays as it is.

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
    if num_steps < 0:
        raise ValueError(f"num_steps must not be negative, got {num_steps}.")
    return optax.conditionally_mask(inner, lambda step: step >= num_steps)


def _multiply(multiplier, exponent, step_range, multiplier_range):
    """The additive update that multiplies λ by exp(exponent), clamped."""
    step = jnp.clip(jnp.exp(exponent), *step_range)
    return jnp.clip(multiplier * step, *multiplier_range) - multiplier


def _check_step(step_size, step_range, multiplier_range) -> None:
    check_positive(step_size=step_size)
    for name, (low, high) in (("step_range", step_range), ("multiplier_range", multiplier_range)):
        if not 0 <= low < high:
            raise ValueError(f"{name} must be (low, high) with 0 <= low < high, got {low, high}.")


def _check_range(name: str, value, low: float, high: float) -> None:
    if isinstance(value, int | float) and not low <= value < high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}), got {value}.")

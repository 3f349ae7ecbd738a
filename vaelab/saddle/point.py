"""The saddle point of a Lagrangian: descent on parameters, ascent on multipliers."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import UsageError, check_fraction, check_positive
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

    The moving average is C̄_0 = Ĉ_0, C̄_t = α C̄_{t−1} + (1 − α) Ĉ_t, with the constraint of the batch Ĉ_t =
    ∂L/∂λ and α = `decay`. The primal receives the gradient of the batch, the dual receives C̄_t / scale.
    This is algorithm 1 of Rezende & Viola, 2018, for any dual. Gradient clipping belongs inside `primal`:
    outside, it would rescale the constraint.

    Args:
      primal: transforms the gradient of the parameters.
      dual: transforms the averaged constraints, `geco(...)`, `rewo(...)`, ...
      decay: α in [0, 1).
      scales: divisors of the constraints that the dual receives, for example the number of data dimensions
        that a constraint sums over. One number; or, if the multipliers are a dict, a dict with their names.

    Returns:
      A transformation of `Saddle` trees with state `SaddleState`.

    >>> from vaelab import saddle
    >>> tx = saddle.saddle_point(optax.sgd(0.1), saddle.geco(0.1), scales=784)
    >>> variables = Saddle(params=jnp.array(1.0), multipliers={"nll": jnp.array(1.0)})
    >>> loss = lambda v: v.params**2 + v.multipliers["nll"] * (2.0 - v.params)
    >>> state = tx.init(variables)
    >>> updates, state = tx.update(jax.grad(loss)(variables), state, variables)
    >>> state.average
    {'nll': Array(1., dtype=float32...)}
    """
    check_fraction(decay=decay)
    for name, transformation in (("primal", primal), ("dual", dual)):
        if not isinstance(transformation, optax.GradientTransformation):
            raise UsageError(
                f"{name} must be an optax transformation, such as optax.adam(1e-3) or saddle.geco(), "
                f"got {transformation!r}."
            )
    for scale in jax.tree.leaves(scales):
        check_positive(scales=scale)
    primal = optax.with_extra_args_support(primal)
    dual = optax.with_extra_args_support(dual)

    def init(variables: Saddle) -> SaddleState:
        if isinstance(scales, dict) and scales.keys() != variables.multipliers.keys():
            raise UsageError(
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
        # A constraint that is not finite belongs to a step that `skip_above` skips: its average stands for it.
        batch = jax.tree.map(
            lambda old, new: jnp.where(jnp.isfinite(new), new, old),
            state.average,
            gradients.multipliers,
        )
        average = jax.tree.map(
            lambda old, new: jnp.where(state.step == 0, new, decay * old + (1 - decay) * new),
            state.average,
            batch,
        )
        met = [
            jnp.all((c <= 0) & jnp.isfinite(new))
            for c, new in zip(
                jax.tree.leaves(average), jax.tree.leaves(gradients.multipliers), strict=True
            )
        ]
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

"""Constrained optimisation as one optax transformation.

The Lagrangian L(θ, λ) = E[rate] + Σ_j λ_j E[C_j] is linear in λ, so ∂L/∂λ_j is the constraint itself.
Put parameters and multipliers in one tree, `Saddle(params, multipliers)`, and take one gradient.
`saddle_point` sends the parameters' half to a *primal* transformation, which descends. It sends the
multipliers' half, averaged over steps and divided by each constraint's scale, to a *dual* one, which
ascends: `geco`, `pi_geco`, `rewo`, `projected`, `nu_pi`.

Duals are ordinary optax transformations of the multipliers. They receive as updates the averaged
constraint / scale, and as extra arguments `constraint`, this batch's constraint / scale, and
`feasible_once`: True if all constraints were met on average at some step. Primals receive these two and
`multipliers`, for `freeze_until_feasible` and `rescale_by_multipliers`.

A step size is a number, an array, or an optax schedule: a function of the number of updates made.
"""

from vaelab.saddle.ascent import NuPiState, nu_pi, projected
from vaelab.saddle.geco_rule import geco
from vaelab.saddle.pi_geco_rule import PiGecoState, pi_geco
from vaelab.saddle.point import SaddleState, saddle_point
from vaelab.saddle.rewo_rule import rewo
from vaelab.saddle.steps import StepCount, StepSize
from vaelab.saddle.wrappers import (
    SkipState,
    freeze_until_feasible,
    hold_for,
    rescale_by_multipliers,
    skip_above,
    skip_nonfinite,
    update_every,
)

__all__ = [
    "NuPiState",
    "PiGecoState",
    "SaddleState",
    "SkipState",
    "StepCount",
    "StepSize",
    "freeze_until_feasible",
    "geco",
    "hold_for",
    "nu_pi",
    "pi_geco",
    "projected",
    "rescale_by_multipliers",
    "rewo",
    "saddle_point",
    "skip_above",
    "skip_nonfinite",
    "update_every",
]

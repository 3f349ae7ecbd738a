"""The optax transformation of an experiment: optimisers, dual and parameter groups together."""

from __future__ import annotations

from collections.abc import Callable

import optax

from vaelab import saddle
from vaelab.checks import check_at_least_one, check_positive
from vaelab.models.base import MODEL, PRIOR
from vaelab.training.duals import Dual
from vaelab.training.optimisers import Optimiser
from vaelab.training.schedules import Schedule
from vaelab.types import PyTree


def transformation(
    optimiser: Optimiser,
    dual: Dual | None,
    *,
    parameter_groups: Callable[[PyTree], PyTree] | PyTree,
    num_steps: int,
    scales: dict[str, float],
    prior_optimiser: Optimiser | None = None,
    prior_period: int = 1,
    clip_norm: float | None = None,
    skip_norm: float | None = None,
    skip_limit: int = 10,
    nonfinite_limit: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """The whole transformation of an experiment: descent on parameters, ascent on multipliers.

    The gradient of the parameters takes four steps:

    1. The gradient of the group "model" is divided by max(1, λ) with the largest λ. Otherwise Adam's second
       moment would remember a large λ for many steps. The gradient of the group "prior" contains no λ.
    2. If the norm of the gradient of all parameters together is above `skip_norm`, the step is skipped: see
       `saddle.skip_above`.
    3. The gradient of all parameters together is clipped to the norm `clip_norm`.
    4. Each group is updated by its own optimiser.

    Args:
      optimiser: optimiser of the group "model", and of the group "prior" without `prior_optimiser`.
      dual: rule of the multipliers. None if there are no constraints.
      parameter_groups: labels "model" and "prior" of the parameters, or a function that makes them:
        `model.parameter_groups`.
      num_steps: length of the run, which schedules need.
      scales: divisor of each constraint that the dual receives, by the constraint's name.
      prior_optimiser: optimiser of the group "prior".
      prior_period: steps per update of the prior. A number above 1 is the outer loop of Klushyn et al., 2019.
      clip_norm: largest L2 norm of the gradient of all parameters together. None does not clip.
      skip_norm: largest L2 norm of that gradient, before clipping, with which a step is made. None
        skips no step.
      skip_limit: number of skips in a row after which a gradient is clipped to `skip_norm` and accepted.

      nonfinite_limit: above 0, a step with a gradient that is not finite is skipped, `saddle.skip_nonfinite`.

    Raises:
      UsageError: `clip_norm`, `skip_norm`, `skip_limit` or `prior_period` is not positive.
    """
    check_positive(clip_norm=clip_norm, skip_norm=skip_norm)
    check_at_least_one(skip_limit=skip_limit)
    prior_optimiser = prior_optimiser or optimiser
    prior = prior_optimiser.build()
    if prior_period != 1:
        prior = saddle.update_every(prior, prior_period)
    if dual is not None and dual.freeze_prior:
        prior = saddle.freeze_until_feasible(prior)
    groups = {MODEL: optimiser.build(), PRIOR: prior}
    schedules = {
        MODEL: _factor(optimiser.schedule, num_steps),
        PRIOR: _factor(prior_optimiser.schedule, num_steps),
    }
    if skip_norm is None:
        groups = {name: optax.chain(group, schedules[name]) for name, group in groups.items()}
    primal = optax.partition(groups, parameter_groups)
    if clip_norm is not None:
        primal = optax.chain(optax.clip_by_global_norm(clip_norm), primal)
    if skip_norm is not None:
        # Schedules stay outside, because they count the steps of the run, also the skipped ones.
        primal = saddle.skip_above(primal, skip_norm, limit=skip_limit)
        primal = optax.chain(primal, optax.partition(schedules, parameter_groups))
    if dual is None:
        tx = saddle.saddle_point(primal, optax.identity(), scales=scales)
    else:
        rescale = {MODEL: saddle.rescale_by_multipliers(), PRIOR: optax.identity()}
        primal = optax.chain(optax.partition(rescale, parameter_groups), primal)
        tx = saddle.saddle_point(primal, dual.build(num_steps), decay=dual.decay, scales=scales)
    return saddle.skip_nonfinite(tx) if nonfinite_limit else tx


def _factor(schedule: Schedule, num_steps: int) -> optax.GradientTransformation:
    """Multiplies updates by the factor of the schedule. It counts steps of the run, also while a group is held."""
    return optax.scale_by_schedule(schedule.build(num_steps))

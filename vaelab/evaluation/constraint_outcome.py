"""The outcome of a constraint, from the values that a run logged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from vaelab.checks import UsageError


class Feasibility(NamedTuple):
    """The outcome of one constraint."""

    met: bool  # at the end
    infeasible: bool  # violated at the end, with λ at its limit
    best: float  # smallest logged moving average of C, in the units of C
    sentence: str  # the outcome in words


def feasibility(
    averages: Sequence[float], multipliers: Sequence[float], *, multiplier_limit: float
) -> Feasibility:
    """Judges the moving averages of C and the multipliers λ of a run, in the order of its steps.

    A constraint that cannot be met stays above zero while λ grows to its limit: a larger weight does
    not lower it. An active constraint moves around zero. It is met if the smallest of the last fifth
    of its averages is zero or less.

    Raises:
      UsageError: there are no values, or not as many averages as multipliers.

    >>> feasibility([9.0, 3.0, 2.0, 2.0], [1.0, 1e3, 1e6, 1e8], multiplier_limit=1e8).sentence
    'infeasible: violated with λ at its limit of 1e+08'
    >>> feasibility([9.0, 3.0, 2.0], [1.0, 2.0, 3.0], multiplier_limit=1e8).sentence
    'not met yet: λ was still rising'
    >>> feasibility([9.0, -1.0, -0.5], [1.0, 2.0, 1.9], multiplier_limit=1e8).sentence
    'met'
    """
    if not len(averages) or len(averages) != len(multipliers):
        raise UsageError(
            f"averages and multipliers must have one length above 0, got {len(averages)} and "
            f"{len(multipliers)}."
        )
    best, last = min(averages), averages[-1]
    if not math.isfinite(last):
        return Feasibility(False, False, best, "diverged")
    if last <= 0:
        return Feasibility(True, False, best, "met")
    if multipliers[-1] >= 0.99 * multiplier_limit:
        sentence = f"infeasible: violated with λ at its limit of {multiplier_limit:g}"
        return Feasibility(False, True, best, sentence)
    if min(averages[-(len(averages) // 5 or 1) :]) <= 0:
        return Feasibility(True, False, best, "met: it moves around its bound")
    if best <= 0:
        return Feasibility(False, False, best, "not met at the end, but on average before")
    rising = (
        "was still rising"
        if multipliers[-1] > multipliers[(len(multipliers) - 1) // 2]
        else "rested"
    )
    return Feasibility(False, False, best, f"not met yet: λ {rising}")

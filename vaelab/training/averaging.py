"""The exponential moving average of the parameters. Evaluation uses it in the place of the last parameters."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.checks import check_fraction
from vaelab.types import Array, PyTree


class ParameterAverage(NamedTuple):
    """Moving average of the parameters, and its decay, which may differ between members of a sweep."""

    decay: Array  # [], α
    params: PyTree  # the average; before the first step the initial parameters


def start_average(params: PyTree, decay: float | Array | None) -> ParameterAverage | tuple[()]:
    """The average before the first step; () if `decay` is None, which averages nothing.

    Raises:
      UsageError: the decay is a number outside [0, 1).
    """
    if decay is None:
        return ()
    check_fraction(ema_decay=decay)
    return ParameterAverage(jnp.asarray(decay, jnp.float32), params)


def update_average(
    average: ParameterAverage | tuple[()], params: PyTree, step: Array
) -> ParameterAverage | tuple[()]:
    """The average after step t ≥ 1, Σ_s (1 − α) α^(t−s) θ_s / (1 − α^t).

    The division makes the average unbiased: the weights of θ_1 to θ_t add up to 1. The initial parameters
    have no weight. Kingma & Ba, 2015, section 7.2.

    >>> average = start_average(jnp.array(9.0), 0.5)
    >>> for step, theta in enumerate([1.0, 4.0], start=1):
    ...     average = update_average(average, jnp.array(theta), step)
    >>> float(average.params)  # (1 · 1 + 2 · 4) / 3
    3.0
    """
    if not average:
        return ()
    # `expm1` computes 1 − α^t accurately if α is near 1.
    weight = (1 - average.decay) / -jnp.expm1(step * jnp.log(average.decay))
    params = jax.tree.map(lambda old, new: old + weight * (new - old), average.params, params)
    return average._replace(params=params)

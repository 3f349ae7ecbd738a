"""The exponential moving average of the parameters, which evaluation uses in the place of the last ones."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.checks import check_fraction
from vaelab.types import Array, PyTree


class ParameterAverage(NamedTuple):
    """Moving average of the parameters with its decay, so that a sweep may hold one of each."""

    decay: Array  # [], α
    params: PyTree  # the parameters themselves before the first step


def start_average(params: PyTree, decay: float | Array | None) -> ParameterAverage | tuple[()]:
    """The average before the first step; () where `decay` is None, and nothing is averaged.

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
    """The average after this step (1 is the first), Σ_s (1 − α) α^(t−s) θ_s / (1 − α^t).

    The division makes it unbiased: the weights of θ_1 to θ_t add up to 1, and the initial parameters
    have none. Kingma & Ba, 2015, section 7.2.

    >>> average = start_average(jnp.array(9.0), 0.5)
    >>> for step, theta in enumerate([1.0, 4.0], start=1):
    ...     average = update_average(average, jnp.array(theta), step)
    >>> float(average.params)  # (1 · 1 + 2 · 4) / 3
    3.0
    """
    if not average:
        return ()
    # 1 − α^t in this form keeps its digits where α is near 1.
    weight = (1 - average.decay) / -jnp.expm1(step * jnp.log(average.decay))
    params = jax.tree.map(lambda old, new: old + weight * (new - old), average.params, params)
    return average._replace(params=params)

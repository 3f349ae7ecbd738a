"""Likelihoods of reconstructions that do not depend on the scale training used.

A constrained model's multiplier stands for a σ of its own, so its likelihood does not compare with
another's. After training one global σ* is fitted, everything else frozen. Rezende & Viola, 2018,
appendix D.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_positive
from vaelab.evaluation.averages import expectations, mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.likelihoods import QuantisedNormal
from vaelab.types import Array, Examples, PRNGKey, Terms


class OptimalScale(NamedTuple):
    """σ*, the scale of a Gaussian likelihood that fits best with the reconstructions given."""

    scale: float  # σ*, data units
    mean_squared_error: float  # σ*²
    standard_error: float  # of the mean squared error, over examples


class QuantisedNLL(NamedTuple):
    """−log P(x|z) per dimension under the quantised normal."""

    mean: float  # nats per dimension
    standard_error: float  # over examples
    bits: float  # the mean in bits per dimension


def squared_error(examples: Examples, terms: Terms) -> Array:
    """‖x − g(z)‖² / D, [K, B], in squared data units; g is the likelihood's mean."""
    error = (examples.x - terms.likelihood.mean()) ** 2
    return jnp.mean(error, axis=tuple(range(2, error.ndim)))


def optimal_scale(
    subject: Subject,
    key: PRNGKey,
    *,
    num_samples: int = 1,
    batch_size: int = 100,
    progress: Progress = iter,
) -> OptimalScale:
    """σ*² = 1/(N D) Σ_n E_q ‖x_n − g(z)‖², over the training data. Eq. 26 of the reference.

    The data are images [N, ...] or examples; z is drawn `num_samples` times for each.
    """
    estimate = expectations(
        subject, key, {"mse": squared_error}, num_samples=num_samples,
        batch_size=batch_size, progress=progress,
    )["mse"]  # fmt: skip
    return OptimalScale(math.sqrt(estimate.mean), *estimate)


def quantised_nll(
    subject: Subject,
    key: PRNGKey,
    *,
    scale: float,
    levels: int = 256,
    num_samples: int = 1,
    batch_size: int = 100,
    progress: Progress = iter,
) -> QuantisedNLL:
    """E_q[−log P(x|z)] / D, P the normal of scale σ* around g(z), binned to x's levels.

    The data have `levels` values in [0, 1].

    Raises:
      UsageError: the scale is not positive and finite, there are no samples, fewer than two levels,
        or data outside [0, 1] or between levels.
    """
    check_positive(scale=scale)
    check_at_least_one(num_samples=num_samples)
    x = subject.examples.x
    low, high = float(x.min(initial=0.0)), float(x.max(initial=0.0))
    if low < 0 or high > 1:
        raise UsageError(f"data must lie in [0, 1], got values from {low:g} to {high:g}.")
    steps = np.asarray(x) * (levels - 1)
    if np.abs(steps - np.round(steps)).max(initial=0.0) > 1e-3:
        raise UsageError(f"data must be of levels = {levels} values, and lie between them.")
    values = map_batches(
        partial(_batch_nll, subject.model, levels, num_samples, subject.params, jnp.float32(scale)),
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    mean, error = mean_and_error(values)
    return QuantisedNLL(mean, error, mean / math.log(2))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _batch_nll(model, levels, num_samples, params, scale, examples, key) -> Array:
    terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
    log_prob = QuantisedNormal(terms.likelihood.mean(), scale, levels).log_prob(examples.x)
    return -jnp.mean(log_prob, axis=(0, *range(2, log_prob.ndim)))

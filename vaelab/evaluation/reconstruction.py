"""Likelihoods of reconstructions that do not depend on the scale of the training likelihood.

The multiplier of a constrained model acts as a σ, so likelihoods of different models do not compare.
After training, one global σ* is fitted to the frozen model. Rezende & Viola, 2018, appendix D.
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
    """σ*, the best scale of a Gaussian likelihood for given reconstructions."""

    scale: float  # σ*, data units
    mean_squared_error: float  # σ*²
    standard_error: float  # of the mean squared error, over examples


class QuantisedNLL(NamedTuple):
    """−log P(x|z) per dimension under the quantised normal."""

    mean: float  # nats per dimension
    standard_error: float  # over examples
    bits: float  # the mean in bits per dimension


def squared_error(examples: Examples, terms: Terms) -> Array:
    """‖x − g(z)‖² / D, [K, B], in squared data units. g is the mean of the likelihood."""
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

    z is drawn `num_samples` times for each example.

    Raises:
      UsageError: num_samples or batch_size is below 1.
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
    """E_q[−log P(x|z)] / D. P is the normal of mean g(z) and scale σ*, binned to the levels of x.

    The data have `levels` equally spaced values in [0, 1].

    Raises:
      UsageError: the scale is not positive and finite, num_samples or batch_size is below 1, there
        are fewer than two levels, or data are outside [0, 1] or between levels.
    """
    check_positive(scale=scale)
    check_at_least_one(num_samples=num_samples)
    x = subject.examples.x
    low, high = float(x.min(initial=0.0)), float(x.max(initial=0.0))
    if low < 0 or high > 1:
        raise UsageError(
            f"data must lie in [0, 1], got values from {low:g} to {high:g}: rescale the data."
        )
    steps = np.asarray(x) * (levels - 1)
    if np.abs(steps - np.round(steps)).max(initial=0.0) > 1e-3:
        raise UsageError(
            f"data must hold only levels = {levels} equally spaced values from 0 to 1, got other values: "
            "give levels the number of values of the data."
        )
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

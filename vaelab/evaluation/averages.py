"""Averages over a data set and the posterior, with standard errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, Examples, PRNGKey, Terms


class Estimate(NamedTuple):
    """A mean over examples, and the standard error of that mean."""

    mean: float
    standard_error: float


def elbo(examples: Examples, terms: Terms) -> Array:
    """Evidence lower bound, [K, B], nats."""
    del examples
    return terms.log_weights


def rate(examples: Examples, terms: Terms) -> Array:
    """log q(z|x) − log p(z), summed over levels, [K, B], nats."""
    del examples
    return terms.total_rate


def distortion(examples: Examples, terms: Terms) -> Array:
    """−log p(x|z), [K, B], nats."""
    del examples
    return terms.distortion


def expectations(
    subject: Subject,
    key: PRNGKey,
    functions: Mapping[str, Callable[[Examples, Terms], Array]],
    *,
    num_samples: int = 64,
    batch_size: int = 100,
    progress: Progress = iter,
) -> dict[str, Estimate]:
    """1/N Σ_n E_q(z|x_n)[f(x_n, z)] for each f(examples, terms) -> [K, B], by name.

    The same samples serve all functions, so that elbo = −(rate + distortion) up to rounding. The
    standard error is over examples; the value of each example is its mean over `num_samples` draws.
    A constraint is such a function, too.
    """
    check_at_least_one(num_samples=num_samples)
    means = map_batches(
        partial(_batch_means, subject.model, tuple(functions.items()), num_samples, subject.params),
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return {name: mean_and_error(values) for name, values in means.items()}


def mean_and_error(values: np.ndarray) -> Estimate:
    """Mean and its standard error, s/√N. [N] -> Estimate.

    >>> mean_and_error(np.array([1.0, 3.0]))
    Estimate(mean=2.0, standard_error=1.0)
    """
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Estimate(float(np.mean(values)), float(error))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _batch_means(model, functions, num_samples, params, examples, key) -> dict[str, Array]:
    terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
    return {name: jnp.mean(function(examples, terms), axis=0) for name, function in functions}

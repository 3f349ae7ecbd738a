"""Averages over a data set and the posterior, with standard errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_equal
from vaelab.evaluation.batches import Progress, map_batches, take_batch
from vaelab.evaluation.subject import Subject
from vaelab.one_off import one_off
from vaelab.types import Array, Examples, PRNGKey, Terms


class Estimate(NamedTuple):
    """A mean over examples, and the standard error of that mean: NaN for a single example."""

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


@dataclasses.dataclass(frozen=True)
class LevelRate:
    """log q(z_l|·) − log p(z_l|·) of one level, [K, B], nats. The rates of all levels add up to `rate`."""

    level: int

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        del examples
        return terms.rate[self.level]


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

    The mean of `expectations_by_example`, with its standard error over examples. Every constraint is such a
    function.

    Raises:
      UsageError: num_samples or batch_size is below 1, or a function returns another shape.
    """
    means = expectations_by_example(
        subject, key, functions, num_samples=num_samples, batch_size=batch_size, progress=progress
    )
    return {name: mean_and_error(values) for name, values in means.items()}


def expectations_by_example(
    subject: Subject,
    key: PRNGKey,
    functions: Mapping[str, Callable[[Examples, Terms], Array]],
    *,
    num_samples: int = 64,
    batch_size: int = 100,
    progress: Progress = iter,
) -> dict[str, np.ndarray]:
    """E_q(z|x_n)[f(x_n, z)] of each example, [N], for each f(examples, terms) -> [K, B], by name.

    All functions use the same samples, so elbo = −(rate + distortion) up to rounding. The value of an
    example is its mean over `num_samples` draws.

    Raises:
      UsageError: num_samples or batch_size is below 1, or a function returns another shape.
    """
    check_at_least_one(num_samples=num_samples)
    return map_batches(
        partial(_batch_means, subject.model, tuple(functions.items()), num_samples, subject.params),
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )


def compile_expectations(
    subject: Subject,
    key: PRNGKey,
    functions: Mapping[str, Callable[[Examples, Terms], Array]],
    *,
    num_samples: int,
    batch_size: int,
) -> None:
    """Compiles the program of `expectations` ahead, for parameters or their shapes on the only device."""
    settings = (subject.model, tuple(functions.items()), num_samples, subject.params)
    batch = take_batch(subject.examples, 0, batch_size)
    _batch_means.lower(*settings, batch, jax.random.fold_in(key, 0)).compile()


def mean_and_error(values: np.ndarray) -> Estimate:
    """Mean and its standard error, s/√N. [N] -> Estimate.

    >>> mean_and_error(np.array([1.0, 3.0]))
    Estimate(mean=2.0, standard_error=1.0)
    """
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Estimate(float(np.mean(values)), float(error))


def difference_estimate(
    values: np.ndarray, cheap: np.ndarray, cheap_of_all: np.ndarray
) -> Estimate:
    """The mean of a costly quantity y over N examples, from n of them and a cheap quantity c of all.

      mean_n(y − c) + mean_N(c),   Var = Var(y − c)/n + [Var(c) + 2 Cov(y − c, c)]/N

    The n examples are a random subset. The error is over examples, as in `mean_and_error`. It is smaller than that
    of mean_n(y) if y − c varies less than y. Cochran, 1977, section 7.

    Args:
      values: y [n].
      cheap: c of the same examples, [n].
      cheap_of_all: c of all examples, [N].

    Raises:
      UsageError: there are fewer than two examples, or values and cheap differ in shape.

    >>> difference_estimate(np.array([2.0, 4.0]), np.array([1.0, 3.0]), np.array([1.0, 3.0, 5.0, 7.0])).mean
    5.0
    """
    check_equal(shape_of_values=np.shape(values), shape_of_cheap=np.shape(cheap))
    if len(values) < 2:
        raise UsageError(f"values must hold at least two examples, got {len(values)}.")
    difference = values - cheap
    between = np.var(cheap_of_all, ddof=1) + 2 * np.cov(difference, cheap)[0, 1]
    variance = np.var(difference, ddof=1) / len(values) + between / len(cheap_of_all)
    error = np.sqrt(max(variance, 0.0))
    return Estimate(float(difference.mean() + cheap_of_all.mean()), float(error))


def stratified_mean_and_error(values: np.ndarray, inputs: np.ndarray) -> Estimate:
    """Mean over M draws from N given inputs, each drawn r or r + 1 times by `even_draws`. [M], [M] -> Estimate.

      Var = 1/M [v + m/M (1 − m/N) s²],   M = rN + m,

    v is the mean variance within an input, and s² is the variance of the means of the inputs. s²
    counts only through the incomplete round of m inputs, which are drawn without replacement. Both
    are estimated from sums of squares, without bias. Cochran, 1977, theorems 2.2 and 5.3.

    If an input has only one draw, v is unknown. Then the error is that of `mean_and_error`. It counts
    all of s², so it is conservative: at most √(1 + s²/v) times too large.

    >>> stratified_mean_and_error(np.array([1.0, 3.0, 11.0, 13.0]), np.array([0, 0, 1, 1]))
    Estimate(mean=7.0, standard_error=0.7071067811865476)
    """
    _, rows, counts = np.unique(inputs, return_inverse=True, return_counts=True)
    rounds, num_draws, num_inputs = int(np.min(counts)), len(values), len(counts)
    if rounds < 2:
        return mean_and_error(values)
    of_inputs = np.bincount(rows, weights=values) / counts
    within = np.sum((values - of_inputs[rows]) ** 2) / (num_draws - num_inputs)
    incomplete = num_draws - rounds * num_inputs
    shared = incomplete / num_draws * (1 - incomplete / num_inputs)
    between = 0.0
    if incomplete:
        # E var(values) = (v (1 − 1/M) + s² (1 − 1/N − shared / M)) M / (M − 1)
        excess = (np.var(values, ddof=1) - within) * (1 - 1 / num_draws)
        between = max(excess / (1 - 1 / num_inputs - shared / num_draws), 0.0)
    error = np.sqrt((within + shared * between) / num_draws)
    return Estimate(float(np.mean(values)), float(error))


@partial(one_off, static_argnums=(0, 1, 2), level=1)
def _batch_means(model, functions, num_samples, params, examples, key) -> dict[str, Array]:
    terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
    means = {}
    for name, function in functions:
        values = function(examples, terms)
        shape = terms.distortion.shape
        if jnp.shape(values) not in (shape, (1, shape[1])):  # a bound over all samples is [1, B]
            raise UsageError(
                f"functions[{name!r}] must return values [K, B] = {list(terms.distortion.shape)}, got "
                f"{list(jnp.shape(values))}: one value for each sample and example."
            )
        means[name] = jnp.mean(values, axis=0)
    return means

"""The log-likelihood log p(x) by importance sampling."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from vaelab.checks import check_at_least_one
from vaelab.evaluation.averages import mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, PRNGKey


class LogLikelihood(NamedTuple):
    """An importance-sampling estimate of log p(x), nats."""

    mean: float  # over examples
    standard_error: float  # of that mean, over examples; NaN for a single example
    num_samples: int  # importance samples per example
    effective_sample_size: float  # (Σ w)² / Σ w², mean over examples
    log_prob: np.ndarray  # [N], per example


def log_likelihood(
    subject: Subject,
    key: PRNGKey,
    *,
    num_samples: int = 5000,
    batch_size: int = 20,
    chunk_size: int = 50,
    progress: Progress = iter,
) -> LogLikelihood:
    """log 1/K Σ_k p(x, z_k)/q(z_k|x), z_k ~ q(z|x), with exactly K = `num_samples`.

    In expectation a lower bound on log p(x) that becomes tighter with K. Burda et al., 2016. Each
    example is encoded once. Samples are drawn in chunks with a running log-sum-exp, so the memory
    depends only on batch_size · chunk_size.

    Raises:
      UsageError: num_samples, batch_size or chunk_size is below 1.
    """
    check_at_least_one(num_samples=num_samples, chunk_size=chunk_size)
    chunk_size = min(chunk_size, num_samples)
    log_prob, ess = map_batches(
        partial(batch_estimate, subject.model, num_samples, chunk_size, subject.params),
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    mean, standard_error = mean_and_error(log_prob)
    return LogLikelihood(mean, standard_error, num_samples, float(np.mean(ess)), log_prob)


@partial(jax.jit, static_argnums=(0, 1, 2))
def batch_estimate(model, num_samples, chunk_size, params, examples, key) -> tuple[Array, Array]:
    """(log p(x), effective sample size) of a batch, each [B]: one compiled program."""
    bound, x = model.at(params), examples.x
    encoding = bound.encode(x, examples.context)

    def add_chunk(chunk, carry):
        log_sum, log_sum_squares = carry
        chunk_key = jax.random.fold_in(key, chunk)
        terms = model.at(params).terms(encoding, x, chunk_key, chunk_size)
        sample = chunk * chunk_size + jnp.arange(chunk_size)
        log_w = jnp.where(sample[:, None] < num_samples, terms.log_weights, -jnp.inf)
        log_sum = jnp.logaddexp(log_sum, logsumexp(log_w, axis=0))
        log_sum_squares = jnp.logaddexp(log_sum_squares, logsumexp(2 * log_w, axis=0))
        return log_sum, log_sum_squares

    start = jnp.full(len(x), -jnp.inf)
    num_chunks = -(-num_samples // chunk_size)
    log_sum, log_sum_squares = jax.lax.fori_loop(0, num_chunks, add_chunk, (start, start))
    return log_sum - jnp.log(num_samples), jnp.exp(2 * log_sum - log_sum_squares)

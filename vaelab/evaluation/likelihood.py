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
from vaelab.evaluation.proposals import AMORTISED, Proposal
from vaelab.evaluation.subject import Subject
from vaelab.one_off import one_off
from vaelab.types import Array, Examples, PRNGKey


class LogLikelihood(NamedTuple):
    """An importance-sampling estimate of log p(x), nats."""

    mean: float  # over examples
    standard_error: float  # of that mean, over examples; NaN for a single example
    num_samples: int  # importance samples per example
    effective_sample_size: float  # (Σ w)² / Σ w², mean over examples
    log_prob: np.ndarray  # [N], per example
    proposal: str = AMORTISED.label  # what the samples were drawn from


def log_likelihood(
    subject: Subject,
    key: PRNGKey,
    *,
    num_samples: int = 5000,
    batch_size: int = 20,
    chunk_size: int = 50,
    proposal: Proposal = AMORTISED,
    progress: Progress = iter,
) -> LogLikelihood:
    """log 1/K Σ_k p(x, z_k)/q(z_k|x), z_k ~ q(z|x), with exactly K = `num_samples`.

    In expectation a lower bound on log p(x) that becomes tighter with K. Burda et al., 2016. Each
    example is encoded once. Samples are drawn in chunks with a running log-sum-exp, so the memory
    depends only on batch_size · chunk_size.

    Another `proposal` than q(z|x) gives a tighter bound with fewer samples: see `Refined`. The points of
    `Refined` are held in memory, num_samples for all examples together.

    Raises:
      UsageError: num_samples, batch_size or chunk_size is below 1.
      UndefinedError: the proposal has no meaning for the model.
    """
    check_at_least_one(num_samples=num_samples, chunk_size=chunk_size)
    proposal.check(subject.model)
    chunk_size = min(chunk_size, num_samples)

    def estimate(examples: Examples, key: PRNGKey) -> tuple[Array, Array]:
        sizes = num_samples, chunk_size
        return batch_estimate(subject.model, *sizes, subject.params, examples, key, proposal)

    log_prob, ess = map_batches(
        estimate,
        subject.examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    mean, standard_error = mean_and_error(log_prob)
    effective = float(np.mean(ess))
    return LogLikelihood(mean, standard_error, num_samples, effective, log_prob, proposal.label)


@partial(one_off, static_argnums=(0, 1, 2, 6), level=1)
def batch_estimate(
    model, num_samples, chunk_size, params, examples, key, proposal: Proposal = AMORTISED
) -> tuple[Array, Array]:
    """(log p(x), effective sample size) of a batch, each [B]: one compiled program."""
    # Chunks have the keys fold_in(key, 0), fold_in(key, 1) ...; the fit has one of its own.
    fit_key = jax.random.fold_in(key, num_samples)
    strata = proposal.strata(partial(model.at, params), examples, fit_key, num_samples)
    start = jnp.full(len(examples.x), -jnp.inf)
    sums, first_chunk = (start, start), 0
    for stratum in strata:
        size = min(chunk_size, stratum.num_samples)

        def add_chunk(chunk, carry, stratum=stratum, size=size, first_chunk=first_chunk):
            log_sum, log_sum_squares = carry
            index = chunk * size + jnp.arange(size)
            log_w = stratum.log_weights(index, jax.random.fold_in(key, first_chunk + chunk))
            log_w = jnp.where(index[:, None] < stratum.num_samples, log_w, -jnp.inf)
            log_sum = jnp.logaddexp(log_sum, logsumexp(log_w, axis=0))
            log_sum_squares = jnp.logaddexp(log_sum_squares, logsumexp(2 * log_w, axis=0))
            return log_sum, log_sum_squares

        num_chunks = -(-stratum.num_samples // size)
        sums = jax.lax.fori_loop(0, num_chunks, add_chunk, sums)
        first_chunk += num_chunks
    log_sum, log_sum_squares = sums
    return log_sum - jnp.log(num_samples), jnp.exp(2 * log_sum - log_sum_squares)

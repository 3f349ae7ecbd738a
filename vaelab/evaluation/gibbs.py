"""A Markov chain on the data that goes through some levels alone: does one level hold everything?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.levels import checked_levels, one_sample
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, PRNGKey


class GibbsChain(NamedTuple):
    """N chains at T recorded steps, of which the first is step 0, the start."""

    steps: tuple[int, ...]  # [T]
    x: np.ndarray  # [T, N, *event] float32, the states
    mean: np.ndarray  # [T, N, *event], the mean of p(x|z) of each state; the start itself at step 0


def gibbs_chain(
    subject: Subject,
    key: PRNGKey,
    *,
    steps: Sequence[int] = (1, 2, 5, 10, 20, 50, 100),
    levels: Sequence[int] | None = None,
    batch_size: int = 100,
    progress: Progress = iter,
) -> GibbsChain:
    """Alternates z ~ q(z|x) and x ~ p(x|z); a chain starts at each example of the subject.

    If `levels` are given, only they are taken from q(z|x). The others are drawn from p(z_l | earlier
    levels), so that nothing of x passes through them. If q(z_S|x) = p(z_S|x) for the levels S, this is the
    Gibbs chain of p(x, z_S), whose stationary law is the model's p(x): the other levels are redundant.
    Two kinds of models allow this view: the likelihood reads only the levels S, or all levels have
    independent priors. Zhao et al., 2017, section 3.

    Args:
      steps: numbers of steps after which x is recorded, increasing.
      levels: the levels that carry x to the next step. None takes all.

    Raises:
      UsageError: steps are not increasing numbers from 1, there is no such level, or batch_size is below 1.
    """
    check_at_least_one(steps=min(steps, default=0))
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise UsageError(f"steps must be increasing, got {tuple(steps)}.")
    check_at_least_one(steps=steps[-1])  # and whole
    kept = checked_levels(
        subject.model, range(len(subject.model.latent_dims)) if levels is None else levels
    )
    counts = np.diff([0, *steps])
    states, means = map_batches(
        partial(_run, subject.model, kept, subject.params, jnp.asarray(counts)),
        subject.inputs,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    start = np.asarray(subject.examples.x, np.float32)[None]
    x, mean = (
        np.concatenate([start, np.moveaxis(values, 1, 0).astype(np.float32)])
        for values in (states, means)
    )
    return GibbsChain((0, *map(int, steps)), x, mean)


@partial(jax.jit, static_argnums=(0, 1))
def _run(model, kept, params, counts, examples, key) -> tuple[Array, Array]:
    """State and mean after each number of steps, each [B, T, *event]."""
    context = examples.context
    others = [level for level in range(len(model.latent_dims)) if level not in kept]

    def step(index, state):
        x, _, key = state
        bound = model.at(params)
        posterior_key, x_key, *level_keys = jax.random.split(
            jax.random.fold_in(key, index), 2 + len(others)
        )
        latents = one_sample(bound, x, posterior_key, context)
        for level, level_key in zip(others, level_keys, strict=True):
            latents = bound.resample_level(level_key, latents, level, context)
        likelihood = bound.decode(latents, context)
        sample = likelihood.sample(seed=x_key).astype(x.dtype)
        return sample, likelihood.mean().astype(x.dtype), key

    def record(state, inputs):
        (x, mean), (count, key) = state, inputs
        x, mean, _ = jax.lax.fori_loop(0, count, step, (x, mean, key))
        return (x, mean), (x, mean)

    keys = jax.random.split(key, len(counts))
    _, recorded = jax.lax.scan(record, (examples.x, examples.x), (counts, keys))
    return jax.tree.map(lambda values: jnp.moveaxis(values, 0, 1), recorded)

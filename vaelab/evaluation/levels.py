"""The rate of each level."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.evaluation.averages import Estimate, mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.models import Model
from vaelab.models.base import Latents, check_level_exists
from vaelab.types import Array, PRNGKey


def level_rates(
    subject: Subject,
    key: PRNGKey,
    *,
    num_samples: int = 64,
    batch_size: int = 100,
    progress: Progress = iter,
) -> list[Estimate]:
    """E_x E_q[log q(z_l|·) − log p(z_l|·)] of each level l, nats, level 0 first.

    The levels' rates add up to the rate of the model. A level with a closed-form KL has it, given samples
    of the earlier levels. Other levels have the mean over `num_samples` draws. If the prior is not exact,
    the rate of its level is too high on average.

    Raises:
      UsageError: num_samples or batch_size is below 1.
    """
    check_at_least_one(num_samples=num_samples)
    rates = map_batches(
        partial(_batch_rates, subject.model, num_samples, subject.params),
        subject.inputs,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return [mean_and_error(values) for values in rates]


def checked_levels(model: Model, levels: Iterable[int]) -> tuple[int, ...]:
    """The levels in their order, each once.

    Raises:
      UsageError: there are none, or the model has no such level.
    """
    chosen = tuple(sorted(set(levels)))
    if not chosen:
        raise UsageError("levels must name at least one level, got none.")
    for level in chosen:
        check_level_exists(model, level)
    return chosen


def one_sample(bound: Model, x: Array, key: PRNGKey, context: Array | None) -> Latents:
    """One z ~ q(z|x) of each example, the levels of one sample: [B, D_l] each."""
    return tuple(z[0] for z in bound(x, key, context=context).latents)


@partial(jax.jit, static_argnums=(0, 1))
def _batch_rates(model, num_samples, params, examples, key) -> list[Array]:
    """Each level's rate, [B]."""
    terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
    return [
        jnp.mean(rate, axis=0) if kl is None else jnp.sum(kl, axis=-1)
        for rate, kl in zip(terms.rate, terms.kl, strict=True)
    ]

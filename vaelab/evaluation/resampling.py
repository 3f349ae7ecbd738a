"""What changes in an example if some of its levels are resampled from their priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evaluation.averages import Estimate, mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.levels import checked_levels, one_sample
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, PRNGKey


class ResamplingEffect(NamedTuple):
    """The effect of drawing some levels from the prior, the other levels being those of an example."""

    levels: tuple[int, ...]
    flip_rate: Estimate  # share of examples whose decoded image changes its label
    change: Estimate  # mean |x' − x''| per coordinate of the decoded means, in data units


def resampling_effect(
    subject: Subject,
    key: PRNGKey,
    classifier: Callable[[Array], Array],
    levels: Sequence[int],
    *,
    batch_size: int = 100,
    progress: Progress = iter,
) -> ResamplingEffect:
    """Decodes z ~ q(z|x_n), and z with `levels` resampled; compares labels and values of both means.

    Each of the levels is drawn from p(z_l | earlier levels), level 0 first, by `Model.resample_level`. The
    other levels stay as they are. If the likelihood reads the last level alone, an earlier level alone has
    no effect by construction: name the levels after it, too.

    Args:
      classifier: x [..., *event] -> class probabilities [..., C], and hashable.

    Raises:
      UsageError: there are no levels, or no such level, or batch_size is below 1.
    """
    chosen = checked_levels(subject.model, levels)
    flips, change = map_batches(
        partial(_compare, subject.model, classifier, chosen, subject.params),
        subject.inputs,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return ResamplingEffect(chosen, mean_and_error(flips), mean_and_error(change))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _compare(model, classifier, levels, params, examples, key) -> tuple[Array, Array]:
    """(label changed, mean absolute change), each [B]."""
    bound, context = model.at(params), examples.context
    posterior_key, *level_keys = jax.random.split(key, 1 + len(levels))
    latents = one_sample(bound, examples.x, posterior_key, context)
    before = bound.decode(latents, context).mean()
    for level, level_key in zip(levels, level_keys, strict=True):
        latents = bound.resample_level(level_key, latents, level, context)
    after = bound.decode(latents, context).mean()
    labels = jnp.argmax(classifier(jnp.stack([before, after])), axis=-1)
    change = jnp.mean(jnp.abs(after - before), axis=tuple(range(1, before.ndim)))
    return labels[0] != labels[1], change

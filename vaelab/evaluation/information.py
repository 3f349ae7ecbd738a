"""The part of the latent space that a model uses."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.one_off import one_off
from vaelab.types import Array, PRNGKey


def active_units(
    subject: Subject,
    key: PRNGKey,
    *,
    threshold: float = 0.01,
    num_samples: int = 64,
    batch_size: int = 100,
    progress: Progress = iter,
) -> list[int]:
    """The number of coordinates with Var_x E_q[z_d|x] > threshold, for each level. Burda et al., 2016.

    The inner mean is over samples, which adds Var_q[z_d|x]/K to the variance. The unbiased estimate of
    this term is subtracted. So the function works for every model that returns `Terms`.

    Raises:
      UsageError: there are fewer than two examples or samples, or batch_size is below 1.
    """
    examples = subject.examples
    if len(examples.x) < 2:
        raise UsageError(
            f"data must hold at least 2 examples to have a variance, got {len(examples.x)}."
        )
    check_at_least_one(num_samples=num_samples)
    if num_samples < 2:
        raise UsageError(f"num_samples must be at least 2, got {num_samples}.")
    moments = map_batches(
        partial(_moments, subject.model, num_samples, subject.params),
        examples,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return [
        int(np.sum(np.var(mean, axis=0, ddof=1) - np.mean(noise, axis=0) / num_samples > threshold))
        for mean, noise in moments
    ]


@partial(one_off, static_argnums=(0, 1), level=1)
def _moments(model, num_samples, params, examples, key) -> list[tuple[Array, Array]]:
    terms = model.at(params)(examples.x, key, num_samples, context=examples.context)
    return [(jnp.mean(z, axis=0), jnp.var(z, axis=0, ddof=1)) for z in terms.latents]

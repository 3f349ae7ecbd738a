"""The code of each example at each level."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UndefinedError, check_at_least_one
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, Examples, PRNGKey


class LevelCodes(NamedTuple):
    """The codes of N examples at one level."""

    values: np.ndarray  # [N, D_l] float32
    kind: str  # "mean of q", "mean of 16 samples of q", or "sample of q"


def level_codes(
    subject: Subject,
    key: PRNGKey,
    *,
    num_samples: int = 16,
    batch_size: int = 500,
    progress: Progress = iter,
) -> list[LevelCodes]:
    """E[z_l|x_n] of each example and level, level 0 first.

    The mean is that of the level's own posterior q(z_l|x). If the level has none, because it depends on
    samples of other levels, or if its mean has no closed form, it is the mean of `num_samples` draws.

    Raises:
      UsageError: num_samples or batch_size is below 1.
    """
    check_at_least_one(num_samples=num_samples)
    exact = tuple(
        _has_mean(subject, subject.inputs.take(slice(1)), level)
        for level in range(len(subject.model.latent_dims))
    )
    values = map_batches(
        partial(_means, subject.model, exact, num_samples, subject.params),
        subject.inputs,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    sampled = "sample of q" if num_samples == 1 else f"mean of {num_samples} samples of q"
    return [
        LevelCodes(z.astype(np.float32), "mean of q" if is_exact else sampled)
        for z, is_exact in zip(values, exact, strict=True)
    ]


def level_samples(
    subject: Subject, key: PRNGKey, *, batch_size: int = 500, progress: Progress = iter
) -> list[LevelCodes]:
    """One z_l ~ q(z|x_n) of each example and level, level 0 first.

    A mean shows differences that are far below the noise of the posterior. A sample does not: the samples of a
    level without rate carry nothing.
    """
    none = (False,) * len(subject.model.latent_dims)
    values = map_batches(
        partial(_means, subject.model, none, 1, subject.params),
        subject.inputs,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return [LevelCodes(z.astype(np.float32), "sample of q") for z in values]


def _has_mean(subject: Subject, one: Examples, level: int) -> bool:
    """True if q(z_level|x) is a distribution of its own with a mean in closed form."""

    def mean(params, examples):
        bound = subject.model.at(params)
        return bound.level_posterior(bound.encode(examples.x, examples.context), level).mean()

    try:
        jax.eval_shape(mean, subject.params, jax.tree.map(jnp.asarray, one))
    except (UndefinedError, NotImplementedError):  # distrax raises the second
        return False
    return True


@partial(jax.jit, static_argnums=(0, 1, 2))
def _means(model, exact, num_samples, params, examples, key) -> list[Array]:
    bound = model.at(params)
    encoding = bound.encode(examples.x, examples.context)
    sampled: tuple[Array, ...] = ()
    if not all(exact):
        sampled = bound.terms(encoding, examples.x, key, num_samples).latents
    return [
        bound.level_posterior(encoding, level).mean() if exact[level] else sampled[level].mean(0)
        for level in range(len(exact))
    ]

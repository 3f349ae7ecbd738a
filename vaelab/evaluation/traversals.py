"""Samples along one level, with the noise of all other levels fixed."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_at_least_one
from vaelab.evaluation.levels import checked_levels
from vaelab.evaluation.subject import Subject
from vaelab.models.base import Latents, with_level
from vaelab.types import Array, PRNGKey

_NUM_DRAWS = 2000  # of the level, for its quantiles
_EDGE = 0.05  # quantiles run from here to 1 − here


class Traversal(NamedTuple):
    """The decoded means of one level at different values."""

    level: int
    means: np.ndarray  # [rows, columns, *event]
    rows: str  # what differs between rows
    columns: str  # what differs from left to right


def traverse_level(
    subject: Subject, key: PRNGKey, level: int, *, num: int = 8, num_rows: int = 8
) -> Traversal:
    """Samples of the model in which one level moves through its prior p(z_l | earlier levels).

    The noise of all other levels is fixed: earlier levels are fixed, and each later level is drawn from its
    prior with the same key. So a later level follows z_l only as far as its prior depends on z_l.

    A level of one coordinate moves through the quantiles of its prior from left to right. A level of two
    coordinates moves over the grid of both coordinates' quantiles. A level of more coordinates takes
    independent draws, the same noise in each row. Each row is another sample of the model, but all of a
    grid is one. The quantiles, from 5 to 95 %, are those of draws, so the prior may be any. Of the
    subject's data only the contexts are used, one for each row.

    Raises:
      UsageError: there is no such level, or num or num_rows is below 1.
    """
    (level,) = checked_levels(subject.model, [level])
    check_at_least_one(num=num, num_rows=num_rows)
    dim, model, params = subject.model.latent_dims[level], subject.model, subject.params
    latent_key, level_key, noise_key = jax.random.split(key, 3)
    rows = []
    for index in range(num_rows if dim != 2 else 1):
        context = subject.examples.take(slice(index, index + 1)).context
        context = None if context is None else jnp.asarray(context)
        latents = _sample(model, params, context, jax.random.fold_in(latent_key, index))
        num_draws = num if dim > 2 else _NUM_DRAWS
        draws = _draws(model, level, num_draws, params, latents, context, level_key)
        z = jnp.asarray(_positions(np.asarray(draws), num), draws.dtype)
        row_key = jax.random.fold_in(noise_key, index)
        rows.append(_decode(model, level, params, latents, z, context, row_key))
    means = np.concatenate(rows)
    means = means.reshape(num if dim == 2 else num_rows, num, *means.shape[1:])
    quantiles = f"quantiles from {_EDGE:.0%} to {1 - _EDGE:.0%}"
    if dim == 2:
        return Traversal(level, means, f"coordinate 2, {quantiles}", f"coordinate 1, {quantiles}")
    columns = f"its coordinate, {quantiles}" if dim == 1 else "draws of the level"
    return Traversal(level, means, "samples of the other levels", columns)


def _positions(draws: np.ndarray, num: int) -> np.ndarray:
    """The values of the level, from draws of it: the draws, or [num or num², D] quantiles."""
    dim = draws.shape[-1]
    if dim > 2:
        return draws
    # The middle, if there is only one position.
    places = np.linspace(_EDGE, 1 - _EDGE, num) if num > 1 else np.array([0.5])
    axes = np.quantile(draws, places, axis=0, method="nearest").T
    if dim == 1:
        return axes.T
    first, second = np.meshgrid(axes[0], axes[1][::-1])  # the largest on top
    return np.stack([first.ravel(), second.ravel()], axis=-1)


@partial(jax.jit, static_argnums=0)
def _sample(model, params, context, key) -> Latents:
    return model.at(params).sample_latents(key, 1, context)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _draws(model, level, num_draws, params, latents, context, key) -> Array:
    repeated = tuple(jnp.repeat(z, num_draws, axis=0) for z in latents)
    return model.at(params).resample_level(key, repeated, level, context)[level]


@partial(jax.jit, static_argnums=(0, 1))
def _decode(model, level, params, latents, z, context, key) -> Array:
    """The means at each value of the level, [M, *event]."""

    def complete(value: Array) -> Latents:
        """Latents with this value, and later levels drawn with the same noise for each value."""
        bound, moved = model.at(params), with_level(latents, level, value[None])
        for later in range(level + 1, len(latents)):
            moved = bound.resample_level(jax.random.fold_in(key, later), moved, later, context)
        return tuple(each[0] for each in moved)

    return model.at(params).decode(jax.vmap(complete)(z), context).mean()

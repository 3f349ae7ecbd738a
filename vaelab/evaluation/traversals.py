"""Images along one level, all other levels fixed."""

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
from vaelab.types import Array, Examples, PRNGKey

_NUM_DRAWS = 2000  # of the level, for its quantiles
_EDGE = 0.05  # quantiles run from here to 1 − here


class Traversal(NamedTuple):
    """The decoded means of one level at different values, the other levels fixed."""

    level: int
    means: np.ndarray  # [rows, columns, *event]
    rows: str  # what differs between rows
    columns: str  # what differs from left to right


def traverse_level(subject: Subject, key: PRNGKey, level: int, *, num: int = 8) -> Traversal:
    """z ~ q(z|x) of some examples, with one level moved through its prior p(z_l | earlier levels).

    A level of one coordinate moves through the quantiles of its prior from left to right, and each example
    is a row. A level of two coordinates moves over the grid of both coordinates' quantiles, for the first
    example. A level of more coordinates takes independent draws, the same noise in each row. The quantiles,
    from 5 to 95 %, are those of draws, so the prior may be any.

    Raises:
      UsageError: there is no such level, or num is below 1.
    """
    (level,) = checked_levels(subject.model, [level])
    check_at_least_one(num=num)
    dim = subject.model.latent_dims[level]
    examples = subject.examples._replace(labels=None, groups=None)
    latent_key, level_key = jax.random.split(key)
    rows = []
    for index in range(len(examples.x) if dim != 2 else 1):
        one = jax.tree.map(jnp.asarray, examples.take(slice(index, index + 1)))
        latents = _posterior_sample(subject.model, subject.params, one, latent_key)
        z = _positions(subject, latents, level, num, one, level_key)
        rows.append(_decode(subject.model, level, subject.params, latents, z, one))
    means = np.concatenate(rows)
    means = means.reshape(num if dim == 2 else len(rows), num, *means.shape[1:])
    quantiles = f"quantiles from {_EDGE:.0%} to {1 - _EDGE:.0%}"
    if dim == 2:
        return Traversal(level, means, f"coordinate 2, {quantiles}", f"coordinate 1, {quantiles}")
    columns = f"its coordinate, {quantiles}" if dim == 1 else "independent draws of the level"
    return Traversal(level, means, "examples", columns)


def _positions(
    subject: Subject, latents: Latents, level: int, num: int, one: Examples, key: PRNGKey
) -> np.ndarray:
    """The values of the level, [num or num², D]."""
    dim = subject.model.latent_dims[level]
    num_draws = num if dim > 2 else _NUM_DRAWS
    draws = _draws(subject.model, level, num_draws, subject.params, latents, one, key)
    if dim > 2:
        return np.asarray(draws)
    # The middle, if there is only one position.
    places = np.linspace(_EDGE, 1 - _EDGE, num) if num > 1 else np.array([0.5])
    axes = np.quantile(np.asarray(draws), places, axis=0).T
    if dim == 1:
        return axes.T
    first, second = np.meshgrid(axes[0], axes[1][::-1])  # the largest on top
    return np.stack([first.ravel(), second.ravel()], axis=-1)


@partial(jax.jit, static_argnums=0)
def _posterior_sample(model, params, one, key) -> Latents:
    terms = model.at(params)(one.x, key, context=one.context)
    return tuple(z[0] for z in terms.latents)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _draws(model, level, num_draws, params, latents, one, key) -> Array:
    repeated = tuple(jnp.repeat(z, num_draws, axis=0) for z in latents)
    return model.at(params).resample_level(key, repeated, level, one.context)[level]


@partial(jax.jit, static_argnums=(0, 1))
def _decode(model, level, params, latents, z, one) -> Array:
    repeated = tuple(jnp.repeat(each, len(z), axis=0) for each in latents)
    latents = with_level(repeated, level, z.astype(repeated[level].dtype))
    return model.at(params).decode(latents, one.context).mean()

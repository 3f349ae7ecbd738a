"""A function over a whole data set, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one
from vaelab.types import PRNGKey, PyTree


class Progress(Protocol):
    """Wraps the batches of an evaluation, for example `rich.progress.track`."""

    def __call__(self, batches: Sequence[int], /) -> Iterable[int]: ...


def map_batches(
    function: Callable[[Any, PRNGKey], PyTree],
    data: PyTree,
    key: PRNGKey,
    *,
    batch_size: int,
    progress: Progress = iter,
) -> PyTree:
    """function(batch, key) -> tree of [batch_size, ...], over all of the data: float64, [N, ...].

    The data are an array [N, ...], or a tree of such arrays, `Examples` for instance.

    Each batch has a key of its own, folded from `key` and its number, so noise depends on the batch
    size. The last batch is filled up with copies of its last example, so that one compiled program
    serves all; their results are dropped.

    >>> map_batches(lambda x, key: 2 * x, np.arange(3), jax.random.key(0), batch_size=2)
    array([0., 2., 4.])
    """
    size = len(jax.tree.leaves(data)[0])
    _check_not_empty(size)
    check_at_least_one(batch_size=batch_size)
    parts: list[PyTree] = []
    pending: tuple[PyTree, int] | None = None

    def fetch(values: PyTree, kept: int) -> None:
        parts.append(jax.tree.map(lambda v: np.asarray(v, np.float64)[:kept], values))

    for index in progress(range(-(-size // batch_size))):
        start = index * batch_size
        rows = np.minimum(np.arange(start, start + batch_size), size - 1)
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), data)  # noqa: B023
        values = function(batch, jax.random.fold_in(key, index))
        if pending is not None:  # one batch late, so that the device never waits for the host
            fetch(*pending)
        pending = values, min(batch_size, size - start)
    assert pending is not None  # there are data
    fetch(*pending)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def even_draws(key: PRNGKey, num_draws: int, num_inputs: int) -> np.ndarray:
    """Random inputs, each ⌊num_draws/N⌋ or ⌈num_draws/N⌉ times, [num_draws].

    The variance between inputs hardly counts in a mean over such draws; see
    `averages.stratified_mean_and_error`.
    """
    _check_not_empty(num_inputs)
    keys = jax.random.split(key, -(-num_draws // num_inputs))
    rounds = [jax.random.permutation(key, num_inputs) for key in keys]
    return np.concatenate(rounds)[:num_draws]


def _check_not_empty(size: int) -> None:
    if size == 0:
        raise UsageError("the data are empty: there is nothing to evaluate.")

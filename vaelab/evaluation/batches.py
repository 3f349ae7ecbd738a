"""A function over a whole data set, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.types import Array, PRNGKey, PyTree


class Progress(Protocol):
    """Wraps the batches of an evaluation, for example `rich.progress.track`."""

    def __call__(self, batches: Sequence[int], /) -> Iterable[int]: ...


def map_batches(
    function: Callable[[Array, PRNGKey], PyTree],
    x: np.ndarray | Array,
    key: PRNGKey,
    *,
    batch_size: int,
    progress: Progress = iter,
) -> PyTree:
    """function(batch, key) -> tree of [batch_size, ...], over all of x [N, ...]: float64, [N, ...].

    Each batch has a key of its own, folded from `key` and its number, so noise depends on the batch
    size. The last batch is filled up with copies of its last example, so that one compiled program
    serves all; their results are dropped.

    >>> map_batches(lambda x, key: 2 * x, np.arange(3), jax.random.key(0), batch_size=2)
    array([0., 2., 4.])
    """
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to evaluate.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    parts = []
    for index in progress(range(-(-len(x) // batch_size))):
        start = index * batch_size
        rows = np.minimum(np.arange(start, start + batch_size), len(x) - 1)
        values = function(jnp.asarray(x[rows]), jax.random.fold_in(key, index))
        size = min(batch_size, len(x) - start)
        parts.append(jax.tree.map(lambda v: np.asarray(v, np.float64)[:size], values))  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

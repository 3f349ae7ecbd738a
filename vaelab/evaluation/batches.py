"""A data set in batches of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from vaelab.types import Array


class Progress(Protocol):
    """Wraps the batches of an evaluation, for example `rich.progress.track`."""

    def __call__(self, batches: Sequence[int], /) -> Iterable[int]: ...


def batches(
    x: np.ndarray | Array, batch_size: int, progress: Progress = iter
) -> Iterator[tuple[int, Array, int]]:
    """Yields (index, batch [batch_size, ...], number of real examples in it).

    The last batch is filled up with copies of its last example, so that one compiled program serves
    all; the caller keeps the first `number` results.

    >>> [(i, b.tolist(), n) for i, b, n in batches(np.arange(3), 2)]
    [(0, [0, 1], 2), (1, [2, 2], 1)]
    """
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to evaluate.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    for index in progress(range(-(-len(x) // batch_size))):
        start = index * batch_size
        rows = np.minimum(np.arange(start, start + batch_size), len(x) - 1)
        yield index, jnp.asarray(x[rows]), min(batch_size, len(x) - start)

"""A function over a data set, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax
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
    """function(batch, key) -> tree of [batch_size, ...], over all data: float64, [N, ...].

    The data are an array [N, ...] or a tree of such arrays, for example `Examples`.

    Each batch has its own key, folded from `key` and the number of the batch, so the noise depends on
    the batch size. The last batch is filled with copies of its last example, so that one compiled
    program is enough. The results of the copies are dropped.

    Raises:
      UsageError: the data are empty, batch_size is below 1, or a batch does not fit into memory.
      KeyboardInterrupt: its message says how many batches were finished.

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

    with explained(batch_size) as count:
        for index in count(progress(range(-(-size // batch_size)))):
            start = index * batch_size
            rows = np.minimum(np.arange(start, start + batch_size), size - 1)
            batch = jax.tree.map(lambda leaf: jax.device_put(leaf[rows]), data)  # noqa: B023
            values = function(batch, jax.random.fold_in(key, index))
            if pending is not None:  # one batch late, so that the device does not wait for the host
                fetch(*pending)
            pending = values, min(batch_size, size - start)
        assert pending is not None  # there are data
        fetch(*pending)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@contextlib.contextmanager
def explained(batch_size: int) -> Iterator[Callable[[Iterable[int]], Iterator[int]]]:
    """Gives an interrupt and a lack of memory a message. Wrap the batches in the function that it yields."""
    done = 0

    def count(batches: Iterable[int]) -> Iterator[int]:
        nonlocal done
        for index in batches:
            yield index
            done += 1

    try:
        yield count
    except KeyboardInterrupt:
        batches = "1 batch" if done == 1 else f"{done} batches"
        raise KeyboardInterrupt(
            f"the evaluation was interrupted after {batches} of {batch_size}, and has no result."
        ) from None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UsageError(
            f"a batch with batch_size = {batch_size} does not fit into memory: decrease batch_size, "
            "chunk_size or the number of samples."
        ) from error


def even_draws(key: PRNGKey, num_draws: int, num_inputs: int) -> np.ndarray:
    """Random inputs, each ⌊num_draws/N⌋ or ⌈num_draws/N⌉ times, [num_draws].

    A mean over such draws has little of the variance between inputs, see
    `averages.stratified_mean_and_error`.
    """
    _check_not_empty(num_inputs)
    keys = jax.random.split(key, -(-num_draws // num_inputs))
    rounds = [jax.random.permutation(key, num_inputs) for key in keys]
    return np.concatenate(rounds)[:num_draws]


def _check_not_empty(size: int) -> None:
    if size == 0:
        raise UsageError("the data are empty: there is nothing to evaluate.")

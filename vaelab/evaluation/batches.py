"""A function over a data set, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, out_of_memory
from vaelab.evaluation import spreading
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
    values = each_batch(function, data, key, batch_size=batch_size, progress=progress)
    size = len(jax.tree.leaves(data)[0])
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:size], values)


def each_batch(
    function: Callable[[Any, PRNGKey], PyTree],
    data: PyTree,
    key: PRNGKey,
    *,
    batch_size: int,
    progress: Progress = iter,
) -> PyTree:
    """function(batch, key) -> any tree, of each batch: float64, [number of batches, ...].

    Batches and keys are those of `map_batches`. The devices of all processes evaluate one batch each at
    the same time, and every process returns all results.
    """
    size = len(jax.tree.leaves(data)[0])
    _check_not_empty(size)
    check_at_least_one(batch_size=batch_size)
    num_batches, at_once = -(-size // batch_size), spreading.num_places()
    rounds: list[PyTree] = []
    pending: PyTree = None

    with explained(batch_size, at_once) as count:
        for first in count(progress(range(0, num_batches, at_once))):
            own = [min(first + place, num_batches - 1) for place in spreading.own_places()]
            keys = [jax.random.fold_in(key, index) for index in own]
            values = spreading.call(
                function, [take_batch(data, index, batch_size) for index in own], keys
            )
            if pending is not None:  # one round late, so that the device does not wait for the host
                rounds.append(jax.tree.map(np.asarray, pending))
            pending = values
        rounds.append(jax.tree.map(np.asarray, pending))
    values = spreading.gathered(jax.tree.map(lambda *leaves: np.stack(leaves), *rounds))
    return jax.tree.map(lambda leaf: leaf[:num_batches].astype(np.float64), values)


def take_batch(data: PyTree, index: int, batch_size: int) -> PyTree:
    """A batch of the data on the device, filled with copies of the last example."""
    size = len(jax.tree.leaves(data)[0])
    rows = np.minimum(np.arange(index * batch_size, (index + 1) * batch_size), size - 1)
    return jax.tree.map(lambda leaf: jax.device_put(leaf[rows]), data)


@contextlib.contextmanager
def explained(
    batch_size: int, at_once: int = 1
) -> Iterator[Callable[[Iterable[int]], Iterator[int]]]:
    """Gives an interrupt and a lack of memory a message. Wrap the batches in the function that it yields."""
    done = 0

    def count(batches: Iterable[int]) -> Iterator[int]:
        nonlocal done
        for index in batches:
            yield index
            done += at_once

    try:
        yield count
    except KeyboardInterrupt:
        batches = "1 batch" if done == 1 else f"{done} batches"
        raise KeyboardInterrupt(
            f"the evaluation was interrupted after {batches} of {batch_size}, and has no result."
        ) from None
    except jax.errors.JaxRuntimeError as error:
        if not out_of_memory(error):
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

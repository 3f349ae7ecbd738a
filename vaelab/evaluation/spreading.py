"""Evaluations on all devices of all processes: each batch on one device. So the numbers stay the same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vaelab import processes
from vaelab.types import PRNGKey, PyTree


@functools.lru_cache(maxsize=1)
def _mesh(devices: tuple[jax.Device, ...]) -> Mesh:
    return Mesh(np.array(devices), ("batches",), axis_types=(AxisType.Auto,))


def _sharding(*axes: str) -> NamedSharding:
    return NamedSharding(_mesh(tuple(jax.local_devices())), PartitionSpec(*axes))


def spread(tree: PyTree) -> PyTree:
    """The arrays on every device of this process; on a single device as they are."""
    if jax.local_device_count() == 1:
        return tree
    return jax.device_put(tree, _sharding())


def num_places() -> int:
    """Number of batches that are evaluated at once, in all processes together."""
    return jax.local_device_count() * processes.count()


def own_places() -> range:
    """Which of these batches this process evaluates."""
    number = jax.local_device_count()
    first = jax.process_index() * number if processes.count() > 1 else 0
    return range(first, first + number)


def call(
    function: Callable[[Any, PRNGKey], PyTree], batches: list[PyTree], keys: list[PRNGKey]
) -> PyTree:
    """function(batch, key) of one batch for each device of this process: tree of [devices, ...]."""
    if len(batches) == 1:
        return jax.tree.map(lambda leaf: leaf[None], function(batches[0], keys[0]))
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    placed = jax.device_put((together, jax.numpy.stack(keys)), _sharding("batches"))
    return jax.vmap(function)(*placed)


def gathered(values: PyTree) -> PyTree:
    """Values [rounds, devices, ...] of each process as [all batches in their order, ...]."""

    def of_all(leaf: np.ndarray) -> np.ndarray:
        every = np.moveaxis(processes.gather(leaf), 0, 1)  # [rounds, processes, devices, ...]
        return every.reshape(-1, *leaf.shape[2:])

    return jax.tree.map(of_all, values)

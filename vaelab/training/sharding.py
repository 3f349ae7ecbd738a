"""The mesh of devices, and where arrays lie on it. A mesh may span several processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from vaelab import processes
from vaelab.checks import UsageError
from vaelab.types import PyTree

_SMALLEST_SPLIT = 4096
"""Arrays of fewer elements stay whole: splitting them costs more than it saves."""


def make_mesh(*, sweep: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes `sweep` (members of a sweep) and `data` (examples of a batch).

    One device gives a mesh of size 1.

    Raises:
      UsageError: `sweep` does not divide the number of devices.

    >>> make_mesh(devices=jax.devices()[:1]).axis_names
    ('sweep', 'data')
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % sweep:
        raise UsageError(f"sweep = {sweep} must divide the number of devices, {len(devices)}.")
    shape = (sweep, len(devices) // sweep)
    types = (AxisType.Auto, AxisType.Auto)  # the compiler places what the step does not place
    if (
        len(devices) < jax.device_count()
    ):  # the order that fits the network is known for all devices
        return Mesh(np.array(devices).reshape(shape), ("sweep", "data"), axis_types=types)
    return jax.make_mesh(shape, ("sweep", "data"), types, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that keeps a whole array on every device of the mesh."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """A copy of every array on every device of the mesh."""
    return place(tree, replicated(mesh))


def state_shardings(shapes: PyTree, mesh: Mesh, *, members: bool, sharded: bool) -> PyTree:
    """The sharding of each array of a state.

    Args:
      shapes: the state, or its shapes.
      mesh: the devices.
      members: True if the first axis of each array is that of members, who are split over `sweep`.
      sharded: True splits the longest axis that can be divided over `data`. Small arrays stay whole.
    """

    def sharding(leaf: Any) -> NamedSharding:
        first = int(members)
        spec: list[str | None] = ["sweep"] if members else []
        rest = leaf.shape[first:]
        parts = mesh.shape["data"]
        axes = [axis for axis, size in enumerate(rest) if size % parts == 0]
        if sharded and axes and math.prod(rest) >= _SMALLEST_SPLIT:
            longest = max(axes, key=lambda axis: rest[axis])
            spec += [None] * longest + ["data"]
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(sharding, shapes)


def place(tree: PyTree, shardings: Sharding | PyTree) -> PyTree:
    """A copy of every array with this sharding, or with the shardings of a tree of the same structure.

    If the devices belong to several processes, every process calls it with equal arrays.
    """
    if processes.count() == 1:
        return jax.device_put(tree, shardings, may_alias=False)
    if isinstance(shardings, Sharding):
        return jax.tree.map(lambda leaf: _placed(leaf, shardings), tree)
    return jax.tree.map(_placed, tree, shardings)


def _placed(leaf: Any, sharding: Sharding) -> jax.Array:
    if _is_key(leaf):
        data = _placed(jax.random.key_data(leaf), sharding)
        return _of_key_data(jax.random.key_impl(leaf))(data)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if leaf.sharding.device_set == sharding.device_set:
            return jax.jit(jnp.copy, out_shardings=sharding)(leaf)
        leaf = fetch(leaf)
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetch(tree: PyTree) -> PyTree:
    """Every array on the host, also one of which this process holds a part. Keys stay keys.

    Every process calls it with the same arrays.
    """
    return jax.tree.map(_fetched, tree)


def _fetched(leaf: Any) -> Any:
    if _is_key(leaf):
        return _of_key_data(jax.random.key_impl(leaf))(_fetched(jax.random.key_data(leaf)))
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def local(tree: PyTree) -> PyTree:
    """Every array whole on the devices of this process, for evaluations. Whole arrays are returned as they are.

    Every process calls it with the same arrays.
    """
    if processes.count() > 1:
        return jax.tree.map(lambda leaf: leaf if _is_key(leaf) else jnp.asarray(leaf), fetch(tree))
    return jax.tree.map(_whole, tree)


def _whole(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        return jnp.asarray(leaf)
    if leaf.is_fully_replicated:
        return leaf
    return jax.device_put(leaf, replicated(leaf.sharding.mesh))  # type: ignore[attr-defined]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _of_key_data(implementation: Any) -> Callable[[Any], jax.Array]:
    return jax.jit(lambda data: jax.random.wrap_key_data(data, impl=implementation))

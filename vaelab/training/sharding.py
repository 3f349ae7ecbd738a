"""The mesh of devices."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vaelab.checks import UsageError
from vaelab.types import PyTree


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
    return jax.device_put(tree, replicated(mesh), may_alias=False)

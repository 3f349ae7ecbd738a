"""Forward kinematics: positions of joints from angles."""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vaelab.data.mocap.skeleton import Skeleton
from vaelab.types import Array

# Turns about x, y and z: K v = e × v for each unit vector e.
_CROSS = np.float32(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ]
)


def joint_positions(skeleton: Skeleton, channels: Array) -> Array:
    """Positions of all joints. channels [..., C] with angles in degrees -> [..., J, 3] in units of the skeleton.

    Bone j turns by `R_j = R_parent C_j M_j C_jᵀ`: M_j holds the turns of the channels, first turn on the
    right, and C_j those of the bone's axis. The joint is at `p_j = p_parent + R_j offset_j`. The y axis points
    upwards in the files of CMU.

    >>> from vaelab.data.mocap.skeleton import Bone
    >>> root = Bone("root", -1, (0, 0, 0), (0, 0, 0), "xyz", ())
    >>> arm = Bone("arm", 0, (1, 0, 0), (0, 0, 0), "xyz", ("rz",))
    >>> joint_positions(Skeleton((root, arm)), jnp.array([90.0]))[1].round(3).tolist()
    [0.0, 1.0, 0.0]
    """
    layout = _layout(skeleton)
    chex.assert_axis_dimension(channels, -1, len(skeleton.channels))
    with_zero = jnp.concatenate([channels, jnp.zeros_like(channels[..., :1])], axis=-1)
    turns = _turns(with_zero[..., layout.angles], layout.order)
    local = layout.axes @ turns @ layout.axes.mT
    # TPUs and some GPUs multiply matrices in fewer bits unless told otherwise.
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    rotations = [local[..., 0, :, :]]
    positions = [layout.offsets[0] + with_zero[..., layout.translations]]
    for joint, bone in enumerate(skeleton.bones[1:], 1):
        rotations.append(product(rotations[bone.parent], local[..., joint, :, :]))
        positions.append(positions[bone.parent] + product(rotations[joint], layout.offsets[joint]))
    return jnp.stack(positions, axis=-2)


class _Layout(NamedTuple):
    angles: (
        np.ndarray
    )  # [J, 3], channel of each turn in the bone's order; C if the bone does not turn so
    order: np.ndarray  # [J, 3], 0, 1 or 2: the turn is about x, y or z
    translations: np.ndarray  # [3], channels of the root's position; C if it has none
    axes: np.ndarray  # [J, 3, 3], C_j
    offsets: np.ndarray  # [J, 3]


@functools.lru_cache
def _layout(skeleton: Skeleton) -> _Layout:
    place = {channel: number for number, channel in enumerate(skeleton.channels)}
    bones, last = skeleton.bones, len(place)
    order = np.array([["xyz".index(letter) for letter in bone.order] for bone in bones])
    angles = [[place.get((b.name, f"r{letter}"), last) for letter in b.order] for b in bones]
    axis = np.take_along_axis(np.float32([bone.axis for bone in bones]), order, axis=1)
    with jax.ensure_compile_time_eval():
        axes = np.asarray(_turns(jnp.asarray(axis), order))
    return _Layout(
        np.array(angles),
        order,
        np.array([place.get((bones[0].name, f"t{letter}"), last) for letter in "xyz"]),
        axes,
        np.float32([bone.offset for bone in bones]),
    )


def _turns(degrees: Array, order: np.ndarray) -> Array:
    """Three turns about coordinate axes, the first on the right. [..., J, 3] -> [..., J, 3, 3]."""
    angle = jnp.deg2rad(degrees)[..., None, None]
    cross = _CROSS[order]  # [J, 3, 3, 3]
    single = jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    first, second, third = (single[..., turn, :, :] for turn in range(3))
    return product(third, product(second, first))

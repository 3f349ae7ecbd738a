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
_CROSS = np.array(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    np.float32,
)


@functools.partial(jax.jit, static_argnums=0)
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
    rotations = _product(layout.axes, _product(turns, layout.axes.mT))
    for ancestors in layout.ancestors:  # each round doubles the number of factors
        with_one = jnp.concatenate(
            [rotations, jnp.broadcast_to(jnp.eye(3), (*rotations.shape[:-3], 1, 3, 3))], axis=-3
        )
        rotations = _product(with_one[..., ancestors, :, :], rotations)
    bones = _product(rotations, layout.offsets[..., None])[..., 0]
    root = layout.offsets[0] + with_zero[..., None, layout.translations]
    return root + _product(layout.chains, bones.at[..., 0, :].set(0.0))


class _Layout(NamedTuple):
    angles: np.ndarray  # [J, 3], channel of each turn, in the bone's order; C: no such channel
    order: np.ndarray  # [J, 3], 0, 1 or 2: the turn is about x, y or z
    translations: np.ndarray  # [3], channels of the root's position; C: no such channel
    axes: np.ndarray  # [J, 3, 3], C_j
    offsets: np.ndarray  # [J, 3]
    ancestors: tuple[np.ndarray, ...]  # [J], the ancestors 1, 2, 4, ... generations before; J: none
    chains: np.ndarray  # [J, J], 1 for each bone from the root to the joint


@functools.lru_cache
def _layout(skeleton: Skeleton) -> _Layout:
    place = {channel: number for number, channel in enumerate(skeleton.channels)}
    bones, last = skeleton.bones, len(place)
    order = np.array([["xyz".index(letter) for letter in bone.order] for bone in bones], np.int32)
    angles = [[place.get((b.name, f"r{letter}"), last) for letter in b.order] for b in bones]
    axis = np.take_along_axis(np.array([bone.axis for bone in bones], np.float32), order, axis=1)
    with jax.ensure_compile_time_eval():
        axes = np.asarray(_turns(jnp.asarray(axis), order))
    parents = np.array([bone.parent for bone in bones], np.int32)
    chains = np.eye(len(bones), dtype=np.float32)
    for joint, parent in enumerate(parents[1:], 1):
        chains[joint] += chains[parent]
    none = np.int32(len(bones))
    ancestors = [np.append(np.where(parents < 0, none, parents), none)]
    while (ancestors[-1] < none).any():
        ancestors.append(ancestors[-1][ancestors[-1]])
    return _Layout(
        np.array(angles, np.int32),
        order,
        np.array([place.get((bones[0].name, f"t{letter}"), last) for letter in "xyz"], np.int32),
        axes,
        np.array([bone.offset for bone in bones], np.float32),
        tuple(each[:-1] for each in ancestors[:-1]),
        chains,
    )


def _turns(degrees: Array, order: np.ndarray) -> Array:
    """Three turns about coordinate axes, the first on the right. [..., J, 3] -> [..., J, 3, 3]."""
    angle = jnp.deg2rad(degrees)[..., None, None]
    cross = _CROSS[order]  # [J, 3, 3, 3]
    single = jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)
    first, second, third = (single[..., turn, :, :] for turn in range(3))
    return _product(third, _product(second, first))


def _product(a: Array | np.ndarray, b: Array | np.ndarray) -> Array:
    """The product of matrices. The default precision of TPUs and some GPUs has fewer bits."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

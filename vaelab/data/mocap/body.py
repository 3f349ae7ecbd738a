"""A body: poses from the angles that vary in a data set."""

from __future__ import annotations

import math
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError
from vaelab.data.mocap.kinematics import joint_positions
from vaelab.data.mocap.skeleton import Skeleton
from vaelab.types import Array

_STILL = 1e-6  # degrees; channels that do not move have rounding errors of 1e-14


class Body(NamedTuple):
    """A skeleton, and the angles that are the coordinates of an event."""

    skeleton: Skeleton
    varying: np.ndarray  # [D] int32, the channel of each coordinate
    others: (
        np.ndarray
    )  # [C] float32, values of the other channels, and 0 in place of those that vary

    @classmethod
    def of(cls, skeleton: Skeleton, channels: np.ndarray) -> Body:
        """The body whose events are the angles that vary in channels [N, C]. The root's channels are 0.

        Raises:
          UsageError: no angle varies.
        """
        root = np.array([bone == skeleton.names[0] for bone, _ in skeleton.channels])
        moves = (np.ptp(channels, axis=0) > _STILL) & ~root
        if not moves.any():
            raise UsageError(
                "no angle of the training part varies: give clips in which the body moves."
            )
        others = np.where(moves | root, 0.0, channels[0])
        return cls(skeleton, np.flatnonzero(moves).astype(np.int32), others.astype(np.float32))

    @property
    def coordinates(self) -> tuple[tuple[str, str], ...]:
        """Bone and degree of freedom of each coordinate of an event, [D]."""
        return tuple(self.skeleton.channels[channel] for channel in self.varying)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Joints at the beginning and the end of each bone."""
        return self.skeleton.pairs

    @property
    def reach(self) -> float:
        """Largest distance from the root that a joint can have."""
        distances = [0.0]
        for bone in self.skeleton.bones[1:]:
            distances.append(distances[bone.parent] + math.hypot(*bone.offset))
        return max(distances)

    def poses(self, events: Array) -> Array:
        """Positions of all joints, the root at its place of rest. [..., D] in degrees -> [..., J, 3]."""
        chex.assert_axis_dimension(events, -1, len(self.varying))
        channels = jnp.broadcast_to(self.others, (*events.shape[:-1], len(self.others)))
        return joint_positions(self.skeleton, channels.at[..., self.varying].set(events))

"""Poses of a skeleton as lines in the plane, seen from one side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize

from vaelab.checks import UsageError
from vaelab.plotting.style import INK

# From the farthest bone to the nearest one.
_DEPTHS = LinearSegmentedColormap.from_list("depths", ["#a9a9a9", "#5a5a5a", INK])


class Projected(NamedTuple):
    """Poses in the plane of the viewer."""

    joints: np.ndarray  # [..., J, 2], to the right and upwards
    depths: np.ndarray  # [..., J], larger is nearer to the viewer


class Window(NamedTuple):
    """The rectangle that holds every pose, in the units of the joints."""

    left: float
    right: float
    bottom: float
    top: float


def project(poses: np.ndarray, azimuth: float, elevation: float = 8.0) -> Projected:
    """Poses [..., J, 3], y upwards, seen from afar. Angles in degrees.

    With azimuth 0 the viewer is on the z axis, and sees x to the right. A positive azimuth turns the
    skeleton counter-clockwise as seen from above. Joint 0 stays in the middle, but keeps its height.

    >>> project(np.array([[0.0, 1, 0], [1, 1, 0]]), azimuth=0, elevation=0).joints.tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    x, y, z = np.moveaxis(poses - poses[..., :1, :] * [1.0, 0.0, 1.0], -1, 0)
    turn, tilt = np.deg2rad([azimuth, elevation])
    right, towards = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    up = y * np.cos(tilt) - towards * np.sin(tilt)
    depths = y * np.sin(tilt) + towards * np.cos(tilt)
    return Projected(np.stack([right, up], -1), depths - depths[..., :1])


def window(joints: np.ndarray) -> Window:
    """The smallest rectangle around all joints [..., 2], with a margin of 4 % of its height."""
    (left, bottom), (right, top) = joints.reshape(-1, 2).min(0), joints.reshape(-1, 2).max(0)
    margin = 0.04 * max(top - bottom, right - left, 1e-6)
    return Window(left - margin, right + margin, bottom - margin, top + margin)


def bone_lines(
    joints: np.ndarray,
    depths: np.ndarray,
    bones: np.ndarray,
    reach: tuple[float, float],
    linewidth: float,
) -> LineCollection:
    """The bones of poses, near ones darker and above far ones.

    joints [N, J, 2], depths [N, J], bones [B, 2]. `reach` holds the depths of the lightest and darkest bones.
    """
    segments = joints[:, bones].reshape(-1, 2, 2)
    depth = depths[:, bones].mean(-1).ravel()
    order = np.argsort(depth, kind="stable")
    lines = LineCollection(
        list(segments[order]), cmap=_DEPTHS, norm=Normalize(*reach), linewidths=linewidth,
        capstyle="round", zorder=3,
    )  # fmt: skip
    lines.set_array(depth[order])
    return lines


def checked_poses(poses: npt.ArrayLike, bones: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Poses [R, T, J, 3] and bones [B, 2].

    Raises:
      UsageError: other shapes, no rows or frames, joints that are not finite, or bones that name no joint.
    """
    joints, pairs = np.asarray(poses, float), np.asarray(bones)
    if joints.ndim != 4 or joints.shape[-1] != 3 or not joints.size:
        raise UsageError(f"poses must be [R, T, J, 3], got the shape {joints.shape}.")
    if not np.isfinite(joints).all():
        row, frame = np.argwhere(~np.isfinite(joints).all((2, 3)))[0].tolist()
        raise UsageError(f"poses must be finite, got NaN or infinity in row {row}, frame {frame}.")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise UsageError(
            f"bones must be pairs of joints, integers [B, 2], got {pairs.dtype} of the shape "
            f"{pairs.shape}."
        )
    num_joints = joints.shape[2]
    if pairs.size and not (pairs.min() >= 0 and pairs.max() < num_joints):
        raise UsageError(
            f"bones must name joints from 0 to {num_joints - 1}, got {pairs.min()} to {pairs.max()}."
        )
    return joints, pairs

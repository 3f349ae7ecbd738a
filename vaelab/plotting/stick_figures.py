"""Motions as strips of stick figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.plotting.figure import one_panel
from vaelab.plotting.poses import bone_lines, checked_poses, project, window
from vaelab.plotting.strips import (
    NOTE,
    checked_jumps,
    checked_labels,
    clear_axes,
    draw_box,
    jump_spans,
    label_rows,
    label_width,
    shown_frames,
)
from vaelab.plotting.style import INK

_WIDTH = 11.0  # of a new figure, in inches
_SMALLEST = 6.0  # width for the figures of a row beside long labels


def stick_figures(
    poses: npt.ArrayLike,
    bones: npt.ArrayLike,
    *,
    jumps: npt.ArrayLike | None = None,
    row_labels: Sequence[str] = (),
    columns: int = 14,
    azimuth: float = 35.0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Motions as strips of stick figures, one motion in each row, time from left to right.

    What to see: a smooth motion changes little from figure to figure. A blue box marks a jump: a step
    that is too large for a person. A figure with crossed or folded limbs is no human pose. All figures
    have one scale and one view. Bones that are nearer to the viewer are darker.

    Args:
      poses: [R, T, J, 3], the joints of R motions with T frames, y upwards.
      bones: [B, 2], the two joints of each bone.
      jumps: [R, T − 1], True for a jump between the frames t and t + 1. None marks nothing.
      row_labels: one for each motion, or none.
      columns: the largest number of figures in a row. They are evenly spaced frames. A box is around
        neighbours if there is a jump anywhere between them.
      azimuth: the angle in degrees by which the skeleton turns about its vertical axis.
      title: a line above all rows.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: shapes do not fit, joints are not finite, or bones name no joint.

    >>> poses = np.zeros((2, 30, 3, 3)) + [[0, 0, 0], [0, 1, 0], [1, 2, 0]]
    >>> figure = stick_figures(poses, [[0, 1], [1, 2]], columns=10)
    >>> len(figure.axes[0].collections[0].get_segments())  # 2 rows of 10 figures with 2 bones
    40
    """
    joints, pairs = checked_poses(poses, bones)
    num_rows, num_frames = joints.shape[:2]
    marked = checked_jumps(jumps, num_rows, num_frames)
    labels = checked_labels("row_labels", row_labels, num_rows)
    frames = shown_frames(num_frames, columns)

    flat = project(joints[:, frames], azimuth)
    box = window(flat.joints)
    width, height = box.right - box.left, box.top - box.bottom
    # Rows from top to bottom. The origin of a figure is the lower left corner of its cell.
    place = np.stack(
        np.broadcast_arrays(
            width * np.arange(len(frames)), height * np.arange(num_rows)[::-1, None]
        ),
        -1,
    )
    moved = flat.joints - [box.left, box.bottom] + place[:, :, None]

    left = 0.3 + label_width(labels)
    total = max(_WIDTH, left + _SMALLEST)
    inches = (total - left) / (len(frames) * width)
    figure, axes = one_panel(
        ax, (total, num_rows * height * inches + 0.25 + 0.3 * bool(title) + 0.2 * marked.any())
    )
    reach = float(flat.depths.min()), float(flat.depths.max())
    num_joints = joints.shape[2]
    axes.add_collection(
        bone_lines(moved.reshape(-1, num_joints, 2), flat.depths.reshape(-1, num_joints), pairs,
                   reach, linewidth=1.3)
    )  # fmt: skip
    for row in range(num_rows):
        for first, last in jump_spans(marked[row], frames):
            draw_box(
                axes, (first + 0.02) * width, place[row, 0, 1] + 0.01 * height,
                (last - first + 0.96) * width, 0.98 * height,
            )  # fmt: skip
    axes.set(xlim=(0, len(frames) * width), ylim=(0, num_rows * height), aspect="equal")
    if ax is None:
        axes.set_anchor("W")  # labels keep their place if the height limits the size
    clear_axes(axes, NOTE if marked.any() else "")
    label_rows(axes, [height * (num_rows - row - 0.5) for row in range(num_rows)], labels)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    return figure

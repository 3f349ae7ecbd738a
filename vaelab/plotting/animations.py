"""Motions as frames of an animation: stick figures, and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.canvas import checked_images
from vaelab.plotting.poses import bone_lines, checked_poses, project, window
from vaelab.plotting.strips import JUMP, checked_jumps, checked_labels
from vaelab.plotting.style import INK

_DPI, _PANEL, _HEAD, _GAP = 100, 1.9, 0.3, 0.12  # sizes in inches


def animate_stick_figures(
    poses: npt.ArrayLike,
    bones: npt.ArrayLike,
    *,
    jumps: npt.ArrayLike | None = None,
    row_labels: Sequence[str] = (),
    columns: int = 4,
    azimuth: float = 35.0,
) -> np.ndarray:
    """The frames of an animation of stick figures, the motions side by side.

    What to see: as in `stick_figures`. The frame of a motion turns blue at the two frames of a jump.

    Args:
      poses: [R, T, J, 3], the joints of R motions with T frames, y upwards.
      bones: [B, 2], the two joints of each bone.
      jumps: [R, T − 1], True for a jump between the frames t and t + 1. None marks nothing.
      row_labels: one for each motion, or none.
      columns: the largest number of motions side by side.
      azimuth: the angle in degrees by which the skeleton turns about its vertical axis.

    Returns:
      [T, height, width, 3] uint8, for `runs.files.write_animation`.

    Raises:
      UsageError: shapes do not fit, joints are not finite, or bones name no joint.

    >>> poses = np.zeros((2, 5, 2, 3)) + [[0, 0, 0], [0, 1, 0]]
    >>> animate_stick_figures(poses, [[0, 1]]).shape[0]
    5
    """
    joints, pairs = checked_poses(poses, bones)
    num_rows, num_frames = joints.shape[:2]
    marked = checked_jumps(jumps, num_rows, num_frames)
    labels = checked_labels("row_labels", row_labels, num_rows)
    flat = project(joints, azimuth)
    box = window(flat.joints)
    reach = float(flat.depths.min()), float(flat.depths.max())
    aspect = (box.top - box.bottom) / (box.right - box.left)
    # Tall panels keep their width, and wide panels keep their height.
    size = (_PANEL, _PANEL * aspect) if aspect < 1.4 else (1.4 * _PANEL / aspect, 1.4 * _PANEL)
    figure, panels = _panels(num_rows, columns, (max(size[0], 1.0), size[1]))
    for axes, label in zip(panels, labels, strict=True):
        axes.set(xlim=(box.left, box.right), ylim=(box.bottom, box.top), aspect="equal")
        axes.set_title(label, fontsize=9, color=INK, pad=3)

    def draw(row: int, frame: int) -> Artist:
        lines = bone_lines(
            flat.joints[row, frame, None], flat.depths[row, frame, None], pairs, reach, 1.8
        )
        return panels[row].add_collection(lines, autolim=False)

    return _record(figure, panels, marked, draw)


def animate_images(
    images: npt.ArrayLike,
    *,
    jumps: npt.ArrayLike | None = None,
    row_labels: Sequence[str] = (),
    columns: int = 4,
) -> np.ndarray:
    """The frames of an animation of images, the sequences side by side.

    What to see: as in `image_strips`. The frame of a sequence turns blue at the two frames of a jump.
    Values outside [0, 1] are clipped, and NaN is red.

    Args:
      images: [R, T, height, width, C] in [0, 1], R sequences of T frames.
      jumps: [R, T − 1], True for a jump between the frames t and t + 1. None marks nothing.
      row_labels: one for each sequence, or none.
      columns: the largest number of sequences side by side.

    Returns:
      [T, height, width, 3] uint8, for `runs.files.write_animation`.

    Raises:
      UsageError: shapes do not fit, there are no images, or the images are integers.

    >>> animate_images(np.zeros((3, 5, 8, 8, 1))).shape[0]
    5
    """
    array = np.asarray(images)
    if array.ndim != 5 or not array.size:
        raise UsageError(f"images must be [R, T, height, width, channels], got {array.shape}.")
    num_rows, num_frames = array.shape[:2]
    marked = checked_jumps(jumps, num_rows, num_frames)
    labels = checked_labels("row_labels", row_labels, num_rows)
    rgb = checked_images("images", array.reshape(-1, *array.shape[2:])).rgb
    rgb = rgb.reshape(num_rows, num_frames, *rgb.shape[1:])
    height, width = rgb.shape[2:4]
    # The same whole number of dots for each pixel.
    dots = max(1, round(_PANEL * _DPI / max(height, width)))
    figure, panels = _panels(num_rows, columns, (width * dots / _DPI, height * dots / _DPI))
    for axes, label in zip(panels, labels, strict=True):
        axes.set_title(label, fontsize=9, color=INK, pad=3)

    def draw(row: int, frame: int) -> Artist:
        return panels[row].imshow(rgb[row, frame], interpolation="nearest", aspect="auto")

    return _record(figure, panels, marked, draw)


def _panels(num: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with panels of one size in inches, on whole dots, with room for titles."""
    check_at_least_one(columns=columns)
    columns = min(columns, num)
    num_rows = -(-num // columns)
    width, height = (round(inches * _DPI) for inches in size)
    gap, head = round(_GAP * _DPI), round(_HEAD * _DPI)
    # Even numbers, which video codecs need.
    total = np.array([columns * (width + gap) + gap, num_rows * (height + head) + gap])
    total += total % 2
    figure = Figure(figsize=tuple(total / _DPI), dpi=_DPI, facecolor="white")
    panels = []
    for index in range(num):
        row, column = divmod(index, columns)
        left, bottom = gap + column * (width + gap), total[1] - (row + 1) * (height + head)
        axes = figure.add_axes(
            (left / total[0], bottom / total[1], width / total[0], height / total[1])
        )
        axes.set(xticks=[], yticks=[])
        panels.append(axes)
    return figure, panels


def _record(
    figure: Figure, panels: Sequence[Axes], jumps: np.ndarray, draw: Callable[[int, int], Artist]
) -> np.ndarray:
    """The pixels of all frames, [T, height, width, 3] uint8. `draw` is given panel and frame."""
    canvas = FigureCanvasAgg(figure)
    beside = np.pad(jumps, ((0, 0), (1, 1)))
    marked = beside[:, 1:] | beside[:, :-1]  # the two frames of a jump
    frames = []
    for frame in range(marked.shape[1]):
        drawn = [draw(row, frame) for row in range(len(panels))]
        for axes, jump in zip(panels, marked[:, frame], strict=True):
            axes.spines[:].set(color=JUMP if jump else "#d9d9d9", linewidth=2.2 if jump else 0.8)
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        for artist in drawn:
            artist.remove()
    return np.stack(frames)

"""Sequences of images as strips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.canvas import checked_images, gap_of, join_notes, tile, wrapped
from vaelab.plotting.figure import DPI, figure_of, new_figure, width_of
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

_DOTS = 1500  # the largest width of all images of a row


def image_strips(
    images: npt.ArrayLike,
    *,
    jumps: npt.ArrayLike | None = None,
    row_labels: Sequence[str] = (),
    columns: int = 14,
    note: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Sequences of images as strips, one sequence in each row, time from left to right.

    What to see: a path along the manifold shows an object at every step, and each step changes it a
    little. Blends of two objects come from places between the data. A blue box marks a jump.

    Args:
      images: [R, T, height, width, C] in [0, 1], R sequences of T frames. One channel is grey, three are
        colours; other numbers of channels are shown side by side.
      jumps: [R, T − 1], True for a jump between the frames t and t + 1. None marks nothing.
      row_labels: one for each sequence, or none.
      columns: the largest number of images in a row. They are evenly spaced frames. A box is around
        neighbours if there is a jump anywhere between them.
      note: a line below the images. A line of the plot's own says which values outside [0, 1] were
        clipped, and that NaN is red.
      title: a line above all rows.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: shapes do not fit, there are no images, or the images are integers.

    >>> image_strips(np.zeros((2, 9, 8, 8, 1)), columns=3).axes[0].images[0].get_array().shape
    (19, 26, 3)
    """
    array = np.asarray(images)
    if array.ndim != 5 or not array.size:
        raise UsageError(f"images must be [R, T, height, width, channels], got {array.shape}.")
    num_rows, num_frames = array.shape[:2]
    marked = checked_jumps(jumps, num_rows, num_frames)
    labels = checked_labels("row_labels", row_labels, num_rows)
    frames = shown_frames(num_frames, columns)
    checked = checked_images("images", array[:, frames].reshape(-1, *array.shape[2:]))
    gap = gap_of(checked.rgb)
    height, width = checked.rgb.shape[1:3]
    pitch = height + 3 * gap  # rows are further apart than the frames of a row
    canvas = np.ones((num_rows * pitch - 3 * gap, len(frames) * (width + gap) - gap, 3))
    for row, strip in enumerate(np.split(checked.rgb, num_rows)):
        canvas[row * pitch : row * pitch + height] = tile(strip, len(frames))

    notes = [*([NOTE] if marked.any() else []), *join_notes(note, checked)]
    if ax is None:
        figure, axes, inches = _figure_of_size(canvas.shape, height, labels, title, notes)
    else:
        figure, axes, inches = figure_of(ax), ax, width_of(ax)
    axes.imshow(canvas, interpolation="nearest", aspect="auto" if ax is None else "equal")
    for row in range(num_rows):
        for first, last in jump_spans(marked[row], frames):
            draw_box(
                axes, first * (width + gap) - 0.5 - gap / 2, row * pitch - 0.5 - gap / 2,
                (last - first + 1) * (width + gap), height + gap,
            )  # fmt: skip
    clear_axes(axes, "\n".join(wrapped(notes, inches)))
    axes.xaxis.labelpad = 6
    label_rows(axes, [row * pitch + height / 2 - 0.5 for row in range(num_rows)], labels)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    return figure


def _figure_of_size(
    shape: Sequence[int], pixels: int, labels: Sequence[str], title: str, notes: Sequence[str]
) -> tuple[Figure, Axes, float]:
    """A new figure with room for the canvas, a whole number of dots for each pixel.

    `pixels` is the height of one image. Also returns the width for the notes in inches.
    """
    left, rest = 0.2 + label_width(labels), 0.12
    scale = max(1, min(_DOTS // shape[1], 150 // pixels)) / DPI
    height, width = shape[0] * scale, shape[1] * scale
    inches = max(width, 0.09 * len(title), 2.0)
    bottom = rest + 0.15 * len(wrapped(notes, inches)) + 0.08 * bool(notes)
    # Whole dots, or the images would not be sharp.
    left, bottom = round(left * DPI) / DPI, round(bottom * DPI) / DPI
    total = left + inches + rest, bottom + height + 0.12 + 0.25 * bool(title)
    figure = new_figure(total, layout="none")
    axes = figure.add_axes(
        (left / total[0], bottom / total[1], width / total[0], height / total[1])
    )
    return figure, axes, inches

"""Images beside images: reconstructions below their inputs, and samples in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.canvas import checked_images, gap_of, join_notes, tile, wrapped
from vaelab.plotting.figure import DPI, figure_of, new_figure, width_of
from vaelab.plotting.style import GREY, INK


def reconstructions(
    x: npt.ArrayLike, mean: npt.ArrayLike, *, note: str | None = None, ax: Axes | None = None
) -> Figure:
    """Inputs, and below each input its reconstruction: what the code kept, and what it lost.

    What to see: the same object in the same place. Blur is distortion. A sharp image of another
    object is a code that lost the identity of the object.

    Args:
      x: [N, height, width, C], inputs in [0, 1]. One channel is grey, three are colours; other
        numbers of channels are shown side by side.
      mean: the decoder's means for the inputs, of the shape of x.
      note: a line below the images, for example what was done to the values. A line of the plot's
        own says which values outside [0, 1] were clipped, and that NaN is red.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: the shapes differ, there are no images, or the images are integers.

    >>> x = np.zeros((3, 8, 8, 1))
    >>> reconstructions(x, x + 0.5).axes[0].images[0].get_array().shape
    (17, 26, 3)
    """
    if np.shape(x) != np.shape(mean):
        raise UsageError(f"x and mean must have one shape, got {np.shape(x)} and {np.shape(mean)}.")
    inputs, outputs = checked_images("x", x), checked_images("mean", mean)
    num, height = inputs.rgb.shape[:2]
    num_pairs = -(-num // 10)
    columns = -(-num // num_pairs)
    gap = gap_of(inputs.rgb)
    canvas: list[np.ndarray] = []
    ticks = []
    for start in range(0, num, columns):
        if canvas:  # pairs of rows are further apart than the two rows of a pair
            canvas.append(np.ones((3 * gap, canvas[0].shape[1], 3)))
        for name, images in (("input", inputs.rgb), ("reconstruction", outputs.rgb)):
            ticks.append((sum(map(len, canvas)) + height / 2 - 0.5, name))
            row = tile(images[start : start + columns], columns)
            canvas += [row] if name == "reconstruction" else [row, np.ones((gap, row.shape[1], 3))]
    notes = join_notes(note, inputs, outputs)
    figure, axes = _draw(np.concatenate(canvas), height, ax, left=1.05, notes=notes)
    axes.set_title("Inputs and their reconstructions", loc="left", fontsize=10, color=INK)
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=9, color=INK)
    return figure


def samples(images: npt.ArrayLike, *, note: str | None = None, ax: Axes | None = None) -> Figure:
    """What the model generates: a grid of images decoded from samples of the prior.

    What to see: images that could be data, and as varied as the data. Odd or empty images come from
    places where the prior has mass and the aggregated posterior has none.

    Args:
      images: [N, height, width, C] in [0, 1]. One channel is grey, three are colours; other numbers
        of channels are shown side by side.
      note: a line below the images, for example what was done to the values. A line of the plot's
        own says which values outside [0, 1] were clipped, and that NaN is red.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: there are no images, or the images are integers.

    >>> samples(np.zeros((9, 8, 8, 3))).axes[0].images[0].get_array().shape
    (26, 26, 3)
    """
    checked = checked_images("images", images)
    num, height = checked.rgb.shape[:2]
    canvas = tile(checked.rgb, int(np.ceil(np.sqrt(num))))
    figure, axes = _draw(canvas, height, ax, left=0.1, notes=join_notes(note, checked))
    count = "a sample" if num == 1 else f"{num} samples"
    axes.set_title(f"Decoded from {count} of the prior", loc="left", fontsize=10, color=INK)
    axes.set_yticks([])
    return figure


def _draw(
    canvas: np.ndarray, pixels: int, ax: Axes | None, *, left: float, notes: Sequence[str]
) -> tuple[Figure, Axes]:
    """The canvas on the axes, with its notes below. `pixels` is the height of one image."""
    if ax is None:
        figure, axes, width = _figure_of_size(canvas.shape, pixels, left, notes)
        aspect: Literal["auto", "equal"] = "auto"
    else:
        figure, axes, aspect, width = figure_of(ax), ax, "equal", width_of(ax)
    axes.imshow(canvas, interpolation="nearest", aspect=aspect)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    if notes:
        lines = wrapped(notes, width)
        axes.set_xlabel("\n".join(lines), loc="left", fontsize=8, color=GREY)
    return figure, axes


def _figure_of_size(
    shape: Sequence[int], pixels: int, left: float, notes: Sequence[str]
) -> tuple[Figure, Axes, float]:
    """A new figure with room for the canvas, a whole number of dots for each pixel.

    `left` is the margin in inches. Also returns the width for the notes in inches.
    """
    top, rest = 0.35, 0.1
    height, width = shape[:2]
    scale = max(1, min(round(900 / max(width, height)), 150 // pixels)) / DPI
    # Wide enough for the title of a single image.
    total_width = max(left + width * scale + rest, left + 2.7)
    note_width = total_width - left - rest
    bottom = rest + 0.15 * len(wrapped(notes, note_width)) + 0.05 * bool(notes)
    # Whole dots, or the images would not be sharp.
    bottom = round(bottom * DPI) / DPI
    total = total_width, bottom + height * scale + top
    figure = new_figure(total, layout="none")
    axes = figure.add_axes(
        (left / total[0], bottom / total[1], width * scale / total[0], height * scale / total[1])
    )
    return figure, axes, note_width

"""Images along each level, the other levels fixed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.canvas import checked_images, join_notes, tile
from vaelab.plotting.figure import DPI, new_figure
from vaelab.plotting.style import GREY, INK


class LevelBlock(NamedTuple):
    """The images of one level that moves while the other levels are fixed."""

    title: str
    images: npt.ArrayLike  # [rows, columns, height, width, C] in [0, 1]
    note: str = ""  # what rows and columns are


def level_traversals(
    blocks: Sequence[LevelBlock], *, title: str = "", note: str | None = None
) -> Figure:
    """A block of images for each level, side by side. In a block one level moves, and all others are fixed.

    What to see: what changes within a block is what its level encodes. In a good hierarchy the levels
    encode different things: bottom levels the stroke or the colour, top levels the identity. A block
    of equal images is a level that the likelihood does not read, or that the model does not use.
    Zhao et al., 2017, figures 5 to 7.

    Args:
      blocks: one for each level, from left to right, all with images of one size.
      title: a line above all blocks.
      note: a line below all blocks. A line of the plot's own says which values outside [0, 1] were
        clipped, and that NaN is red.

    Raises:
      UsageError: there are no blocks, or images are of other kinds or sizes.

    >>> block = LevelBlock("bottom", np.zeros((2, 3, 8, 8, 1)))
    >>> level_traversals([block, block]).axes[1].images[0].get_array().shape
    (17, 26, 3)
    """
    if not blocks:
        raise UsageError("blocks must hold at least one level, got none.")
    checked, canvases = [], []
    size = np.shape(blocks[0].images)[2:4]
    for block in blocks:
        shape = np.shape(block.images)
        if len(shape) != 5 or shape[2:4] != size:
            raise UsageError(
                f"images of block {block.title!r} must be [rows, columns, {', '.join(map(str, size))}, "
                f"channels], got {shape}."
            )
        images = np.asarray(block.images).reshape(-1, *shape[2:])
        checked.append(checked_images(f"images of block {block.title!r}", images))
        canvases.append(tile(checked[-1].rgb, shape[1]))

    num_dots = sum(canvas.shape[1] for canvas in canvases)
    dots = max(1, min(round(1800 / num_dots), 90 // size[0]))  # the side of a pixel
    widths = [max(canvas.shape[1] * dots / DPI, 1.1) for canvas in canvases]
    height = max(canvas.shape[0] for canvas in canvases) * dots / DPI
    gap, left, rest = 0.3, 0.12, 0.1
    notes = [
        textwrap.wrap(block.note, max(14, int(15 * width)))
        for block, width in zip(blocks, widths, strict=True)
    ]
    titles = [
        textwrap.wrap(block.title, max(10, int(13 * width)))
        for block, width in zip(blocks, widths, strict=True)
    ]
    total_width = left + sum(widths) + gap * (len(blocks) - 1) + left
    lines = textwrap.wrap(" ".join(join_notes(note, *checked)), max(20, int(15 * total_width)))
    head = (0.34 if title else 0.06) + 0.17 * max(map(len, titles)) + 0.05
    foot = rest + 0.15 * len(lines) + 0.15 * max(map(len, notes)) + 0.08
    total = total_width, head + height + foot
    figure = new_figure(total, layout="none")
    if lines:
        figure.text(0.1 / total[0], 0.06 / total[1], "\n".join(lines), fontsize=8, color=GREY)
    if title:
        figure.text(0.1 / total[0], 1 - 0.1 / total[1], title, va="top", fontsize=11, color=INK)
    x = left
    for canvas, width, heading, explanation in zip(canvases, widths, titles, notes, strict=True):
        inches = [side * dots / DPI for side in canvas.shape[:2]]
        # On whole dots, or the pixels would differ in size.
        place = [round(value * DPI) / DPI for value in (x, foot + height - inches[0])]
        axes = figure.add_axes(
            (place[0] / total[0], place[1] / total[1], inches[1] / total[0], inches[0] / total[1])
        )
        axes.imshow(canvas, interpolation="nearest", aspect="auto")
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("\n".join(heading), loc="left", fontsize=9.5, color=INK, pad=4)
        axes.set_xlabel("\n".join(explanation), loc="left", fontsize=8, color=GREY, labelpad=3)
        x += width + gap
    return figure

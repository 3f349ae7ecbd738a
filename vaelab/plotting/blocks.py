"""Models side by side: their data, reconstructions and samples."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.canvas import Images, checked_images, gap_of, join_notes, tile
from vaelab.plotting.figure import DPI, new_figure
from vaelab.plotting.style import GREY, INK

_ROWS = ("data", "reconstructions", "samples")


class Block(NamedTuple):
    """The images of one model, each [N, height, width, C] in [0, 1], as `reconstructions` takes them."""

    title: str
    data: npt.ArrayLike
    reconstructions: npt.ArrayLike  # of the data
    samples: npt.ArrayLike


def sample_blocks(
    blocks: Sequence[Block],
    *,
    columns: int | None = None,
    title: str = "",
    note: str | None = None,
) -> Figure:
    """Models side by side: data, their reconstructions, and samples of the prior, row by row.

    What to see: reconstructions that keep what the model's constraint requires, and samples that
    could be data. A model with good reconstructions and bad samples has holes in its latent space.
    Rezende & Viola, 2018, figures 6 and 9 to 11.

    Args:
      blocks: one for each model, all with the same number and size of images.
      columns: number of blocks in a row. The default fills 13 inches.
      title: a line above all blocks.
      note: a line below all blocks, for example what was done to the values. A line of the plot's
        own says which values outside [0, 1] were clipped, and that NaN is red.

    Raises:
      UsageError: there are no blocks, columns < 1, or images are of other kinds or shapes.

    >>> block = Block("ELBO", *np.zeros((3, 4, 8, 8, 1)))
    >>> sample_blocks([block, block]).axes[1].images[0].get_array().shape
    (28, 35, 3)
    """
    if not blocks:
        raise UsageError("blocks must hold at least one model, got none.")
    check_at_least_one(columns=columns)
    first = np.shape(blocks[0].data)
    canvases: list[np.ndarray] = []
    shown: list[Images] = []
    for block in blocks:
        rows = []
        for name, images in zip(_ROWS, block[1:], strict=True):
            where = f"{name} of block {block.title!r}"
            rows.append(checked_images(where, images))
            if np.shape(images)[:3] != first[:3]:
                raise UsageError(
                    f"{where} must be {list(first[:3])} like the first block's data, got "
                    f"{list(np.shape(images)[:3])}."
                )
        shown += rows
        data, means, made = (tile(images.rgb, len(images.rgb)) for images in rows)
        # The three rows are further apart than the images of a row.
        apart = np.ones((2 * gap_of(rows[0].rgb), data.shape[1], 3))
        canvases.append(np.concatenate([data, apart, means, apart, made]))

    height, width = canvases[0].shape[:2]
    centres = [first[1] / 2 - 0.5 + row * (height - first[1]) / 2 for row in range(3)]
    dots = max(1, min(round(480 / width), 120 // first[1]))  # the side of a pixel
    left, gap, rest = 1.15, 0.22, 0.12
    block_width, block_height = width * dots / DPI, height * dots / DPI
    if columns is None:
        columns = max(1, int((13 - left) / (block_width + gap)))
        columns = -(-len(blocks) // -(-len(blocks) // columns))
    columns = min(columns, len(blocks))
    num_rows = -(-len(blocks) // columns)
    titles = [textwrap.wrap(block.title, max(8, int(block_width * 14))) for block in blocks]
    top = 0.12 + 0.16 * max(map(len, titles))
    head = 0.32 if title else 0.0
    width = left + columns * (block_width + gap)
    lines = textwrap.wrap(" ".join(join_notes(note, *shown)), max(20, int(15 * width)))
    foot = 0.08 * bool(lines) + 0.15 * len(lines)
    total = width, head + num_rows * (top + block_height + rest) + foot

    figure = new_figure(total, layout="none")
    if lines:
        figure.text(0.1 / total[0], 0.06 / total[1], "\n".join(lines), fontsize=8, color=GREY)
    if title:
        figure.text(0.1 / total[0], 1 - 0.1 / total[1], title, va="top", fontsize=11, color=INK)
    for index, (canvas, lines) in enumerate(zip(canvases, titles, strict=True)):
        row, column = divmod(index, columns)
        # On whole dots, or the pixels would differ in size.
        x = round((left + column * (block_width + gap)) * DPI) / DPI
        y = total[1] - head - (row + 1) * (top + block_height + rest) + rest
        y = round(y * DPI) / DPI
        axes = figure.add_axes(
            (x / total[0], y / total[1], block_width / total[0], block_height / total[1])
        )
        axes.imshow(canvas, interpolation="nearest", aspect="auto")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.set_yticks([])
        if column == 0:
            axes.set_yticks(centres, _ROWS, fontsize=9, color=INK)
        axes.set_title("\n".join(lines), loc="left", fontsize=9, color=INK, pad=4)
    return figure

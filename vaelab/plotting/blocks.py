"""Objectives side by side: their data, reconstructions and samples, and their posteriors."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.densities import shared_window
from vaelab.plotting.images import checked_images, gap_of, tile
from vaelab.plotting.style import INK, PALETTE, PRIOR, set_style

_DPI = 150
_ROWS = ("data", "reconstructions", "samples")


class Block(NamedTuple):
    """One model's images, each [N, height, width, C] in [0, 1], C = 1 (grey) or 3 (colour)."""

    title: str
    data: npt.ArrayLike
    reconstructions: npt.ArrayLike  # of these data
    samples: npt.ArrayLike


def sample_blocks(
    blocks: Sequence[Block], *, columns: int | None = None, title: str = ""
) -> Figure:
    """Models side by side: data, their reconstructions, and samples of the prior, row by row.

    What to see: a reconstruction under its datum that keeps what the model's constraint requires,
    and samples that could be data. A model that reconstructs well and samples badly has holes in
    its latent space. Rezende & Viola, 2018, figures 6 and 9 to 11.

    Args:
      blocks: one a model, all of the same number and size of images. Values outside [0, 1] are
        clipped, NaN is red.
      columns: blocks in a row; by default as many as 13 inches hold.

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
    canvases = []
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
        data, means, made = (tile(images, len(images)) for images in rows)
        # The three rows stand further apart than the images in them.
        apart = np.ones((2 * gap_of(rows[0]), data.shape[1], 3))
        canvases.append(np.concatenate([data, apart, means, apart, made]))

    height, width = canvases[0].shape[:2]
    centres = [first[1] / 2 - 0.5 + row * (height - first[1]) / 2 for row in range(3)]
    dots = max(1, min(round(480 / width), 120 // first[1]))  # a pixel's side
    left, gap, rest = 1.15, 0.22, 0.12
    block_width, block_height = width * dots / _DPI, height * dots / _DPI
    if columns is None:
        columns = max(1, int((13 - left) / (block_width + gap)))
        columns = -(-len(blocks) // -(-len(blocks) // columns))
    columns = min(columns, len(blocks))
    num_rows = -(-len(blocks) // columns)
    titles = [textwrap.wrap(block.title, max(8, int(block_width * 14))) for block in blocks]
    top = 0.12 + 0.16 * max(map(len, titles))
    head = 0.32 if title else 0.0
    total = left + columns * (block_width + gap), head + num_rows * (top + block_height + rest)

    figure = Figure(figsize=total, dpi=_DPI, facecolor="white")
    if title:
        figure.text(0.1 / total[0], 1 - 0.1 / total[1], title, va="top", fontsize=11, color=INK)
    for index, (canvas, lines) in enumerate(zip(canvases, titles, strict=True)):
        row, column = divmod(index, columns)
        # On whole dots, or pixels would differ in size.
        x = round((left + column * (block_width + gap)) * _DPI) / _DPI
        y = total[1] - head - (row + 1) * (top + block_height + rest) + rest
        y = round(y * _DPI) / _DPI
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


def posterior_scatter(
    samples: Mapping[str, npt.ArrayLike],
    images: npt.ArrayLike,
    *,
    prior_samples: npt.ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """The posterior of each datum in a two-dimensional latent space, one panel a model.

    What to see: tiles. Colours that keep apart are data told apart; colours that share a place are
    data that the constraint does not distinguish; white between them, where the prior has
    mass (grey), is a hole. Rezende & Viola, 2018, figure 8.

    Args:
      samples: {model: [I, S, 2]}, S samples of q(z|x_i) for each of I ≤ 10 data.
      images: [I, height, width, C] in [0, 1], the data, shown in their colours' frames.
      prior_samples: [M, 2], the grey dots, or None.

    Raises:
      UsageError: there are no models, more than ten data, shapes do not fit, or NaN.

    >>> z = np.random.default_rng(0).normal(size=(3, 20, 2))
    >>> figure = posterior_scatter({"ELBO": z, "RE": z / 2}, np.zeros((3, 8, 8, 1)))
    >>> [axes.get_title("left") for axes in figure.axes[:2]]
    ['ELBO', 'RE']
    """
    if not samples:
        raise UsageError("samples must hold at least one model, got none.")
    pictures = checked_images("images", images)
    num = len(pictures)
    if num > len(PALETTE):
        raise UsageError(f"images must be at most {len(PALETTE)}, one a colour, got {num}.")
    prior = np.empty((0, 2)) if prior_samples is None else np.asarray(prior_samples, float)
    if prior.ndim != 2 or prior.shape[1] != 2 or not np.isfinite(prior).all():
        raise UsageError(f"prior_samples must be [M, 2] and finite, got {prior.shape}.")
    latents = {name: np.asarray(z, float) for name, z in samples.items()}
    for name, z in latents.items():
        if z.ndim != 3 or len(z) != num or z.shape[2] != 2 or not z.size:
            raise UsageError(f"samples of {name!r} must be [{num}, S, 2], got {z.shape}.")
        if not np.isfinite(z).all():
            raise UsageError(f"samples of {name!r} must be finite, got NaN or infinity.")

    columns = min(len(latents), 4)
    num_rows = -(-len(latents) // columns)
    strip = 0.8 + 0.3 * bool(title)
    size = (max(3.0 * columns, 0.75 * num + 0.6), 3.3 * num_rows + strip)
    layout = ConstrainedLayoutEngine(compress=True, rect=(0, 0, 1, 1 - strip / size[1]))
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white", layout=layout)
    windows = {
        name: _square(np.concatenate([z.reshape(-1, 2), prior])) for name, z in latents.items()
    }
    shared = shared_window(list(windows.values()))
    grid = figure.subplots(num_rows, columns, squeeze=False)
    for axes in grid.flat[len(latents) :]:
        axes.remove()
    for axes, (name, z) in zip(grid.flat, latents.items(), strict=False):
        set_style(axes)
        axes.grid(False)
        axes.scatter(*prior.T, s=5, color=PRIOR, linewidths=0, zorder=1, rasterized=True)
        # In random order, or the last datum would cover the others.
        order = np.random.default_rng(0).permutation(z.shape[0] * z.shape[1])
        colours = np.repeat(PALETTE[:num], z.shape[1])[order]
        axes.scatter(*z.reshape(-1, 2)[order].T, s=7, c=colours.tolist(), linewidths=0, alpha=0.8,
                     zorder=2, rasterized=True)  # fmt: skip
        left, right, bottom, top = shared or windows[name]
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.set_xlabel("$z_1$", fontsize=9, color=INK)
        axes.set_title(name, loc="left", fontsize=9.5, color=INK)
    for axes in grid[:, 0]:
        axes.set_ylabel("$z_2$", fontsize=9, color=INK)

    if title:
        figure.text(0.1 / size[0], 1 - 0.1 / size[1], title, va="top", fontsize=11, color=INK)
    # On whole dots, as many to each pixel.
    scale = max(1, round(75 / max(pictures.shape[1:3]))) / _DPI
    height, width = pictures.shape[1] * scale, pictures.shape[2] * scale
    y = round((size[1] - strip + 0.1) * _DPI) / _DPI
    for index, (picture, colour) in enumerate(zip(pictures, PALETTE, strict=False)):
        x = round((0.5 + index * (width + 0.18)) * _DPI) / _DPI
        axes = figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=colour, linewidth=3)
    if len(prior):
        x, y = 0.5 + num * (width + 0.18), y + height / 2
        figure.text(x / size[0], y / size[1], "grey: prior", va="center", fontsize=9, color=INK)
    return figure


def _square(points: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest square that holds the points, and a twentieth more."""
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, 0.55 * max(*(high - low), 1e-6)
    return (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)

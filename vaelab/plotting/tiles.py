"""Tiles of the latent space: the reconstructions of overlaps and holes, and the masses of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure
from vaelab.plotting.layout import draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import BLACK, GREY, INDIGO, INK, PALETTE, ROSE, set_style

_COLOURS = tuple(colour for colour in PALETTE if colour != BLACK)


class TileMasses(NamedTuple):
    """The masses of K tiles, under the given prior and under the best prior."""

    title: str
    prior: npt.ArrayLike  # [K]
    posterior: npt.ArrayLike  # [K], of q(z) for the given prior
    best_prior: npt.ArrayLike  # [K]
    best_posterior: npt.ArrayLike  # [K], of q(z) for the best prior


def blurs_and_holes(
    x: npt.ArrayLike, weights: npt.ArrayLike, g: npt.ArrayLike, *, caption: str = ""
) -> Figure:
    """The latent space, each cell in the mixed colour of its data, and the reconstructions of the cells.

    What to see: where posteriors overlap, the colours mix, and the reconstruction is a blur between
    data. No posterior has mass in the black cells: their reconstruction is undefined.

    Args:
      x: [n, 2], the data, n ≤ 9.
      weights: [n, H, W], the weights of the data in each cell of [0, 1]², rows from bottom to top.
        All are 0 in a hole.
      g: [H, W, 2], the reconstructions of the cells. NaN in holes.
      caption: text below both panels.

    Raises:
      UsageError: shapes do not fit, or there are more than nine data.

    >>> weights = np.array([[[1.0, 0.5, 0.0]], [[0.0, 0.5, 0.0]]])
    >>> x = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> g = np.array([[[0.0, 0.0], [0.5, 0.0], [np.nan, np.nan]]])
    >>> [axes.get_title("left") for axes in blurs_and_holes(x, weights, g).axes]
    ['Latent space', 'Data space']
    """
    x, weights, g = (np.asarray(array, float) for array in (x, weights, g))
    if (
        x.ndim != 2
        or weights.ndim != 3
        or weights.shape[:1] != x.shape[:1]
        or (*weights.shape[1:], 2) != g.shape
    ):
        raise UsageError(
            f"x, weights and g must be [n, 2], [n, H, W] and [H, W, 2], got {x.shape}, "
            f"{weights.shape} and {g.shape}."
        )
    if len(x) > len(_COLOURS):
        raise UsageError(f"x must hold at most {len(_COLOURS)} data, got {len(x)}.")
    colours = np.array([to_rgb(colour) for colour in _COLOURS[: len(x)]])
    mixed = np.einsum("ihw,ic->hwc", weights, colours)  # holes are black
    lines = wrap_caption(caption, 7.6)
    figure = new_figure((7.6, 4.1 + 0.16 * len(lines)))
    latent, data = figure.subplots(1, 2)
    for axes in (latent, data):
        set_style(axes)
        axes.grid(False)
    latent.imshow(
        np.clip(mixed, 0, 1), origin="lower", extent=(0, 1, 0, 1), interpolation="nearest"
    )
    latent.set_xlabel("z₁", fontsize=9, color=INK)
    latent.set_ylabel("z₂", fontsize=9, color=INK)
    latent.set_title("Latent space", loc="left", fontsize=10, color=INK)

    covered = weights.sum(axis=0) > 0
    blurred = covered & (weights.max(axis=0) < 1 - 1e-6)
    places, first = np.unique(np.round(g[blurred], 6), axis=0, return_index=True)
    data.scatter(*x.T, s=110, color=colours, edgecolors=INK, linewidths=0.8, zorder=2, label="data")
    data.scatter(
        *places.T, s=42, color=np.clip(mixed[blurred][first], 0, 1), marker="D",
        edgecolors=INK, linewidths=0.6, zorder=3,
    )  # fmt: skip
    for number, place in enumerate(x, 1):
        data.annotate(
            f"$x_{number}$", place, xytext=(8, 6), textcoords="offset points", fontsize=9, color=INK
        )
    data.margins(0.2)
    data.set_aspect("equal", adjustable="datalim")
    data.set_title("Data space", loc="left", fontsize=10, color=INK)
    point: dict[str, Any] = dict(linestyle="none", markeredgecolor=INK, color=GREY)
    handles = [
        Line2D([], [], marker="o", markersize=8, label="datum: decoded from one posterior", **point),
        Line2D([], [], marker="D", markersize=5.5, label="blur: decoded from an overlap", **point),
        Patch(color=BLACK, label="hole: decoding is undefined"),
    ]  # fmt: skip
    legend_above(figure, handles, columns=3)
    draw_caption(figure, lines)
    return figure


def equipartition(panels: Sequence[TileMasses], *, title: str = "", caption: str = "") -> Figure:
    """The mass of each tile under the aggregated posterior, over its mass under the prior.

    What to see: on the diagonal a tile has the same mass under both. With the given prior some tiles
    are off the diagonal. With the best prior for the same reconstructions all tiles are on it.

    Args:
      panels: one for each β.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels.

    >>> panel = TileMasses("β = 1", [0.4, 0.6], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5])
    >>> equipartition([panel]).axes[0].get_xlabel()
    'mass under the prior'
    """
    if not panels:
        raise UsageError("panels must hold at least one β, got none.")
    width = max(2.6 * len(panels), 5.2)
    lines = wrap_caption(caption, width)
    figure = new_figure((width, 3.5 + 0.16 * len(lines)))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        given, best = (
            np.stack([np.asarray(prior, float), np.asarray(posterior, float)])
            for prior, posterior in (
                (panel.prior, panel.posterior), (panel.best_prior, panel.best_posterior)
            )
        )  # fmt: skip
        set_style(axes)
        top = 1.15 * max(given.max(), best.max())
        axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, zorder=1)
        axes.scatter(
            *best, s=30, facecolors="none", edgecolors=ROSE, linewidths=1, zorder=3, clip_on=False
        )
        axes.scatter(*given, s=12, color=INDIGO, linewidths=0, zorder=2, clip_on=False)
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axes.locator_params(nbins=4)
        axes.set_title(panel.title, loc="left", fontsize=8.5, color=INK)
        axes.set_xlabel("mass under the prior", fontsize=8.5, color=INK)
    figure.axes[0].set_ylabel("mass under q(z)", fontsize=8.5, color=INK)
    dot: dict[str, Any] = dict(linestyle="none", marker="o")
    handles = [
        Line2D([], [], color=INDIGO, markersize=4, label="tile, given prior", **dot),
        Line2D([], [], color=ROSE, markerfacecolor="none", label="tile, best prior", **dot),
        Line2D([], [], color=GREY, linestyle="--", label="equipartition"),
    ]  # fmt: skip
    legend_above(figure, handles, title, columns=3)
    draw_caption(figure, lines)
    return figure

"""Priors of a two-dimensional latent space as densities, with the aggregated posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure, one_panel
from vaelab.plotting.latents import MASSES, draw_contours, highest_density_levels, marker_handle
from vaelab.plotting.layout import draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, ROSE, set_style

_HOLE_ALPHA = 0.55


class Panel(NamedTuple):
    """A prior p, and the aggregated posterior q of the same model, in two dimensions."""

    title: str
    log_prior: (
        npt.ArrayLike
    )  # [G, G'], log p on a grid: rows along z_2, from bottom to top, columns along z_1
    log_aggregated: npt.ArrayLike  # [G, G'], log q on the same grid
    hole_level: float  # log q below which the aggregated posterior is regarded as absent
    points: npt.ArrayLike  # [N, 2], samples of q(z|x)
    extent: tuple[float, float, float, float]  # (left, right, bottom, top) of the grid


def prior_density(panel: Panel, *, ax: Axes | None = None) -> Figure:
    """One prior: where it has its mass, where the data are, and the holes.

    What to see: dots on grey. Grey is the mass of the prior: the regions are the smallest that hold
    25, 50, 75 and 95 % of it within the grid. Red is a hole: a part of the 95 % region in which the
    density of the aggregated posterior is below `hole_level`. A sample from there resembles no data.

    Args:
      panel: the prior, and the aggregated posterior.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: the grids differ in shape, or the points are not [N, 2].

    >>> grid = np.linspace(-3, 3, 30)
    >>> log_normal = -0.5 * (grid**2 + grid[:, None] ** 2)
    >>> panel = Panel("N(0, I)", log_normal, log_normal, -4.6, np.zeros((1, 2)), (-3, 3, -3, 3))
    >>> prior_density(panel).axes[0].get_title("left")
    'N(0, I)'
    """
    _check(panel)
    figure, axes = one_panel(ax, (4.6, 5.0))
    _draw(axes, panel)
    _set_window(axes, panel.extent)
    axes.set_xlabel("$z_1$", fontsize=9, color=INK)
    axes.set_ylabel("$z_2$", fontsize=9, color=INK, rotation=0, va="center")
    axes.legend(
        handles=_handles(), loc="upper left", ncols=2, frameon=False, borderaxespad=0, fontsize=8,
        bbox_to_anchor=(0, 0), bbox_transform=offset_copy(axes.transAxes, figure, 0, -0.45),
        labelcolor=INK, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip
    return figure


def prior_densities(
    panels: Sequence[Panel],
    *,
    columns: int = 5,
    window: tuple[float, float, float, float] | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Priors side by side: where each has its mass, where the data are, and the holes.

    What to see: as in `prior_density`, panel by panel.

    Args:
      panels: one for each prior.
      columns: number of panels in a row.
      window: (left, right, bottom, top) of all panels. By default all panels show the window that
        holds all grids if it is at most 1.6 times as wide as the smallest of them. Otherwise each
        panel shows its own grid.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels, or the arrays of a panel do not fit.

    >>> grid = np.linspace(-3, 3, 30)
    >>> log_normal = -0.5 * (grid**2 + grid[:, None] ** 2)
    >>> panel = Panel("N(0, I)", log_normal, log_normal, -4.6, np.zeros((1, 2)), (-3, 3, -3, 3))
    >>> [axes.get_title("left") for axes in prior_densities([panel]).axes]
    ['N(0, I)']
    """
    if not panels:
        raise UsageError("panels must hold at least one prior, got none.")
    for panel in panels:
        _check(panel)
    columns = min(columns, len(panels))
    num_rows = -(-len(panels) // columns)
    width = max(2.45 * columns, 5.5)
    lines = wrap_caption(caption, width)
    size = (width, 2.75 * num_rows + 0.6 + 0.16 * len(lines))
    figure = new_figure(size)
    grid = figure.subplots(num_rows, columns, squeeze=False)
    shared = window or shared_window([panel.extent for panel in panels])
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for number, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _draw(axes, panel)
        if number % columns == 0:
            axes.set_ylabel("$z_2$", fontsize=9, color=INK, rotation=0, va="center")
        if number + columns >= len(panels):
            axes.set_xlabel("$z_1$", fontsize=9, color=INK)
        _set_window(axes, shared or panel.extent)
    legend_above(figure, _handles(), title, columns=6 if columns > 3 else 3)
    draw_caption(figure, lines)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    set_style(axes)
    axes.grid(False)
    log_prior = np.asarray(panel.log_prior, float)
    log_aggregated = np.asarray(panel.log_aggregated, float)
    draw_contours(axes, log_prior, panel.extent)
    mask = np.minimum(
        log_prior - highest_density_levels(log_prior)[0], panel.hole_level - log_aggregated
    )
    height, width = mask.shape
    if mask.max() > 0:
        x, y = np.linspace(*panel.extent[:2], width), np.linspace(*panel.extent[2:], height)
        levels = [0, mask.max() + 1]
        axes.contourf(
            x, y, np.maximum(mask, -1), levels, colors=[ROSE], alpha=_HOLE_ALPHA, zorder=1
        )
    points = np.asarray(panel.points, float)
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=2.5,
        color=INDIGO,
        linewidths=0,
        alpha=0.8,
        zorder=5,
        rasterized=True,
    )
    axes.set_title(panel.title, loc="left", fontsize=9, color=INK)


def _set_window(axes: Axes, window: tuple[float, float, float, float]) -> None:
    left, right, bottom, top = window
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(4, integer=True))


def _handles() -> list[Artist]:
    """The entries of the legend."""
    masses = [
        marker_handle(shade, f"{100 * mass:.0f} %", marker="s", markeredgecolor=GREY)
        for mass, shade in MASSES.items()
    ]
    masses[0].set_label(f"{masses[0].get_label()} of the prior")
    hole = Patch(facecolor=ROSE, alpha=_HOLE_ALPHA, label="hole: prior without data")
    return [marker_handle(INDIGO, "z ~ q(z|x)", markersize=3.5), hole, *masses]


def shared_window(
    extents: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float] | None:
    """The window that holds all extents, or None if the smallest of them would be too small in it."""
    left, right, bottom, top = np.array(extents, float).T
    window = (left.min(), right.max(), bottom.min(), top.max())
    smallest = np.min([right - left, top - bottom])
    largest = max(window[1] - window[0], window[3] - window[2])
    return window if largest <= 1.6 * smallest else None


def _check(panel: Panel) -> None:
    shapes = np.shape(panel.log_prior), np.shape(panel.log_aggregated)
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"log_prior and log_aggregated of panel {panel.title!r} must be on one grid, got shapes "
            f"{shapes[0]} and {shapes[1]}."
        )
    points = np.shape(panel.points)
    if len(points) != 2 or points[1] != 2:
        raise UsageError(f"points of panel {panel.title!r} must be [N, 2], got {points}.")

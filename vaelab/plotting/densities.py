"""Priors of a two-dimensional latent space, as densities over the aggregated posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vaelab.checks import UsageError
from vaelab.plotting.latents import MASSES, draw_contours, highest_density_levels, marker_handle
from vaelab.plotting.layout import draw_caption, legend_above, new_figure, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, PALETTE, ROSE, set_style

_HOLE_ALPHA = 0.55


class Panel(NamedTuple):
    """A prior p, and the aggregated posterior q of the same model, in two dimensions."""

    title: str
    log_prior: npt.ArrayLike  # [G, G'], log p on a grid: rows along z_2, upwards, columns along z_1
    log_aggregated: npt.ArrayLike  # [G, G'], log q on the same grid
    hole_level: float  # log q below which the aggregated posterior counts as absent
    points: npt.ArrayLike  # [N, 2], samples of q(z|x)
    extent: tuple[float, float, float, float]  # (left, right, bottom, top) of the grid


def prior_densities(
    panels: Sequence[Panel],
    *,
    columns: int = 5,
    window: tuple[float, float, float, float] | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Priors side by side: where each has its mass, where the data are, and the holes between.

    What to see: dots on grey. Grey is the prior's mass, its regions the smallest that hold 25, 50,
    75 and 95 % of it within the grid. Red are the holes: parts of the 95 % region where the
    aggregated posterior's density is below `hole_level`, from which a sample resembles no data.

    All panels show `window` (left, right, bottom, top); by default the one that holds all grids
    where that is at most 1.6 times the smallest of them, and else each its own.

    Raises:
      UsageError: there are no panels, or a panel's grids differ in shape or its points are no pairs.

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
        left, right, bottom, top = shared or panel.extent
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    masses = [
        marker_handle(shade, f"{100 * mass:.0f} %", marker="s", markeredgecolor=GREY)
        for mass, shade in MASSES.items()
    ]
    masses[0].set_label(f"{masses[0].get_label()} of the prior")
    hole = Patch(facecolor=ROSE, alpha=_HOLE_ALPHA, label="hole: prior without data")
    dots = marker_handle(INDIGO, "z ~ q(z|x)", markersize=3.5)
    legend_above(figure, [dots, hole, *masses], title, columns=6 if columns > 3 else 3)
    draw_caption(figure, lines)
    return figure


def inner_samples(
    num_samples: Sequence[int], excess: npt.ArrayLike, standard_error: npt.ArrayLike
) -> Figure:
    """How much too high a sampled prior's rate is estimated, by its number of inner samples.

    What to see: curves that fall to 0 (the rate with the most samples). How high they start is how
    far the prior's own encoder is from exact.

    Args:
      num_samples: [J] inner samples, ascending.
      excess: [M, J], nats, of M runs: rate minus the rate with the most inner samples.
      standard_error: [M, J], of the excess.

    >>> figure = inner_samples([1, 4], [[0.3, 0.0]], [[0.01, 0.0]])
    >>> figure.axes[0].get_xlabel()
    'inner samples K'
    """
    excess, error = np.asarray(excess, float), np.asarray(standard_error, float)
    if excess.shape != error.shape or excess.ndim != 2 or excess.shape[1] != len(num_samples):
        raise UsageError(
            f"excess and standard_error must be [M, {len(num_samples)}], got {excess.shape} and "
            f"{error.shape}."
        )
    figure = new_figure((5.2, 3.4))
    axes = figure.subplots()
    set_style(axes)
    for run, (values, errors) in enumerate(zip(excess, error, strict=True)):
        # Beside each other, or the bars would hide each other.
        shift = 1.04 ** (run - (len(excess) - 1) / 2)
        axes.errorbar(
            np.asarray(num_samples) * shift, values, yerr=errors, label=f"seed {run}", marker="o",
            markersize=4, linewidth=1.4, capsize=2.5, color=PALETTE[1::2][run % 5],
        )  # fmt: skip
    axes.axhline(0, color=INK, linestyle="--", linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.set_xticks(num_samples, [str(count) for count in num_samples])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("inner samples K", fontsize=9, color=INK)
    axes.set_ylabel(f"rate(K) − rate({num_samples[-1]}), nats", fontsize=9, color=INK)
    axes.set_title(
        "Rate under the hierarchical prior, same models, test images\n"
        "bars: standard error of the difference, over images",
        loc="left", fontsize=9, color=INK,
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
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


def shared_window(
    extents: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float] | None:
    """The window that holds all, where no panel would be lost in it."""
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

"""The means of a decoder in the plane of the data, before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure
from vaelab.plotting.layout import draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, ROSE, set_style

_LABELS = ("00", "01", "10", "11")
_RING = (0, 1, 3, 2, 0)  # neighbours differ in one bit


class Geometry(NamedTuple):
    """One decoder of two bits."""

    title: str
    path: npt.ArrayLike  # [T, 4, 2], means of the states 00, 01, 10, 11 at each step
    sigma: float  # standard deviation of x around each mean


def decoder_geometry(panels: Sequence[Geometry], *, title: str = "", caption: str = "") -> Figure:
    """The quadrilateral of four means before and after training, over the density before.

    What to see: states that differ in one bit are joined. Two independent bits fit a rectangle.

    Args:
      panels: the decoders, side by side.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels, or a path is not [T, 4, 2].

    >>> square = np.array([[[0.0, 0], [0, 1], [1, 0], [1, 1]]])
    >>> [axes.get_title("left") for axes in decoder_geometry([Geometry("σ = 1", square, 1.0)]).axes]
    ['σ = 1']
    """
    if not panels:
        raise UsageError("panels must hold at least one decoder, got none.")
    width = max(3.4 * len(panels), 6.0)
    lines = wrap_caption(caption, width)
    figure = new_figure((width, 4.3 + 0.16 * len(lines)))
    grid = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    paths = [np.asarray(panel.path, float) for panel in panels]
    for panel, path in zip(panels, paths, strict=True):
        if path.ndim != 3 or path.shape[1:] != (4, 2):
            raise UsageError(f"panel {panel.title!r} needs a path [T, 4, 2], got {path.shape}.")
    reach = 0.75 + max(np.abs(path).max() for path in paths)
    for axes, panel, path in zip(grid, panels, paths, strict=True):
        _draw(axes, panel, path, reach)
    grid[0].set_ylabel("x₂", fontsize=9, color=INK)
    handles = [
        Line2D([], [], color=GREY, linestyle="--", marker="o", markersize=4, label="before: maximum of the likelihood"),
        Line2D([], [], color=ROSE, marker="o", markersize=4, label="after joint ELBO training"),
        Line2D([], [], color=INDIGO, linewidth=0.9, label="path"),
    ]  # fmt: skip
    legend_above(figure, handles, title, columns=3)
    draw_caption(figure, lines)
    return figure


def _draw(axes: Axes, panel: Geometry, path: np.ndarray, reach: float) -> None:
    set_style(axes)
    axes.grid(False)
    ticks = np.linspace(-reach, reach, 160)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    squares = ((points[..., None, :] - path[0]) ** 2).sum(axis=-1)
    density = np.exp(-squares / (2 * panel.sigma**2)).mean(axis=-1)
    axes.contourf(ticks, ticks, density, levels=7, cmap="Greys", alpha=0.45, zorder=0)
    for state in range(4):
        axes.plot(*path[:, state].T, color=INDIGO, linewidth=0.9, zorder=2)
    ring: Any = list(_RING)
    axes.plot(
        *path[0, ring].T,
        color=GREY,
        linestyle="--",
        marker="o",
        markersize=4,
        linewidth=1.2,
        zorder=3,
    )
    axes.plot(*path[-1, ring].T, color=ROSE, marker="o", markersize=4.5, linewidth=1.6, zorder=4)
    centre = path[-1].mean(axis=0)
    for state, label in enumerate(_LABELS):
        away = path[-1, state] - centre
        away = 13 * away / (np.linalg.norm(away) or 1.0)
        axes.annotate(
            label, path[-1, state], xytext=away, textcoords="offset points", fontsize=9, color=ROSE,
            ha="center", va="center", zorder=5,
        )  # fmt: skip
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_xlabel("x₁", fontsize=9, color=INK)
    axes.set_title(panel.title, loc="left", fontsize=9, color=INK)

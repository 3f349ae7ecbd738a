"""Fixed points of reconstructions in the plane of the data, the paths to them, and phase transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure
from vaelab.plotting.layout import draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, PRIOR, ROSE, TEAL, set_style


class Trajectories(NamedTuple):
    """The paths of the reconstructions of all cells, in the plane."""

    title: str
    x: npt.ArrayLike  # [n, 2], the data
    path: npt.ArrayLike  # [S, A, 2], reconstructions after each step, from the start


class ErrorCurve(NamedTuple):
    """The reconstruction error over β, and its critical temperatures."""

    label: str
    betas: npt.ArrayLike  # [R]
    errors: npt.ArrayLike  # [R], squared units of the data
    curvature: npt.ArrayLike  # [R − 2], |d²E/dβ²| at betas[1:-1]
    critical: npt.ArrayLike  # [any], the critical β; NaN is not drawn


def trajectories(
    rows: Sequence[Sequence[Trajectories]],
    *,
    row_labels: Sequence[str] = (),
    title: str = "",
    caption: str = "",
) -> Figure:
    """Panels of fixed points: one row for each kind of constraint, one column for each strength.

    What to see: cells that merge are few red dots. Under a Lipschitz constraint, which keeps
    neighbouring cells close, the red dots form strings.

    Args:
      rows: the panels of each row.
      row_labels: the label of each row.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels, the rows differ in length, or shapes do not fit.

    >>> panel = Trajectories("β = 1", np.zeros((5, 2)), np.zeros((3, 4, 2)))
    >>> [axes.get_title("left") for axes in trajectories([[panel]]).axes]
    ['β = 1']
    """
    if not rows or not rows[0]:
        raise UsageError("rows must hold at least one panel, got none.")
    if len({len(row) for row in rows}) != 1:
        raise UsageError(f"rows must be of one length, got {[len(row) for row in rows]}.")
    width = 0.3 + max(2.15 * len(rows[0]), 5.5)
    lines = wrap_caption(caption, width)
    size = (width, 2.35 * len(rows) + 0.65 + 0.16 * len(lines))
    figure = new_figure(size)
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False, sharex=True, sharey=True)
    for row, panels in enumerate(rows):
        for axes, panel in zip(grid[row], panels, strict=True):
            _trajectories(axes, panel)
        if row_labels:
            grid[row, 0].set_ylabel(row_labels[row], fontsize=9, color=INK)
    _legend(figure, title)
    draw_caption(figure, lines)
    return figure


def phase_transitions(
    panels: Sequence[Trajectories],
    curves: Sequence[ErrorCurve],
    *,
    known: float | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Fixed points at increasing β, above the reconstruction error and its second derivative.

    What to see: clusters merge from one panel to the next. The error bends at the β of a merger, and
    its second derivative has a peak there.

    Args:
      panels: the top row, in the order of β.
      curves: the first curve is solid, and its critical temperatures are grey lines. The others are
        dashed.
      known: a critical temperature in closed form, marked on the axis.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels or no curves, or shapes do not fit.

    >>> panel = Trajectories("β = 1", np.zeros((5, 2)), np.zeros((3, 4, 2)))
    >>> curve = ErrorCurve("s = 0.1", [0.1, 0.2, 0.3], [0.0, 0.1, 0.1], [10.0], [0.2])
    >>> [axes.get_xlabel() for axes in phase_transitions([panel], [curve]).axes]
    ['', 'β', 'β']
    """
    if not panels or not curves:
        raise UsageError("panels and curves must hold at least one each, got none.")
    width = 0.3 + max(2.4 * len(panels), 7.5)
    lines = wrap_caption(caption, width)
    figure = new_figure((width, 6.0 + 0.16 * len(lines)))
    grid = figure.add_gridspec(2, 2 * len(panels), height_ratios=(1, 1.15))
    for column, panel in enumerate(panels):
        _trajectories(figure.add_subplot(grid[0, 2 * column : 2 * column + 2]), panel)
    left = figure.add_subplot(grid[1, : len(panels)])
    right = figure.add_subplot(grid[1, len(panels) :])
    for number, curve in enumerate(curves):
        style: dict[str, Any] = dict(
            color=(INDIGO, TEAL)[number % 2], linestyle=("-", "--")[number > 0], linewidth=1.5,
            label=f"{curve.label}: {_numbers(curve.critical)}", zorder=3 + number,
        )  # fmt: skip
        betas = np.asarray(curve.betas, float)
        left.plot(betas, np.asarray(curve.errors, float), **style)
        right.plot(betas[1:-1], np.asarray(curve.curvature, float), **style)
    for axes, label in ((left, "E‖x − g(z)‖²"), (right, "|d²E/dβ²|")):
        set_style(axes)
        axes.grid(False)
        for number, curve in enumerate(curves):
            for beta in _finite(curve.critical):
                colour, dashes = ((GREY, "-"), (TEAL, "--"))[number > 0]
                axes.axvline(beta, color=colour, linestyle=dashes, linewidth=0.9, zorder=1)
        if known is not None:
            axes.plot(
                known, 0, marker="^", color=ROSE, clip_on=False, zorder=9, linestyle="none",
                transform=axes.get_xaxis_transform(), label=f"2 × largest variance: {known:.2f}",
            )  # fmt: skip
        axes.set(xlim=(0, max(np.max(curve.betas) for curve in curves)))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("β", fontsize=9, color=INK)
        axes.set_title(label, loc="left", fontsize=9, color=INK)
    left.legend(
        title="critical β", alignment="left", title_fontsize=8.5, loc="upper left", fontsize=8,
        labelcolor=INK, facecolor="white", edgecolor="none", framealpha=1, handlelength=1.6,
    )  # fmt: skip
    _legend(figure, title)
    draw_caption(figure, lines)
    return figure


def vanishing_variance(
    variances: npt.ArrayLike, elbos: npt.ArrayLike, *, smallest: float, caption: str = ""
) -> Figure:
    """σ² and the ELBO of a run that optimises the likelihood variance, too.

    What to see: σ² falls without end, and the ELBO rises.

    Args:
      variances: [S], σ² after each step, in squared units of the data.
      elbos: [S], nats per datum.
      smallest: the lower limit of σ² in the run.
      caption: text below both panels.

    Raises:
      UsageError: shapes do not fit.

    >>> figure = vanishing_variance([1.0, 0.1, 0.01], [-1.0, 0.5, 2.0], smallest=0.01)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['σ²', 'ELBO, nats per datum']
    """
    variances, elbos = np.asarray(variances, float), np.asarray(elbos, float)
    if variances.ndim != 1 or variances.shape != elbos.shape:
        raise UsageError(
            f"variances and elbos must be [S] each, got {variances.shape} and {elbos.shape}."
        )
    lines = wrap_caption(caption, 7.6)
    figure = new_figure((7.6, 2.9 + 0.16 * len(lines)))
    # Nothing changes after σ² has reached its limit.
    held = np.flatnonzero(variances <= smallest * (1 + 1e-6))
    end = int(held[0]) + 1 if held.size else len(variances)
    panels = figure.subplots(1, 2)
    for axes, values, label in zip(
        panels, (variances, elbos), ("σ²", "ELBO, nats per datum"), strict=True
    ):
        set_style(axes)
        axes.plot(values[:end], color=INDIGO, linewidth=1.6)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.set_xlabel("step", fontsize=9, color=INK)
        axes.set_ylabel(label, fontsize=9, color=INK)
    panels[0].set_yscale("log")
    panels[0].axhline(smallest, color=ROSE, linestyle="--", linewidth=1)
    panels[0].annotate(
        "lower limit", (0, smallest), xycoords=("axes fraction", "data"), xytext=(4, 3),
        textcoords="offset points", fontsize=8, color=ROSE,
    )  # fmt: skip
    draw_caption(figure, lines)
    return figure


def _trajectories(axes: Axes, panel: Trajectories) -> None:
    x, path = np.asarray(panel.x, float), np.asarray(panel.path, float)
    if x.ndim != 2 or x.shape[1] != 2 or path.ndim != 3 or path.shape[2] != 2:
        raise UsageError(
            f"panel {panel.title!r} needs x [n, 2] and path [S, A, 2], got {x.shape} and {path.shape}."
        )
    set_style(axes)
    axes.grid(False)
    moved = np.abs(np.diff(path, axis=0)).max(axis=(1, 2), initial=0) > 0
    path = path[: int(moved.sum()) + 1]  # without the steps after the stop
    axes.add_collection(
        LineCollection(
            list(path.transpose(1, 0, 2)), colors=PRIOR, linewidths=0.4, alpha=0.7, zorder=1,
            rasterized=True,
        )
    )  # fmt: skip
    axes.scatter(x[:, 0], x[:, 1], s=7, color=INDIGO, linewidths=0, zorder=2)
    axes.scatter(path[-1, :, 0], path[-1, :, 1], s=5, color=ROSE, linewidths=0, zorder=3)
    both = np.concatenate([x, path[0], path[-1]])
    reach = 1.05 * np.abs(both).max() or 1.0
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.FixedLocator((-1, -0.5, 0, 0.5, 1)))
    axes.set_title(panel.title, loc="left", fontsize=9, color=INK)


def _finite(values: npt.ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    return np.sort(values[np.isfinite(values)])


def _numbers(values: npt.ArrayLike) -> str:
    return ", ".join(f"{value:.2f}" for value in _finite(values)) or "none"


def _legend(figure: Figure, title: str) -> None:
    dot: dict[str, Any] = dict(linestyle="none", marker="o", markeredgewidth=0, markersize=4)
    handles = [
        Line2D([], [], color=INDIGO, label="data", **dot),
        Line2D([], [], color=ROSE, label="reconstructions at the end", **dot),
        Line2D([], [], color=PRIOR, label="their paths"),
    ]
    legend_above(figure, handles, title, columns=3)

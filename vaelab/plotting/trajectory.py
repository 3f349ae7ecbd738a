"""The course of one constrained run, in the information plane and in λ."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.layout import (
    Rows,
    curve,
    head,
    log_ticks,
    log_where_wide,
    number,
    place_tags,
    row_of_panels,
)
from vaelab.plotting.style import GREY, INK, WINE

# Without viridis's yellow end, which vanishes on white.
_STEPS = colors.ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))


def saddle_trajectory(
    rows: Rows,
    *,
    kappa: float,
    constraint: str,
    num_dims: int,
    achieved: Callable[[float], float] | None = None,
    quantity: str = "RMSE per dimension",
    title: str = "Trajectory in the information plane",
) -> Figure:
    """How one constrained run moved: in the information plane, in λ and in what κ bounds.

    What to see: first the distortion falls, at any rate, until the constraint is met; from there λ
    falls too, and the rate is reduced at the distortion that κ allows. The colour is the training
    step in all three panels, on the square-root scale of the panels' own axes: much happens early.
    Rezende & Viola, 2018, figure 3.

    Args:
      rows: the rows of `metrics.jsonl`, each a mean over the steps since the last: "step", "rate",
        "distortion" (nats), and "average/c", "constraint/c", "multiplier/c" for the constraint c.
      kappa: the threshold, in `quantity`'s units.
      constraint: the constraint's name, c.
      num_dims: D, which the distortion is divided by.
      achieved: from E[C] to the quantity that κ bounds; by default RE's, sqrt(E[C]/D + κ²).
      quantity: its name and unit.

    Raises:
      UsageError: no row logs the constraint, the rate or the distortion, or D < 1.

    >>> rows = [{"step": s, "rate": 20.0, "distortion": 900 / s, "average/re": 4 / s - 2,
    ...          "constraint/re": 4 / s - 2, "multiplier/re": 1.0 + s} for s in (1, 2, 3)]
    >>> figure = saddle_trajectory(rows, kappa=0.5, constraint="re", num_dims=100)
    >>> [axes.get_ylabel() for axes in figure.axes[1:3]]
    ['λ', 'RMSE per dimension']
    """
    needed = ("rate", "distortion", f"average/{constraint}", f"multiplier/{constraint}")
    for key in needed:
        if not any(key in row for row in rows):
            raise UsageError(f"rows must log {key!r}, got none that does; check the name.")
    check_at_least_one(num_dims=num_dims)
    achieved = achieved or (lambda average: math.sqrt(max(average / num_dims + kappa**2, 0.0)))
    steps, rate = curve([row for row in rows if "distortion" in row], "rate")
    _, distortion = curve([row for row in rows if "rate" in row], "distortion")
    average_steps, average = curve(rows, f"average/{constraint}")
    batch_steps, batch = curve(rows, f"constraint/{constraint}")
    multiplier_steps, multiplier = curve(rows, f"multiplier/{constraint}")
    met = average_steps[average <= 0][:1]

    figure, panels = row_of_panels(3, (12, 3.7))
    last = float(max(steps.max(), average_steps.max(), 1))
    norm = colors.PowerNorm(0.5, vmin=0, vmax=last)
    plane, lambdas, bounded = panels
    _coloured(plane, distortion / num_dims, rate, steps, norm)
    log_where_wide(plane.xaxis, distortion / num_dims)
    log_where_wide(plane.yaxis, rate)
    plane.set_xlabel("distortion, nats per dimension", fontsize=9, color=INK)
    plane.set_ylabel("rate, nats", fontsize=9, color=INK)

    _coloured(lambdas, multiplier_steps, multiplier, multiplier_steps, norm)
    lambdas.set_yscale("log")
    log_ticks(lambdas.yaxis, multiplier)
    lambdas.set_ylabel("λ", fontsize=9, color=INK)

    def in_units(values: np.ndarray) -> np.ndarray:
        return np.array([achieved(value) if np.isfinite(value) else np.nan
                         for value in values])  # fmt: skip

    bounded.plot(batch_steps, in_units(batch), color=GREY, linewidth=0.8, alpha=0.5, zorder=1.5)
    _coloured(bounded, average_steps, in_units(average), average_steps, norm)
    bounded.axhline(kappa, color=WINE, linestyle="--", linewidth=1.2, zorder=4,
                    label=f"κ = {kappa:g}")  # fmt: skip
    log_where_wide(bounded.yaxis, np.append(in_units(average), kappa))
    bounded.set_ylabel(quantity, fontsize=9, color=INK)
    for axes in (lambdas, bounded):
        _step_axis(axes, last)
        if met.size:
            label = f"met at step {met[0]:,.0f}" if axes is lambdas else None
            axes.axvline(met[0], color=INK, linestyle=":", linewidth=1, label=label, zorder=1)
    if met.size:
        at = np.abs(steps - met[0]).argmin()
        plane.plot(
            distortion[at] / num_dims, rate[at], "o", markersize=10, color=INK, zorder=5,
            markerfacecolor="none", linestyle="none", label="constraint first met",
        )  # fmt: skip
    head(plane, title)
    head(lambdas, "Multiplier", "" if met.size else "constraint never met")
    head(
        bounded,
        "Constraint",
        "coloured: moving average\ngrey: mean of the batches" if batch.size else "",
    )
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(norm, _STEPS), ax=list(panels), pad=0.015, aspect=28
    )
    _step_ticks(bar.ax.yaxis, last)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    bar.set_label("training step", fontsize=9, color=INK)
    course = np.stack([distortion / num_dims, rate], -1)
    course = course[np.isfinite(course).all(1)]
    place_tags(figure, plane, [("start", "end")], [course[[0, -1][: len(course)]]], [course], [INK])
    return figure


def _coloured(
    axes: Axes, x: np.ndarray, y: np.ndarray, steps: np.ndarray, norm: colors.Normalize
) -> None:
    """A line through the points, each stretch and each point in its step's colour."""
    vertices = np.stack([x, y], -1)
    stretches = np.stack([vertices[:-1], vertices[1:]], 1)
    lines = LineCollection(list(stretches), cmap=_STEPS, norm=norm, linewidths=1.6, zorder=2)
    lines.set_array(steps[1:])
    axes.add_collection(lines, autolim=False)
    axes.scatter(x, y, c=steps, cmap=_STEPS, norm=norm, s=9, linewidths=0, zorder=3)


def _step_axis(axes: Axes, last: float) -> None:
    """Training steps on a square-root scale."""
    axes.set_xscale("function", functions=(lambda s: np.sqrt(np.maximum(s, 0)), np.square))
    axes.set_xlim(0, 1.01 * last)
    _step_ticks(axes.xaxis, last)
    axes.set_xlabel("training step, square-root scale", fontsize=9, color=INK)


def _step_ticks(axis: Any, last: float) -> None:
    """0 and round numbers that stand apart under a square root."""
    decades = 10.0 ** np.arange(np.floor(np.log10(last)), -1, -1)
    ticks, room = [], np.inf
    for step in (digit * decade for decade in decades for digit in (5, 3, 2, 1)):
        place = np.sqrt(step / last)
        if place <= min(1, room - 0.165) and place > 0.165:
            ticks.append(step)
            room = place
    axis.set_major_locator(ticker.FixedLocator([0, *reversed(ticks)]))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda step, _: number(step)))

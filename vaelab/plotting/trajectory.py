"""The trajectory of one constrained run, in the information plane and in λ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.figure import row_of_panels
from vaelab.plotting.layout import Rows, curve, head, log_ticks, log_where_wide, number
from vaelab.plotting.style import GREY, INK, WINE, set_style
from vaelab.plotting.tags import place_tags

# Viridis without its yellow end, which is invisible on white.
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
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """How one constrained run moved: in the information plane, in λ and in the quantity that κ bounds.

    What to see: first the distortion falls until the constraint is met, whatever the rate. Then λ
    falls, and the rate falls at the distortion that κ allows. The colour is the training step in all
    three panels. Steps have a square-root scale, because much happens early. Rezende & Viola, 2018,
    figure 3.

    Args:
      rows: the rows of `metrics.jsonl`, each a mean over the steps since the row before: "step", "rate",
        "distortion" (nats), and "average/c", "constraint/c", "multiplier/c" for the constraint c.
      kappa: the threshold, in the units of `quantity`.
      constraint: the constraint's name, c.
      num_dims: D, the divisor of the distortion.
      achieved: the map from E[C] to the quantity that κ bounds. The default is the map of RE,
        sqrt(E[C]/D + κ²).
      quantity: the name of that quantity, and its unit.
      axes: three axes to draw into. None makes a figure.

    Raises:
      UsageError: no row logs the constraint, the rate or the distortion, D < 1, or there are not three
        axes.

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

    figure, panels = row_of_panels(axes, 3, (12, 3.7))
    for panel in panels:
        set_style(panel)
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
    for panel in (lambdas, bounded):
        _step_axis(panel, last)
        if met.size:
            label = f"met at step {met[0]:,.0f}" if panel is lambdas else None
            panel.axvline(met[0], color=INK, linestyle=":", linewidth=1, label=label, zorder=1)
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
        "colour: moving average\ngrey: mean of a batch" if batch.size else "",
    )
    # Within the last panel's own frame, so that no other axes of the figure move.
    beside = bounded.inset_axes((1.03, 0, 0.04, 1))
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, _STEPS), cax=beside)
    _step_ticks(bar.ax.yaxis, last)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    bar.set_label("training step", fontsize=9, color=INK)
    course = np.stack([distortion / num_dims, rate], -1)
    course = course[np.isfinite(course).all(1)]
    place_tags(plane, [("start", "end")], [course[[0, -1][: len(course)]]], [course], [INK])
    return figure


def _coloured(
    axes: Axes, x: np.ndarray, y: np.ndarray, steps: np.ndarray, norm: colors.Normalize
) -> None:
    """A line through the points. Each segment and each point has the colour of its step."""
    vertices = np.stack([x, y], -1)
    segments = np.stack([vertices[:-1], vertices[1:]], 1)
    lines = LineCollection(list(segments), cmap=_STEPS, norm=norm, linewidths=1.6, zorder=2)
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
    """0, and round numbers whose square roots are apart."""
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

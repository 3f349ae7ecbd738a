"""Objectives compared, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.figure import row_of_panels
from vaelab.plotting.layout import COLOURS, Rows, decimals, fixed, head, log_where_wide, settled
from vaelab.plotting.style import GREY, INDIGO, INK, ROSE, set_style


def equal_distortion(
    curves: Mapping[str, Sequence[Rows]],
    *,
    dims: int,
    target: float,
    error: Callable[[Mapping[str, Any]], float] | None = None,
    error_label: str = "distortion, nats per dimension",
    title: str = "Average KL (rate)",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """The rate that objectives pay for the same reconstruction error.

    What to see: all curves on the right reach the target. Then the lower curve on the left is the
    better encoder. Bold is the median over the seeds, faint are the seeds. The numbers are the last
    values of the medians. The first steps do not set the scales. Rezende & Viola, 2018, figure 5.

    Args:
      curves: {objective: rows of `metrics.jsonl`, one list for each seed}, each row with "step",
        "rate" and "distortion" (nats).
      dims: D, the divisor of the distortion.
      target: the reconstruction error that all should reach, in the unit of `error`.
      error: the reconstruction error of a row; distortion / D by default.
      error_label: the name of the error, and its unit.
      title: of the left panel.
      axes: two axes to draw into. None makes a figure.

    Raises:
      UsageError: there are no curves or more than eight, a seed logs no rate or distortion, D < 1, or
        there are not two axes.

    >>> rows = [{"step": s, "rate": 9.0, "distortion": 100.0 / s} for s in (1, 2, 4)]
    >>> figure = equal_distortion({"ELBO": [rows, rows]}, dims=100, target=0.25)
    >>> [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes]
    ['ELBO: 9.00', 'ELBO: 0.250']
    """
    if not 1 <= len(curves) <= len(COLOURS):
        raise UsageError(f"curves must hold one to {len(COLOURS)} objectives, got {len(curves)}.")
    check_at_least_one(dims=dims)

    def error_of(row: Mapping[str, Any]) -> float:
        if error is not None:
            return error(row)
        return np.nan if row["distortion"] is None else row["distortion"] / dims

    figure, panels = row_of_panels(axes, 2, (10, 3.8))
    for panel in panels:
        set_style(panel)
    shown: list[list[float]] = [[], [target]]
    num_seeds = set()
    for i, (name, seeds) in enumerate(curves.items()):
        kept = [[row for row in rows if "rate" in row and "distortion" in row] for rows in seeds]
        if not kept or not all(kept):
            raise UsageError(
                f"each seed of {name!r} must log rate and distortion, got one without."
            )
        num_seeds.add(len(kept))
        traces = (
            [{row["step"]: np.nan if row["rate"] is None else row["rate"] for row in rows}
             for rows in kept],
            [{row["step"]: error_of(row) for row in rows} for rows in kept],
        )  # fmt: skip
        for panel, trace, values in zip(panels, traces, shown, strict=True):
            median = _median(trace)
            for seed in trace if len(trace) > 1 else ():
                panel.plot(*zip(*seed.items(), strict=True), color=COLOURS[i], linewidth=0.7,
                           alpha=0.35)  # fmt: skip
            last = median[-1, 1]
            label = f"{name}: {fixed(last, decimals(last))}"
            panel.plot(*median.T, color=COLOURS[i], linewidth=1.8, label=label, zorder=3)
            for seed in trace:
                values += settled(np.array(list(seed.values()), float))
    label = f"target: {fixed(target, decimals(target))}"
    panels[1].axhline(target, color=INK, linestyle="--", linewidth=1, label=label, zorder=2)
    for panel, values in zip(panels, shown, strict=True):
        # A smaller span than elsewhere: the ends of the curves matter.
        log_where_wide(panel.yaxis, np.array(values), ratio=3.0)
        _limits(panel, values)
        panel.set_xlim(left=0)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))
        panel.set_xlabel("training step", fontsize=9, color=INK)
    panels[0].set_ylabel("rate, nats", fontsize=9, color=INK)
    panels[1].set_ylabel(error_label, fontsize=9, color=INK)
    count = "/".join(map(str, sorted(num_seeds)))
    note = "bold: median of {count} seeds\n" if num_seeds != {1} else ""
    head(panels[0], title, f"{note.format(count=count)}numbers: at the last step")
    head(panels[1], "Reconstruction error", "first steps may be off the axes")
    return figure


def paired_differences(
    names: tuple[str, str],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    labels: Sequence[str],
    quantity: str,
    *,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """A quantity under two objectives, pair by pair, and its mean difference.

    What to see: lines that all fall (or rise), and on the right an interval without 0. It is the
    95 % interval of the mean difference, second − first, by Student's t over the pairs:
    mean ± t_{0.975, S−1} s/√S. Rezende & Viola, 2018, table 2.

    Args:
      names: the names of the two objectives.
      first: [S], values of the first objective, one for each pair (a seed). NaN marks a run that
        diverged.
      second: [S], values of the second objective.
      labels: [S], the labels of the pairs, written beside their lines.
      quantity: the name of the quantity, and its unit after a comma: "marginal KL, nats".
      axes: two axes to draw into. None makes a figure.

    Raises:
      UsageError: shapes do not fit, no pair is finite, or there are not two axes.

    >>> figure = paired_differences(("ELBO", "GECO"), [3.0, 5.0], [1.0, 2.0], ["0", "1"], "KL, nats")
    >>> print(figure.axes[1].get_title("left"))
    mean difference −2.5 nats
    95 % interval −8.9 to 3.9
    """
    pair = np.array([np.asarray(first, float), np.asarray(second, float)]).T \
        if np.shape(first) == np.shape(second) else np.empty(0)  # fmt: skip
    if pair.ndim != 2 or len(pair) != len(labels):
        raise UsageError(
            f"first, second and labels must be [S] of one length, got {np.shape(first)}, "
            f"{np.shape(second)} and {len(labels)} labels."
        )
    if len(names) != 2:
        raise UsageError(f"names must be two, for first and second, got {len(names)}.")
    finite = np.asarray(np.isfinite(pair).all(1))
    if not finite.any():
        raise UsageError("first and second must hold a pair that is finite, got none.")
    difference = pair[finite, 1] - pair[finite, 0]
    num, mean = len(difference), difference.mean()
    error = difference.std(ddof=1) / np.sqrt(num) if num > 1 else 0.0
    half = stats.t.ppf(0.975, num - 1) * error if error else 0.0
    places = decimals(half, 2) if half else decimals(mean)
    comma, unit = quantity.rpartition(", ")[1:] if ", " in quantity else ("", "")

    figure, panels = row_of_panels(axes, 2, (6.6, 3.9), width_ratios=(1.35, 1))
    left, right = panels
    for panel in panels:
        set_style(panel)
        panel.grid(False, axis="x")
    left.plot((0, 1), pair[finite].T, color=GREY, linewidth=1, zorder=2)
    ticks = []
    for side, (name, colour) in enumerate(zip(names, (ROSE, INDIGO), strict=True)):
        values = pair[finite, side]
        left.plot(np.full(num, side), values, "o", color=colour, markersize=6,
                  markeredgecolor="white", markeredgewidth=0.7, zorder=3)  # fmt: skip
        ticks.append(f"{name}\nmean {fixed(values.mean(), places)}")
    left.set_xticks((0, 1), ticks, fontsize=9.5)
    left.set_xlim(-0.35, 1.4)
    left.set_ylabel(quantity, fontsize=9, color=INK)
    left.set_title("each line one pair", loc="left", fontsize=9, color=INK)
    kept = [label for label, is_kept in zip(labels, finite, strict=True) if is_kept]
    _beside(left, pair[finite, 1], kept)

    right.axhline(0, color=INK, linestyle="--", linewidth=1, zorder=1)
    right.plot(np.zeros(num), difference, "o", color=GREY, markersize=4.5, alpha=0.7)
    right.errorbar(0.5, mean, yerr=half or None, fmt="D", color=INDIGO, markersize=7,
                   linewidth=1.8, capsize=5, zorder=3)  # fmt: skip
    low, high = (fixed(mean + side * half, places) for side in (-1, 1))
    note = f"95 % interval {low} to {high}" if num > 1 else "one pair: no interval"
    heading = f"mean difference {fixed(mean, places)} {unit}".rstrip()
    right.set_title(f"{heading}\n{note}", loc="left", fontsize=9, color=INK)
    tick = "mean,\n95 % interval" if num > 1 else "mean"
    right.set_xticks((0, 0.5), ["pairs", tick], fontsize=9.5)
    right.set_xlim(-0.3, 0.8)
    right.set_ylabel(f"{names[1]} − {names[0]}{comma}{unit}", fontsize=9, color=INK)
    if num < len(pair):
        text = f"{len(pair) - num} of {len(pair)} pairs left out: a run diverged"
        left.set_xlabel(text, loc="left", fontsize=8, color=GREY)
    return figure


def _median(seeds: Sequence[Mapping[float, float]]) -> np.ndarray:
    """[T, 2]: the steps that any seed logs, and the median of the seeds that are finite at the step."""
    steps = sorted(set().union(*seeds))
    values = [[v for seed in seeds if np.isfinite(v := seed.get(step, np.nan))] for step in steps]
    return np.array(
        [(s, np.median(v) if v else np.nan) for s, v in zip(steps, values, strict=True)]
    )


def _limits(axes: Axes, values: Sequence[float]) -> None:
    """Sets the limits of the y axis to those of the values, with a margin."""
    if not values:
        return
    low, high = min(values), max(values)
    if axes.get_yscale() == "log":
        axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    else:
        margin = 0.05 * (high - low) or max(1e-3, 0.05 * abs(high))
        axes.set_ylim(low - margin, high + margin)


def _beside(axes: Axes, heights: np.ndarray, labels: Sequence[str]) -> None:
    """Labels on the right of x = 1, moved apart so that they do not overlap."""
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    room = 0.045 * (high - low)
    order = np.argsort(heights)
    places = heights[order].astype(float)
    for _ in range(200):
        overlap = np.maximum(room - np.diff(places), 0) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    for index, place in zip(order, places, strict=True):
        leader = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 4}
        axes.annotate(labels[index], (1, heights[index]), (1.12, place), fontsize=8, color=INK,
                      va="center", annotation_clip=False, arrowprops=leader)  # fmt: skip
    axes.set_ylim(min(low, places[0] - room), max(high, places[-1] + room))

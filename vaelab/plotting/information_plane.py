"""Rate against distortion: where runs end, the way one run took there, and two objectives compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from scipy import stats

from vaelab.plotting.curves import Rows, _curve, _number, _title
from vaelab.plotting.style import (
    BLACK,
    GREEN,
    GREY,
    INDIGO,
    INK,
    OLIVE,
    PURPLE,
    ROSE,
    TEAL,
    WINE,
    set_style,
)

_COLOURS = (INDIGO, ROSE, TEAL, WINE, OLIVE, GREEN, PURPLE, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
# Without viridis's yellow end, which vanishes on white.
_STEPS = colors.ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))


class PlaneSeries(NamedTuple):
    """One objective in the information plane, at P settings and S seeds; NaN where a run diverged."""

    label: str
    distortion: npt.ArrayLike  # [P, S]
    rate: npt.ArrayLike  # [P, S], nats
    tags: Sequence[str] = ()  # [P], for example "κ 0.1"; or none
    connect: bool = False  # by a line, in the settings' order


def information_plane(
    series: Sequence[PlaneSeries],
    *,
    distortion_label: str = "negative log-likelihood, nats per dimension",
    title: str = "Information plane",
) -> Figure:
    """What each objective pays in rate for what it reaches in distortion.

    What to see: which points lie below and to the left of which: less rate at equal distortion. A
    line shows the trade-off that one objective's settings span. The large markers are means over
    the seeds that did not diverge, the small ones the seeds. An axis whose values are positive and
    span more than a decade is logarithmic. Rezende & Viola, 2018, figure 4.

    Args:
      series: the objectives, at most eight, each with its settings (κ, β) and seeds.
      distortion_label: what `distortion` is, and its unit.

    Raises:
      ValueError: there are no series or more than eight, shapes do not fit, or all diverged.

    >>> geco = PlaneSeries("GECO", [[1.0, 1.2], [1.9, 2.1]], [[90, 94], [30, 34]], ("κ 1", "κ 2"), True)
    >>> elbo = PlaneSeries("ELBO", [[0.9, np.nan]], [[200.0, np.nan]])
    >>> axes = information_plane([geco, elbo]).axes[0]
    >>> print(axes.get_title("right"))
    large: mean over seeds, small: a seed
    diverged, not shown: ELBO 1 of 2
    """
    if not 1 <= len(series) <= len(_COLOURS):
        raise ValueError(f"series must hold one to {len(_COLOURS)} objectives, got {len(series)}.")
    points, notes = [], []
    for one in series:
        point = _members(one)
        diverged = np.isnan(point[..., 0])
        if diverged.any():
            notes.append(f"{one.label} {diverged.sum()} of {diverged.size}")
        points.append(point)
    finite = [point[~np.isnan(point[..., 0])] for point in points]
    if not sum(map(len, finite)):
        raise ValueError("series must hold a run that is finite in distortion and rate, got none.")

    figure, axes = _panels(1, (6.6, 4.6))
    means = []
    for i, (one, point) in enumerate(zip(series, points, strict=True)):
        mean = np.array([seeds[~np.isnan(seeds[:, 0])].mean(0) if np.isfinite(seeds).any() else
                         (np.nan, np.nan) for seeds in point])  # fmt: skip
        style: dict[str, Any] = {
            "color": _COLOURS[i],
            "marker": _MARKERS[i],
            "markeredgewidth": 0.8,
        }
        axes[0].plot(
            *finite[i].T, linestyle="none", alpha=0.4, zorder=3, **(style | {"markeredgewidth": 0}),
            markersize=3.5,
        )  # fmt: skip
        axes[0].plot(
            *mean.T, linestyle="-" if one.connect else "none", linewidth=1.4, zorder=4, **style,
            markersize=7.5, markeredgecolor="white", label=one.label,
        )  # fmt: skip
        means.append(mean)
    note = "large: mean over seeds, small: a seed" if max(p.shape[1] for p in points) > 1 else ""
    if notes:
        note += f"\ndiverged, not shown: {', '.join(notes)}"
    everything = np.concatenate(finite)
    _log_where_wide(axes[0].xaxis, everything[:, 0])
    _log_where_wide(axes[0].yaxis, everything[:, 1])
    axes[0].set_xlabel(distortion_label, fontsize=9, color=INK)
    axes[0].set_ylabel("rate, nats", fontsize=9, color=INK)
    _head(axes[0], title, note.strip(), columns=_columns([one.label for one in series], 6.0))
    courses = [mean if one.connect else mean[:0] for one, mean in zip(series, means, strict=True)]
    courses += [point[None] for point in [*everything, *np.concatenate(means)]]
    _place_tags(figure, axes[0], [one.tags for one in series], means, courses, _COLOURS)
    return figure


def saddle_trajectory(
    rows: Rows,
    *,
    kappa: float,
    constraint: str,
    num_dims: int,
    achieved: Callable[[float], float] | None = None,
    scale: float | None = None,
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
      achieved: from E[C]/scale to the quantity that κ bounds; by default RE's, sqrt(E[C]/D + κ²).
      scale: what the logged C is divided by before `achieved` sees it, `constraint.scale(shape)`;
        1 by default, and D where `achieved` is RE's.
      quantity: its name and unit.

    Raises:
      ValueError: no row logs the constraint, the rate or the distortion, or D < 1.

    >>> rows = [{"step": s, "rate": 20.0, "distortion": 900 / s, "average/re": 4 / s - 2,
    ...          "constraint/re": 4 / s - 2, "multiplier/re": 1.0 + s} for s in (1, 2, 3)]
    >>> figure = saddle_trajectory(rows, kappa=0.5, constraint="re", num_dims=100)
    >>> [axes.get_ylabel() for axes in figure.axes[1:3]]
    ['λ', 'RMSE per dimension']
    """
    needed = ("rate", "distortion", f"average/{constraint}", f"multiplier/{constraint}")
    for key in needed:
        if not any(key in row for row in rows):
            raise ValueError(f"rows must log {key!r}, got none that does; check the name.")
    if num_dims < 1:
        raise ValueError(f"num_dims must be at least 1, got {num_dims}.")
    if scale is None:
        scale = 1 if achieved else num_dims
    achieved = achieved or (lambda scaled: math.sqrt(max(scaled + kappa**2, 0.0)))
    steps, rate = _curve([row for row in rows if "distortion" in row], "rate")
    _, distortion = _curve([row for row in rows if "rate" in row], "distortion")
    average_steps, average = _curve(rows, f"average/{constraint}")
    batch_steps, batch = _curve(rows, f"constraint/{constraint}")
    multiplier_steps, multiplier = _curve(rows, f"multiplier/{constraint}")
    met = average_steps[average <= 0][:1]

    figure, panels = _panels(3, (12, 3.7))
    last = float(max(steps.max(), average_steps.max(), 1))
    norm = colors.PowerNorm(0.5, vmin=0, vmax=last)
    plane, lambdas, bounded = panels
    _coloured(plane, distortion / num_dims, rate, steps, norm)
    _log_where_wide(plane.xaxis, distortion / num_dims)
    _log_where_wide(plane.yaxis, rate)
    plane.set_xlabel("distortion, nats per dimension", fontsize=9, color=INK)
    plane.set_ylabel("rate, nats", fontsize=9, color=INK)

    _coloured(lambdas, multiplier_steps, multiplier, multiplier_steps, norm)
    lambdas.set_yscale("log")
    _log_ticks(lambdas.yaxis, multiplier)
    lambdas.set_ylabel("λ", fontsize=9, color=INK)

    def in_units(values: np.ndarray) -> np.ndarray:
        return np.array([achieved(value / scale) if np.isfinite(value) else np.nan
                         for value in values])  # fmt: skip

    bounded.plot(batch_steps, in_units(batch), color=GREY, linewidth=0.8, alpha=0.5, zorder=1.5)
    _coloured(bounded, average_steps, in_units(average), average_steps, norm)
    bounded.axhline(kappa, color=WINE, linestyle="--", linewidth=1.2, zorder=4,
                    label=f"κ = {kappa:g}")  # fmt: skip
    _log_where_wide(bounded.yaxis, np.append(in_units(average), kappa))
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
    _head(plane, title)
    _head(lambdas, "Multiplier", "" if met.size else "constraint never met")
    _head(
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
    _place_tags(
        figure, plane, [("start", "end")], [course[[0, -1][: len(course)]]], [course], [INK]
    )
    return figure


def equal_distortion(
    curves: Mapping[str, Sequence[Rows]],
    *,
    dims: int,
    target: float,
    error: Callable[[Mapping[str, Any]], float] | None = None,
    error_label: str = "distortion, nats per dimension",
    title: str = "Average KL (rate)",
) -> Figure:
    """What two objectives pay in rate for the same reconstruction error.

    What to see: both come to the target on the right, and then the lower curve on the left is the
    better encoder. Bold is the median over the seeds, faint are the seeds; the numbers are the
    median's at its last step. The first steps do not set the scales. Rezende & Viola, 2018,
    figure 5.

    Args:
      curves: {objective: rows of `metrics.jsonl`, one list for each seed}, each row with "step",
        "rate" and "distortion" (nats).
      dims: D, which the distortion is divided by.
      target: the reconstruction error that all are to reach, in `error`'s unit.
      error: a row's reconstruction error, its distortion / D by default.
      error_label: its name and unit.

    Raises:
      ValueError: there are no curves or more than eight, one logs no rate, or D < 1.

    >>> rows = [{"step": s, "rate": 9.0, "distortion": 100.0 / s} for s in (1, 2, 4)]
    >>> figure = equal_distortion({"ELBO": [rows, rows]}, dims=100, target=0.25)
    >>> [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes]
    ['ELBO: 9.00', 'ELBO: 0.250']
    """
    if not 1 <= len(curves) <= len(_COLOURS):
        raise ValueError(f"curves must hold one to {len(_COLOURS)} objectives, got {len(curves)}.")
    if dims < 1:
        raise ValueError(f"dims must be at least 1, got {dims}.")

    def error_of(row: Mapping[str, Any]) -> float:
        if error is not None:
            return error(row)
        return np.nan if row["distortion"] is None else row["distortion"] / dims

    figure, panels = _panels(2, (10, 3.8))
    shown: list[list[float]] = [[], [target]]
    num_seeds = set()
    for i, (name, seeds) in enumerate(curves.items()):
        kept = [[row for row in rows if "rate" in row and "distortion" in row] for rows in seeds]
        if not kept or not all(kept):
            raise ValueError(
                f"each seed of {name!r} must log rate and distortion, got one without."
            )
        num_seeds.add(len(kept))
        traces = (
            [{row["step"]: np.nan if row["rate"] is None else row["rate"] for row in rows}
             for rows in kept],
            [{row["step"]: error_of(row) for row in rows} for rows in kept],
        )  # fmt: skip
        for axes, trace, values in zip(panels, traces, shown, strict=True):
            median = _median(trace)
            for seed in trace if len(trace) > 1 else ():
                axes.plot(*zip(*seed.items(), strict=True), color=_COLOURS[i], linewidth=0.7,
                          alpha=0.35)  # fmt: skip
            last = median[-1, 1]
            label = f"{name}: {_fixed(last, _decimals(last))}"
            axes.plot(*median.T, color=_COLOURS[i], linewidth=1.8, label=label, zorder=3)
            for seed in trace:
                values += _settled(np.array(list(seed.values()), float))
    label = f"target: {_fixed(target, _decimals(target))}"
    panels[1].axhline(target, color=INK, linestyle="--", linewidth=1, label=label, zorder=2)
    for axes, values in zip(panels, shown, strict=True):
        # Over a lesser span than elsewhere: what matters is how the curves end.
        _log_where_wide(axes.yaxis, np.array(values), ratio=3.0)
        _limits(axes, values)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.set_xlabel("training step", fontsize=9, color=INK)
    panels[0].set_ylabel("rate, nats", fontsize=9, color=INK)
    panels[1].set_ylabel(error_label, fontsize=9, color=INK)
    _head(panels[0], title)
    count = "/".join(map(str, sorted(num_seeds)))
    note = "bold: median of {count} seeds\n" if num_seeds != {1} else ""
    _head(panels[0], title, f"{note.format(count=count)}numbers: at the last step")
    _head(panels[1], "Reconstruction error", "first steps may lie off the axes")
    return figure


def paired_differences(
    names: tuple[str, str],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    labels: Sequence[str],
    quantity: str,
) -> Figure:
    """Whether the second of two objectives has less of something than the first, pair by pair.

    What to see: lines that all fall (or rise), and on the right an interval that leaves 0 out. It
    is the 95 % interval of the mean difference, second − first, by Student's t over the pairs:
    mean ± t_{0.975, S−1} s/√S. Rezende & Viola, 2018, table 2.

    Args:
      names: of the two objectives.
      first: [S], of the first objective, one value a pair (a seed); NaN where the run diverged.
      second: [S], of the second.
      labels: [S], of the pairs, written beside their lines.
      quantity: what is compared, and its unit after a comma, "marginal KL, nats".

    Raises:
      ValueError: shapes do not fit, or no pair is finite.

    >>> figure = paired_differences(("ELBO", "GECO"), [3.0, 5.0], [1.0, 2.0], ["0", "1"], "KL, nats")
    >>> print(figure.axes[1].get_title("left"))
    mean difference −2.5 nats
    95 % interval −8.9 to 3.9
    """
    pair = np.array([np.asarray(first, float), np.asarray(second, float)]).T \
        if np.shape(first) == np.shape(second) else np.empty(0)  # fmt: skip
    if pair.ndim != 2 or len(pair) != len(labels):
        raise ValueError(
            f"first, second and labels must be [S] of one length, got {np.shape(first)}, "
            f"{np.shape(second)} and {len(labels)} labels."
        )
    if len(names) != 2:
        raise ValueError(f"names must be two, of first and of second, got {len(names)}.")
    finite = np.asarray(np.isfinite(pair).all(1))
    if not finite.any():
        raise ValueError("first and second must hold a pair that is finite, got none.")
    difference = pair[finite, 1] - pair[finite, 0]
    num, mean = len(difference), difference.mean()
    error = difference.std(ddof=1) / np.sqrt(num) if num > 1 else 0.0
    half = stats.t.ppf(0.975, num - 1) * error if error else 0.0
    decimals = _decimals(half, 2) if half else _decimals(mean)
    comma, unit = quantity.rpartition(", ")[1:] if ", " in quantity else ("", "")

    figure = Figure(figsize=(6.6, 3.9), dpi=150, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    for axes in (left, right):
        set_style(axes)
        axes.grid(False, axis="x")
    left.plot((0, 1), pair[finite].T, color=GREY, linewidth=1, zorder=2)
    ticks = []
    for side, (name, colour) in enumerate(zip(names, (ROSE, INDIGO), strict=True)):
        values = pair[finite, side]
        left.plot(np.full(num, side), values, "o", color=colour, markersize=6,
                  markeredgecolor="white", markeredgewidth=0.7, zorder=3)  # fmt: skip
        ticks.append(f"{name}\nmean {_fixed(values.mean(), decimals)}")
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
    low, high = (_fixed(mean + side * half, decimals) for side in (-1, 1))
    note = f"95 % interval {low} to {high}" if num > 1 else "one pair: no interval"
    heading = f"mean difference {_fixed(mean, decimals)} {unit}".rstrip()
    right.set_title(f"{heading}\n{note}", loc="left", fontsize=9, color=INK)
    tick = "mean,\n95 % interval" if num > 1 else "mean"
    right.set_xticks((0, 0.5), ["pairs", tick], fontsize=9.5)
    right.set_xlim(-0.3, 0.8)
    right.set_ylabel(f"{names[1]} − {names[0]}{comma}{unit}", fontsize=9, color=INK)
    if num < len(pair):
        text = f"{len(pair) - num} of {len(pair)} pairs left out: a run diverged"
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _members(series: PlaneSeries) -> np.ndarray:
    """[P, S, 2] of distortion and rate, both NaN where either is not finite."""
    shapes = np.shape(series.distortion), np.shape(series.rate)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(
            f"distortion and rate of {series.label!r} must be [P, S] of one shape, got {shapes[0]} "
            f"and {shapes[1]}."
        )
    if len(series.tags) not in (0, shapes[0][0]):
        raise ValueError(
            f"tags of {series.label!r} must be none or {shapes[0][0]}, one a setting, got "
            f"{len(series.tags)}."
        )
    points = np.stack([np.asarray(series.distortion, float), np.asarray(series.rate, float)], -1)
    points[~np.isfinite(points).all(-1)] = np.nan
    return points


def _panels(num: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    panels = figure.subplots(1, num, squeeze=False)[0]
    for axes in panels:
        set_style(axes)
    return figure, panels


def _head(axes: Axes, title: str, note: str = "", *, columns: int = 5) -> None:
    """Title and note, and between them and the panel the legend, where nothing runs through it."""
    _title(axes, title, note)
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, borderpad=0.2,
        ncols=columns, frameon=False, fontsize=8.5, handlelength=1.5, columnspacing=1,
        labelcolor=INK,
    )  # fmt: skip
    num_rows = -(-len(labels) // columns)
    for side in ("left", "right"):
        axes.set_title(axes.get_title(side), loc=side, pad=20 + 14 * (num_rows - 1),
                       fontsize=10.5 if side == "left" else 8,
                       color=INK if side == "left" else GREY)  # fmt: skip


def _columns(labels: Sequence[str], inches: float) -> int:
    """How many entries a legend of that width holds side by side."""
    widest = 0.45 + 0.075 * max(map(len, labels))
    return max(1, min(len(labels), int(inches / widest)))


def _log_where_wide(axis: Any, values: np.ndarray, ratio: float = 10.0) -> None:
    """A logarithmic axis where the values are positive and span more than a ratio."""
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > ratio * values.min():
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        _log_ticks(axis, values)


def _log_ticks(axis: Any, values: np.ndarray) -> None:
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > 1000 * values.min()
    axis.set_major_locator(ticker.LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _number(value)))
    axis.set_minor_formatter(ticker.NullFormatter())


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
    axis.set_major_formatter(ticker.FuncFormatter(lambda step, _: _number(step)))


def _median(seeds: Sequence[Mapping[float, float]]) -> np.ndarray:
    """[T, 2]: steps that any seed logs, and the median of the seeds that are finite there."""
    steps = sorted(set().union(*seeds))
    values = [[v for seed in seeds if np.isfinite(v := seed.get(step, np.nan))] for step in steps]
    return np.array(
        [(s, np.median(v) if v else np.nan) for s, v in zip(steps, values, strict=True)]
    )


def _settled(values: np.ndarray) -> list[float]:
    """The values but for the outermost twentieths, where those are far away, and the last one."""
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    low, high = np.percentile(values, [5, 95])
    fence = 0.25 * (high - low)
    return [*values[(values >= low - fence) & (values <= high + fence)].tolist(), float(values[-1])]


def _limits(axes: Axes, values: Sequence[float]) -> None:
    if not values:
        return
    low, high = min(values), max(values)
    if axes.get_yscale() == "log":
        axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    else:
        margin = 0.05 * (high - low) or max(1e-3, 0.05 * abs(high))
        axes.set_ylim(low - margin, high + margin)


def _decimals(value: float, digits: int = 3) -> int:
    """How many decimals show so many significant digits."""
    if not np.isfinite(value) or value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def _beside(axes: Axes, heights: np.ndarray, labels: Sequence[str]) -> None:
    """Labels right of x = 1, moved apart where they would overlap."""
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


def _place_tags(
    figure: Figure,
    axes: Axes,
    tags: Sequence[Sequence[str]],
    markers: Sequence[np.ndarray],
    lines: Sequence[np.ndarray],
    shades: Sequence[str],
) -> None:
    """Writes each tag beside its marker, where it covers fewest lines, points and other tags.

    The lines [·, 2] are what to keep clear of; a single point is a line too. Shades are a colour a
    group, darkened until it can be read.
    """
    if not any(map(len, tags)):
        return
    figure.draw_without_rendering()  # the layout decides where points come to lie
    to_dots = axes.transData.transform
    taken = np.concatenate([_densely(to_dots(line)) for line in lines])
    dots = figure.dpi / 72
    others = to_dots(np.concatenate([m for m, texts in zip(markers, tags, strict=True) if texts]))
    placed: list[Bbox] = []
    for texts, points, shade in zip(tags, markers, shades, strict=False):
        for text, point in zip(texts, points, strict=False):
            if np.isnan(point).any() or not text:
                continue
            note = axes.annotate(
                text, point, (0, 0), textcoords="offset points", fontsize=8.5, ha="center",
                va="center", color=np.multiply(colors.to_rgb(shade), 0.75), zorder=6,
            )  # fmt: skip
            note.set_in_layout(False)
            size = np.array(note.get_window_extent().size)
            costs = []
            for far in (7.0, 10.0, 15.0):
                for angle in np.deg2rad([45, 0, 90, 180, 270, 135, -45, 225]):
                    way = np.round([np.cos(angle), np.sin(angle)], 6)
                    offset = way * far * dots + np.sign(way) * size / 2
                    centre = to_dots(point) + offset
                    box = Bbox([centre - size / 2 - 2, centre + size / 2 + 2])
                    covered = ((taken > box.min) & (taken < box.max)).all(1).sum()
                    outside = np.any(box.min < axes.bbox.min) or np.any(box.max > axes.bbox.max)
                    crowded = sum(box.overlaps(other) for other in placed)
                    # Nearer to another marker it would be taken for that one's tag.
                    apart = np.linalg.norm(others - centre, axis=1)
                    stray = np.nanmin(apart) < 0.99 * np.linalg.norm(offset)
                    cost = covered + 20 * (outside + crowded + stray) + far / 20
                    costs.append((cost, offset, box))
            _, offset, box = min(costs, key=lambda entry: entry[0])
            placed.append(box)
            note.set_position(tuple(offset / dots))


def _densely(line: np.ndarray) -> np.ndarray:
    """A line's points with others between them; without what is not finite."""
    between = [start + np.linspace(0, 1, 40)[:, None] * (end - start)
               for start, end in itertools.pairwise(line)]  # fmt: skip
    points = np.concatenate([line, *between])
    return points[np.isfinite(points).all(1)]

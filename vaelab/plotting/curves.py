"""The values that a run logged, as curves over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vaelab.checks import UsageError
from vaelab.plotting.figure import checked_panels, figure_of, new_figure
from vaelab.plotting.layout import Rows, curve, number, set_titles, settled
from vaelab.plotting.style import INDIGO, INK, OLIVE, ROSE, TEAL, WINE, set_style


def training_curves(
    rows: Rows,
    *,
    thresholds: Mapping[str, float] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """The ELBO, rate and distortion, constraints and multipliers of a run over its steps.

    What to see: (1) the ELBO rises, and validation follows training. (2) The distortion falls to its
    threshold while the rate rises. (3) The moving average of each constraint falls to 0 and stays
    there. (4) λ settles, under REWO at max(1, λ_KKT). If a constraint is measured in nats, λ = 1 is
    the weight of the distortion in the ELBO, and a larger λ means that the constraint costs ELBO.
    λ = 0 leaves the logarithmic axis through the bottom. Panels 3 and 4 need constraints.

    The huge values of the first steps do not set the scale. Panels 1 and 2 show the 5th to the 95th
    percentile and a quarter of that span beyond; the note above the panel counts the values outside.
    Panel 3 is linear around 0, on the scale of the second half of the run, and logarithmic beyond
    (asinh). Values that are not finite leave a gap. Panels 1 and 2 report the first of them.

    Args:
      rows: the rows of `metrics.jsonl`, each with "step" and any of "elbo", "validation/elbo",
        "rate", "distortion" (nats), "constraint/c" (batch mean), "average/c", "multiplier/c" for
        each constraint c, and "feasible_once".
      thresholds: {constraint: nats}, the distortion at the threshold of a constraint: D κ for an NLL
        constraint.
      axes: the axes to draw into, one for each panel: four, or two if the run has no constraints.
        An array of `pyplot.subplots` is taken row by row. None makes a figure.

    Raises:
      UsageError: there are no rows, or another number of axes.

    >>> rows = [{"step": s, "elbo": -100.0, "rate": 20.0, "distortion": 80.0} for s in (0, 100)]
    >>> figure = training_curves(rows, thresholds={"nll": 78.4})
    >>> [axes.get_title("left") for axes in figure.axes]
    ['ELBO', 'Rate and distortion']
    """
    if not rows:
        raise UsageError("rows must hold at least one logged step, got none.")
    kinds = ("constraint/", "average/", "multiplier/")
    keys = (key for row in rows for key in row if key.startswith(kinds))
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in keys))

    num_panels = 4 if names else 2
    if axes is None:
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.03, hspace=0.04)
        figure = new_figure((10, 1.75 * num_panels), layout)
        panels = figure.subplots(num_panels // 2, 2, sharex=True).ravel().tolist()
    else:
        panels = checked_panels(axes, num_panels)
        figure = figure_of(panels[0])
    for panel in panels:
        set_style(panel)
    curves = {"elbo": ("train", INDIGO), "validation/elbo": ("validation", ROSE)}
    _nats_panel(panels[0], "ELBO", rows, curves, {})
    curves = {"rate": ("rate", TEAL), "distortion": ("distortion", WINE)}
    _nats_panel(panels[1], "Rate and distortion", rows, curves, thresholds or {})
    if names:
        steps, feasible = curve(rows, "feasible_once")
        met = steps[feasible > 0]
        colours = {name: (WINE, TEAL, INDIGO, OLIVE)[i % 4] for i, name in enumerate(names)}
        title = "Constraint" + (", not met yet" if steps.size and not met.size else "")
        _constraint_panel(panels[2], title, rows, colours)
        _multiplier_panel(panels[3], rows, colours)
        for panel in panels[2:] if met.size else ():
            label = f"first met at step {met[0]:,.0f}"
            panel.axvline(met[0], color=INK, linewidth=1, linestyle=":", label=label, zorder=1)
    logged = [row["step"] for row in rows]
    for panel in panels:
        if min(logged) == max(logged):
            panel.set_xlim(logged[0] - 0.5, logged[0] + 0.5)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True, min_n_ticks=1))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))
        if panel.get_legend_handles_labels()[0]:
            # Above the panel, where it covers no curve.
            panel.legend(
                loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, borderpad=0.2, ncols=5,
                frameon=False, fontsize=8.5, handlelength=1.5, columnspacing=1, labelcolor=INK,
            )  # fmt: skip
    for panel in panels if axes is not None else panels[-2:]:
        panel.set_xlabel("training step", fontsize=9, color=INK)
    return figure


def _draw(axes: Axes, steps: np.ndarray, values: np.ndarray, **style: Any) -> None:
    if steps.size:
        if steps.size == 1:  # a line of one point is invisible
            style |= {"marker": "o", "markersize": 4}
        axes.plot(steps, values, **({"linewidth": 1.6} | style))


def _nats_panel(
    axes: Axes,
    title: str,
    rows: Rows,
    curves: Mapping[str, tuple[str, str]],
    thresholds: Mapping[str, float],
) -> None:
    """Curves {key: (label, colour)} in nats, within limits that the first steps do not set.

    The thresholds {name: nats} are lines in the colour of the distortion.
    """
    shown, logged, notes = [], [], []
    for key, (label, colour) in curves.items():
        steps, values = curve(rows, key)
        dots = {"marker": "o", "markersize": 3} if "/" in key else {}
        _draw(axes, steps, values, color=colour, label=label, **dots)
        finite = np.isfinite(values)
        if not finite.all():
            notes.append(f"{label} not finite at step {steps[~finite][0]:,.0f}")
        logged += values[finite].tolist()
        shown += settled(values)
    for name, value in thresholds.items():
        label = f"threshold of {name}, {value:,.1f}"
        axes.axhline(value, color=WINE, linestyle="--", linewidth=1, label=label)
        shown.append(value)
    if shown:
        low, high = min(shown), max(shown)
        margin = 0.05 * (high - low) or max(1.0, 0.05 * abs(high))
        axes.set_ylim(low - margin, high + margin)
        outside = [
            value for value in logged if abs(2 * value - low - high) > high - low + 2 * margin
        ]
        if outside:
            furthest = max(outside, key=lambda value: abs(2 * value - low - high))
            count = "1 value" if len(outside) == 1 else f"{len(outside)} values"
            notes.append(f"{count} off the axis, to {number(furthest)}")
    set_titles(axes, title, "\n".join(notes))
    axes.set_ylabel("nats", fontsize=9, color=INK)


def _constraint_panel(axes: Axes, title: str, rows: Rows, colours: Mapping[str, str]) -> None:
    """The moving averages of the constraints, with faint values of the batches, on an asinh axis."""
    late_sizes, largest = [], []
    for name, colour in colours.items():
        steps, batch = curve(rows, f"constraint/{name}")
        _draw(axes, steps, batch, color=colour, linewidth=0.8, alpha=0.35)
        _draw(axes, *curve(rows, f"average/{name}"), color=colour, label=name)
        size = np.abs(np.where(np.isfinite(batch), batch, 0))
        late = size[len(size) // 2 :]
        if late.any():
            late_sizes.append(np.percentile(late[late > 0], 75))
            largest.append(size.max())
    late_size, reach = min(late_sizes, default=1.0), max(largest, default=1.0)
    # A power of ten within the axis, so that the axis has numbers.
    linear = 10.0 ** min(np.round(np.log10(late_size)), np.floor(np.log10(reach)))
    # A symlog scale has a kink, which would look like an event in the run.
    axes.set_yscale("asinh", linear_width=linear)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    low, high = axes.get_ylim()
    low, high = min(1.1 * low, -0.5 * linear), max(1.1 * high, 0.5 * linear)
    axes.axhspan(low, 0, color="#e9f2ea", linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linestyle="--", linewidth=1, label="threshold 0", zorder=1)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(ticker.FixedLocator(_asinh_ticks(low, high, linear)))
    scale = f"linear within ±{number(linear)}, log beyond"
    set_titles(axes, title, f"bold: moving average, faint: batches\n{scale}")
    unit = "nats" if set(colours) == {"nll"} else "each in its own unit"
    axes.set_ylabel(f"C(x, z), {unit}\n(met where shaded)", fontsize=9, color=INK)


def _asinh_ticks(low: float, high: float, linear: float) -> list[float]:
    """0, and outside the linear part 1, 2, 5, 10, ... times its width, or the powers of ten alone."""
    span = np.arcsinh(high / linear) - np.arcsinh(low / linear)
    first, step = int(span > 12), 1 if span < 25 else 2
    decades = np.arange(first, np.log10(max(high, -low) / linear) + 1, step)
    sizes = [linear * m * 10**k for k in decades for m in ((1, 2, 5) if span < 6.5 else (1,))]
    ticks = [-size for size in reversed(sizes)] + [0.0] + sizes
    return [tick for tick in ticks if low <= tick <= high]


def _multiplier_panel(axes: Axes, rows: Rows, colours: Mapping[str, str]) -> None:
    """The multipliers on a logarithmic axis of at least a decade, with the line λ = 1."""
    shown = [1.0]
    for name, colour in colours.items():
        steps, values = curve(rows, f"multiplier/{name}")
        _draw(axes, steps, values, color=colour, label=name)
        shown += values[np.isfinite(values) & (values > 0)].tolist()
    axes.set_yscale("log")
    low, high = min(shown) / 1.5, max(shown) * 1.5
    stretch = max(1.0, np.sqrt(10 * low / high))
    axes.set_ylim(low / stretch, high * stretch)
    axes.axhline(1, color=INK, linestyle="--", linewidth=1, label="λ = 1", zorder=1)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    set_titles(axes, "Multiplier", "log scale")
    axes.set_ylabel("λ", fontsize=9, color=INK)

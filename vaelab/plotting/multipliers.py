"""How the multiplier of a constraint settles, and the rate that its model pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import checked_panels, figure_of, new_figure
from vaelab.plotting.layout import COLOURS, head, log_ticks, log_where_wide, number
from vaelab.plotting.style import GREY, INK, set_style


class Settling(NamedTuple):
    """One constraint, for S seeds."""

    label: str  # for example "RE ≤ 0.1"
    quantity: str  # the quantity that κ bounds, and its unit
    kappa: float  # in the units of the quantity
    steps: Sequence[Sequence[float]]  # [S, T]
    multipliers: Sequence[Sequence[float]]  # [S, T], λ
    points: Sequence[tuple[float, float]]  # [S], (quantity, rate) at the end
    reference: Sequence[tuple[float, float]]  # [P], (quantity, rate) of the reference at P settings
    between: Sequence[
        tuple[float, float]
    ] = ()  # [Q], on the reference's curve; empty: straight lines


def settling(
    constraints: Sequence[Settling],
    *,
    limit: float = 100.0,
    reference_label: str = "β-VAEs",
    title: str = "Stability",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """λ of each constraint over the steps, and the ends of its runs beside the trade-off of a reference.

    What to see: in the first panel no curve is near the limit: λ never was far above its last value.
    In the other panels the points are on the line of the reference or below it: no rate was wasted.

    Args:
      constraints: at most eight.
      limit: a line in the first panel, as a multiple of the last λ.
      reference_label: the name of the reference.
      title: of the first panel.
      axes: the axes to draw into, one for each constraint and one more. None makes a figure.

    Raises:
      UsageError: there are no constraints or more than eight, the last λ of one is not positive, or
        there is another number of axes.

    >>> one = Settling("RE ≤ 0.1", "RMSE", 0.1, [[1, 2]], [[4.0, 2.0]], [(0.1, 20.0)], [(0.1, 25.0), (0.2, 9.0)])
    >>> figure = settling([one])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['λ / its last value', 'rate, nats']
    """
    if not 1 <= len(constraints) <= len(COLOURS):
        raise UsageError(f"constraints must be one to {len(COLOURS)}, got {len(constraints)}.")
    num_panels = 1 + len(constraints)
    if axes is None:
        columns = min(3, num_panels)
        rows = math.ceil(num_panels / columns)
        figure = new_figure((3.5 * columns, 3.3 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        for panel in panels[num_panels:]:
            panel.remove()
        panels = panels[:num_panels]
    else:
        panels = checked_panels(axes, num_panels)
        figure = figure_of(panels[0])
    for panel in panels:
        set_style(panel)
    relative: list[float] = [limit]
    for one, colour in zip(constraints, COLOURS, strict=False):
        for seed, (steps, values) in enumerate(zip(one.steps, one.multipliers, strict=True)):
            course = np.asarray(values, float)
            if not course.size or not course[-1] > 0:
                raise UsageError(f"multipliers of {one.label!r} must end above 0.")
            course = course / course[-1]
            relative += course.tolist()
            panels[0].plot(steps, course, color=colour, linewidth=1.4,
                           label=one.label if seed == 0 else None)  # fmt: skip
    panels[0].axhline(limit, color=INK, linestyle="--", linewidth=1)
    panels[0].annotate(
        f"{limit:g}× is an explosion", (1, limit), (-2, -4), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=8, color=INK, ha="right", va="top",
    )  # fmt: skip
    panels[0].set_yscale("log")
    log_ticks(panels[0].yaxis, np.array(relative))
    panels[0].set_xlim(left=0)
    panels[0].xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    panels[0].xaxis.set_major_formatter(lambda step, _: number(step))
    panels[0].set_xlabel("training step", fontsize=9, color=INK)
    panels[0].set_ylabel("λ / its last value", fontsize=9, color=INK)
    head(panels[0], title, columns=2)
    for one, colour, panel in zip(constraints, COLOURS, panels[1:], strict=False):
        reference, between = (
            np.array(pairs, float).reshape(-1, 2).T
            for pairs in (one.reference, one.between or one.reference)
        )
        panel.axvline(one.kappa, color=INK, linestyle="--", linewidth=1, label="κ")
        panel.plot(*between, color=GREY, linewidth=1.2)
        panel.plot(*reference, "o", color=GREY, markersize=4, label=reference_label)
        points = np.array(one.points, float).reshape(-1, 2)
        panel.plot(*points.T, "D", color=colour, markersize=7, markeredgecolor="white",
                   label="GECO", zorder=3)  # fmt: skip
        rates = np.append(points[:, 1], [rate for _, rate in one.reference])
        log_where_wide(panel.yaxis, rates)
        panel.set_xlabel(one.quantity, fontsize=9, color=INK)
        panel.set_ylabel("rate, nats", fontsize=9, color=INK)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(5))
        head(panel, one.label, columns=3)
    return figure

"""Whether a constraint's multiplier settles, and what its model pays beside another objective's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.layout import COLOURS, head, log_ticks, log_where_wide, new_figure, number
from vaelab.plotting.style import GREY, INK, set_style


class Settling(NamedTuple):
    """One constraint, for S seeds."""

    label: str  # for example "RE ≤ 0.1"
    quantity: str  # what κ bounds, and its unit
    kappa: float  # in the quantity's units
    steps: Sequence[Sequence[float]]  # [S, T]
    multipliers: Sequence[Sequence[float]]  # [S, T], λ
    points: Sequence[tuple[float, float]]  # [S], value of the quantity and rate at the end
    reference: Sequence[tuple[float, float]]  # [P], the same of the reference at P settings
    between: Sequence[tuple[float, float]] = ()  # [Q], and in between; straight lines where empty


def settling(
    constraints: Sequence[Settling],
    *,
    limit: float = 100.0,
    reference_label: str = "β-VAEs",
    title: str = "Stability",
) -> Figure:
    """λ of each constraint on its way, and where its models end beside a reference's trade-off.

    What to see: in the first panel no curve comes near the limit: λ never ran far above where it settled.
    In each other one the points lie on or below the reference's line: no rate was wasted on the way.

    Args:
      constraints: at most eight.
      limit: drawn in the first panel, as a multiple of the last λ.
      reference_label: what the reference is called.

    Raises:
      UsageError: there are none or more than eight, or one has no positive λ.

    >>> one = Settling("RE ≤ 0.1", "RMSE", 0.1, [[1, 2]], [[4.0, 2.0]], [(0.1, 20.0)], [(0.1, 25.0), (0.2, 9.0)])
    >>> figure = settling([one])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['λ / its last value', 'rate, nats']
    """
    if not 1 <= len(constraints) <= len(COLOURS):
        raise UsageError(f"constraints must be one to {len(COLOURS)}, got {len(constraints)}.")
    columns = min(3, 1 + len(constraints))
    rows = math.ceil((1 + len(constraints)) / columns)
    size = (3.5 * columns, 3.3 * rows)
    figure = new_figure(size)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        set_style(axes)
    for axes in panels[1 + len(constraints) :]:
        axes.remove()
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
    for one, colour, axes in zip(constraints, COLOURS, panels[1:], strict=False):
        reference, between = (
            np.array(pairs, float).reshape(-1, 2).T
            for pairs in (one.reference, one.between or one.reference)
        )
        axes.axvline(one.kappa, color=INK, linestyle="--", linewidth=1, label="κ")
        axes.plot(*between, color=GREY, linewidth=1.2)
        axes.plot(*reference, "o", color=GREY, markersize=4, label=reference_label)
        points = np.array(one.points, float).reshape(-1, 2)
        axes.plot(*points.T, "D", color=colour, markersize=7, markeredgecolor="white",
                  label="GECO", zorder=3)  # fmt: skip
        rates = np.append(points[:, 1], [rate for _, rate in one.reference])
        log_where_wide(axes.yaxis, rates)
        axes.set_xlabel(one.quantity, fontsize=9, color=INK)
        axes.set_ylabel("rate, nats", fontsize=9, color=INK)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        head(axes, one.label, columns=3)
    return figure

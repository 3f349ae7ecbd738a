"""Rate against distortion: where runs end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import one_panel, width_of
from vaelab.plotting.layout import COLOURS, head, legend_columns, log_where_wide
from vaelab.plotting.style import INK, set_style
from vaelab.plotting.tags import place_tags

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


class PlaneSeries(NamedTuple):
    """One objective in the information plane, at P settings and S seeds. NaN marks a run that diverged."""

    label: str
    distortion: npt.ArrayLike  # [P, S]
    rate: npt.ArrayLike  # [P, S], nats
    tags: Sequence[str] = ()  # [P], for example "κ 0.1", or none
    connect: bool = False  # True draws a line through the settings, in their order


def information_plane(
    series: Sequence[PlaneSeries],
    *,
    distortion_label: str = "negative log-likelihood, nats per dimension",
    title: str = "Information plane",
    ax: Axes | None = None,
) -> Figure:
    """The rate that each objective pays for its distortion.

    What to see: points below and to the left of other points have less rate at equal distortion. A
    line is the trade-off over the settings of one objective. Large markers are means over the seeds
    that did not diverge. Small markers are seeds. An axis is logarithmic if its values are positive
    and span more than a decade. Rezende & Viola, 2018, figure 4.

    Args:
      series: the objectives, at most eight, each with its settings (κ, β) and seeds.
      distortion_label: the name of `distortion`, and its unit.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: there are no series or more than eight, shapes do not fit, or all runs diverged.

    >>> geco = PlaneSeries("GECO", [[1.0, 1.2], [1.9, 2.1]], [[90, 94], [30, 34]], ("κ 1", "κ 2"), True)
    >>> elbo = PlaneSeries("ELBO", [[0.9, np.nan]], [[200.0, np.nan]])
    >>> axes = information_plane([geco, elbo]).axes[0]
    >>> print(axes.get_title("right"))
    large: mean over seeds, small: a seed
    diverged, not shown: ELBO 1 of 2
    """
    if not 1 <= len(series) <= len(COLOURS):
        raise UsageError(f"series must hold one to {len(COLOURS)} objectives, got {len(series)}.")
    points, notes = [], []
    for one in series:
        point = _members(one)
        diverged = np.isnan(point[..., 0])
        if diverged.any():
            notes.append(f"{one.label} {diverged.sum()} of {diverged.size}")
        points.append(point)
    finite = [point[~np.isnan(point[..., 0])] for point in points]
    if not sum(map(len, finite)):
        raise UsageError("series must hold a run that is finite in distortion and rate, got none.")

    figure, axes = one_panel(ax, (6.6, 4.6))
    set_style(axes)
    means = []
    for i, (one, point) in enumerate(zip(series, points, strict=True)):
        mean = np.array([seeds[~np.isnan(seeds[:, 0])].mean(0) if np.isfinite(seeds).any() else
                         (np.nan, np.nan) for seeds in point])  # fmt: skip
        style: dict[str, Any] = {
            "color": COLOURS[i],
            "marker": _MARKERS[i],
            "markeredgewidth": 0.8,
        }
        axes.plot(
            *finite[i].T, linestyle="none", alpha=0.4, zorder=3, **(style | {"markeredgewidth": 0}),
            markersize=3.5,
        )  # fmt: skip
        axes.plot(
            *mean.T, linestyle="-" if one.connect else "none", linewidth=1.4, zorder=4, **style,
            markersize=7.5, markeredgecolor="white", label=one.label,
        )  # fmt: skip
        means.append(mean)
    note = "large: mean over seeds, small: a seed" if max(p.shape[1] for p in points) > 1 else ""
    if notes:
        note += f"\ndiverged, not shown: {', '.join(notes)}"
    everything = np.concatenate(finite)
    log_where_wide(axes.xaxis, everything[:, 0])
    log_where_wide(axes.yaxis, everything[:, 1])
    axes.set_xlabel(distortion_label, fontsize=9, color=INK)
    axes.set_ylabel("rate, nats", fontsize=9, color=INK)
    columns = legend_columns([one.label for one in series], 6.0 if ax is None else width_of(ax))
    head(axes, title, note.strip(), columns=columns)
    lines = [mean if one.connect else mean[:0] for one, mean in zip(series, means, strict=True)]
    lines += [point[None] for point in [*everything, *np.concatenate(means)]]
    place_tags(axes, [one.tags for one in series], means, lines, COLOURS)
    return figure


def _members(series: PlaneSeries) -> np.ndarray:
    """[P, S, 2] of distortion and rate, both NaN where either is not finite."""
    shapes = np.shape(series.distortion), np.shape(series.rate)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise UsageError(
            f"distortion and rate of {series.label!r} must be [P, S] of one shape, got {shapes[0]} "
            f"and {shapes[1]}."
        )
    if len(series.tags) not in (0, shapes[0][0]):
        raise UsageError(
            f"tags of {series.label!r} must be none or {shapes[0][0]}, one for each setting, got "
            f"{len(series.tags)}."
        )
    points = np.stack([np.asarray(series.distortion, float), np.asarray(series.rate, float)], -1)
    points[~np.isfinite(points).all(-1)] = np.nan
    return points

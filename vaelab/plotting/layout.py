"""What plots share: titles, legends, captions, logarithmic axes, numbers and logged curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
)

# The colours of the objectives in one plot.
COLOURS = (INDIGO, ROSE, TEAL, WINE, OLIVE, GREEN, PURPLE, BLACK)

Rows = Sequence[Mapping[str, Any]]  # of metrics.jsonl


def head(axes: Axes, title: str, note: str = "", *, columns: int = 5) -> None:
    """Title and note above the panel, and the legend between them and the panel: it covers no curve."""
    set_titles(axes, title, note)
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


def legend_above(figure: Figure, handles: Sequence[Any], title: str = "", *, columns: int) -> None:
    """One legend for all panels, under the title of the figure."""
    figure.legend(
        handles=handles, title=title, alignment="left", loc="outside upper left", ncols=columns,
        frameon=False, fontsize=8.5, title_fontsize=11, labelcolor=INK, handletextpad=0.4,
        columnspacing=1.4,
    )  # fmt: skip


def legend_columns(labels: Sequence[str], inches: float) -> int:
    """The number of entries that fit side by side into a legend of this width."""
    widest = 0.45 + 0.075 * max(map(len, labels))
    return max(1, min(len(labels), int(inches / widest)))


def log_where_wide(axis: Any, values: np.ndarray, ratio: float = 10.0) -> None:
    """Makes the axis logarithmic if the values are positive and their largest is > ratio times their smallest."""
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > ratio * values.min():
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        log_ticks(axis, values)


def log_ticks(axis: Any, values: np.ndarray) -> None:
    """Numbered ticks at 1, 2 and 5 of each decade; at the decades alone if the values span over three."""
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > 1000 * values.min()
    axis.set_major_locator(ticker.LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(ticker.NullFormatter())


def decimals(value: float, digits: int = 3) -> int:
    """The number of decimals that shows this number of significant digits."""
    if not np.isfinite(value) or value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def fixed(value: float, decimals: int) -> str:
    """A number with a fixed number of decimals and a minus sign: −1,234.50."""
    return f"{value:,.{decimals}f}".replace("-", "−")


def curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that log `key`. A None counts as NaN: JSON has no NaN."""
    found = [(row["step"], np.nan if row[key] is None else row[key]) for row in rows if key in row]
    steps, values = np.asarray(found, float).reshape(-1, 2).T
    return steps, values


def set_titles(axes: Axes, title: str, note: str) -> None:
    """The title on the left and the note on the right, with room for a legend below."""
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=20)
    axes.set_title(note, loc="right", fontsize=8, color=GREY, pad=20)


def number(value: float) -> str:
    """A short number: 12,000, 0.001, −5. Numbers from 1e6 on are written as powers of ten."""
    text = f"{value:,.0f}" if 10 <= abs(value) < 1e6 else f"{value:g}"
    return text.replace("-", "−")


def settled(values: np.ndarray) -> list[float]:
    """The values that set an axis's limits: those near the 5th to the 95th percentile, and the last one.

    Near is within a quarter of the distance between the two percentiles.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    low, high = np.percentile(values, [5, 95])
    fence = 0.25 * (high - low)
    return [*values[(values >= low - fence) & (values <= high + fence)].tolist(), float(values[-1])]


def wrap_caption(caption: str, width: float) -> list[str]:
    """The lines of a caption under a figure of this width in inches."""
    parts = caption.splitlines()
    return [line for part in parts for line in textwrap.wrap(part, int(14.5 * width))]


def draw_caption(figure: Figure, lines: Sequence[str]) -> None:
    """Writes the lines below all panels."""
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8.5, color=INK)

"""What pictures share: panels, headings, captions, axes that turn logarithmic, tags beside points."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

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

# Of objectives that stand in one picture.
COLOURS = (INDIGO, ROSE, TEAL, WINE, OLIVE, GREEN, PURPLE, BLACK)

Rows = Sequence[Mapping[str, Any]]  # of metrics.jsonl


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty picture, so many inches wide and high."""
    return Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")


def row_of_panels(num: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    figure = new_figure(size)
    panels = figure.subplots(1, num, squeeze=False)[0]
    for axes in panels:
        set_style(axes)
    return figure, panels


def head(axes: Axes, title: str, note: str = "", *, columns: int = 5) -> None:
    """Title and note, and between them and the panel the legend, where nothing runs through it."""
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
    """One legend for all panels, under the picture's title."""
    figure.legend(
        handles=handles, title=title, alignment="left", loc="outside upper left", ncols=columns,
        frameon=False, fontsize=8.5, title_fontsize=11, labelcolor=INK, handletextpad=0.4,
        columnspacing=1.4,
    )  # fmt: skip


def legend_columns(labels: Sequence[str], inches: float) -> int:
    """How many entries a legend of that width holds side by side."""
    widest = 0.45 + 0.075 * max(map(len, labels))
    return max(1, min(len(labels), int(inches / widest)))


def log_where_wide(axis: Any, values: np.ndarray, ratio: float = 10.0) -> None:
    """A logarithmic axis where the values are positive and span more than a ratio."""
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > ratio * values.min():
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        log_ticks(axis, values)


def log_ticks(axis: Any, values: np.ndarray) -> None:
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > 1000 * values.min()
    axis.set_major_locator(ticker.LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(ticker.NullFormatter())


def decimals(value: float, digits: int = 3) -> int:
    """How many decimals show so many significant digits."""
    if not np.isfinite(value) or value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def place_tags(
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


def curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that log `key`; a null, as JSON may write NaN, is NaN."""
    found = [(row["step"], np.nan if row[key] is None else row[key]) for row in rows if key in row]
    steps, values = np.asarray(found, float).reshape(-1, 2).T
    return steps, values


def set_titles(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=20)
    axes.set_title(note, loc="right", fontsize=8, color=GREY, pad=20)


def number(value: float) -> str:
    """12000 -> 12,000; 0.001 -> 0.001; 1e6 and more in powers of ten."""
    text = f"{value:,.0f}" if 10 <= abs(value) < 1e6 else f"{value:g}"
    return text.replace("-", "−")


def settled(values: np.ndarray) -> list[float]:
    """The values but for the outermost twentieths, where those are far away, and the last one."""
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    low, high = np.percentile(values, [5, 95])
    fence = 0.25 * (high - low)
    return [*values[(values >= low - fence) & (values <= high + fence)].tolist(), float(values[-1])]


def wrap_caption(caption: str, width: float) -> list[str]:
    """The lines of a caption under a figure so many inches wide."""
    parts = caption.splitlines()
    return [line for part in parts for line in textwrap.wrap(part, int(14.5 * width))]


def draw_caption(figure: Figure, lines: Sequence[str]) -> None:
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8.5, color=INK)

"""Tags beside the markers of a plot."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from vaelab.plotting.figure import figure_of


def place_tags(
    axes: Axes,
    tags: Sequence[Sequence[str]],
    markers: Sequence[np.ndarray],
    lines: Sequence[np.ndarray],
    shades: Sequence[str],
) -> None:
    """Writes each tag beside its marker, at the place with the least below it.

    Tags and markers come in groups.

    Args:
      tags: the texts of each group; none for a group without tags.
      markers: [T, 2] for each group; a marker with NaN gets no tag.
      lines: [·, 2] each, the lines that tags keep clear of. A point is a line of length 1.
      shades: a colour for each group. Its tags are darker.
    """
    if not any(map(len, tags)):
        return
    figure = figure_of(axes)
    figure.draw_without_rendering()  # the layout decides where the markers are
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
                    # A tag nearer to another marker would be read as the tag of that marker.
                    apart = np.linalg.norm(others - centre, axis=1)
                    stray = np.nanmin(apart) < 0.99 * np.linalg.norm(offset)
                    cost = covered + 20 * (outside + crowded + stray) + far / 20
                    costs.append((cost, offset, box))
            _, offset, box = min(costs, key=lambda entry: entry[0])
            placed.append(box)
            note.set_position(tuple(offset / dots))


def _densely(line: np.ndarray) -> np.ndarray:
    """The finite points of a line, and points between them."""
    between = [start + np.linspace(0, 1, 40)[:, None] * (end - start)
               for start, end in itertools.pairwise(line)]  # fmt: skip
    points = np.concatenate([line, *between])
    return points[np.isfinite(points).all(1)]

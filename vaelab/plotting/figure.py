"""Figures that a notebook shows, and the axes that a plot draws into."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError

DPI = 150


class Plot(Figure):
    """A matplotlib figure that a notebook shows when it is the value of a cell.

    matplotlib teaches a notebook to show figures only when pyplot is imported. This library does not
    import pyplot, so a plot can show itself, and pyplot neither keeps it open nor shows it again.

    >>> Plot(figsize=(1, 1))._repr_png_()[1]
    {'width': 96}
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The PNG and its width on the page, at the 96 pixels per inch of a browser."""
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue(), {"width": round(96 * self.get_figwidth())}


def new_figure(size: tuple[float, float], layout: Any = "constrained") -> Figure:
    """An empty figure of (width, height) inches."""
    return Plot(figsize=size, dpi=DPI, facecolor="white", layout=layout)


def one_panel(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The axes given, with their figure; a new figure of one panel where there are none."""
    if ax is not None:
        return figure_of(ax), ax
    figure = new_figure(size)
    return figure, figure.subplots()


def row_of_panels(
    axes: Sequence[Axes] | None, num: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[Axes]]:
    """The `num` axes given, with their figure; a new figure of one row where there are none."""
    if axes is not None:
        panels = checked_panels(axes, num)
        return figure_of(panels[0]), panels
    figure = new_figure(size)
    return figure, list(figure.subplots(1, num, squeeze=False, **options)[0])


def checked_panels(axes: Sequence[Axes], num: int) -> list[Axes]:
    """The axes given, in the order of their rows.

    Raises:
      UsageError: there are not `num` of them.
    """
    panels: list[Axes] = np.ravel(np.asarray(axes, object)).tolist()
    if len(panels) != num:
        raise UsageError(f"axes must be {num}, one for each panel, got {len(panels)}.")
    return panels


def figure_of(axes: Axes) -> Figure:
    """The whole figure of the axes, also if they belong to a subfigure."""
    return axes.figure.figure


def width_of(axes: Axes) -> float:
    """The width of the axes in inches."""
    return axes.get_window_extent().width / axes.figure.dpi

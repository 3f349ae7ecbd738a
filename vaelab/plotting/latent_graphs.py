"""Nearest-neighbour graphs in latent spaces, with the codes of the data and paths between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import check_at_least_one
from vaelab.plotting.figure import figure_of, new_figure, one_panel
from vaelab.plotting.graph_panels import (
    EDGE_COLOURS,
    PATH_COLOURS,
    Colours,
    GraphInPlane,
    LatentGraph,
    prepare,
)
from vaelab.plotting.labels import mark_turn
from vaelab.plotting.layout import legend_above, legend_columns, number
from vaelab.plotting.style import BLACK, GREY, INK, PALETTE, set_style

_MARGIN = 0.1  # on each side, relative to what the view holds


def latent_graph(
    graph: LatentGraph,
    *,
    names: Sequence[str] = (),
    label: str = "label",
    period: float | None = None,
    straight: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """One graph: `latent_graphs` with a single panel, its legend on the right. `ax`: axes to draw into.

    >>> square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    >>> graph = LatentGraph("VHP", square, [[0, 1], [1, 2], [2, 3]], [1.0, 2.0, 1.0], paths=[square])
    >>> latent_graph(graph).axes[0].get_title("left")
    'VHP'
    """
    (panel,), colours = prepare([graph], names, label, period)
    figure, axes = one_panel(ax, (7.0, 5.4))
    _draw(axes, panel, colours, straight)
    handles = [*colours.handles, *_path_handles([panel], straight)]
    if handles:
        axes.legend(
            handles=handles, title=label if colours.handles else None, alignment="left",
            labelcolor=INK, handletextpad=0.4, loc="upper left", bbox_to_anchor=(1.01, 1),
            borderaxespad=0, frameon=False, fontsize=9, title_fontsize=9,
        )  # fmt: skip
    _draw_bars(axes, colours)
    return figure


def latent_graphs(
    graphs: Sequence[LatentGraph],
    *,
    names: Sequence[str] = (),
    label: str = "label",
    period: float | None = None,
    straight: bool = False,
    columns: int = 3,
    title: str = "",
) -> Figure:
    """Graphs in latent spaces side by side: their edges, the codes of the data, and paths.

    What to see: codes of one colour together, and pale edges below them. Dark edges are expensive: they
    cross regions that the graph avoids. A good path stays on pale edges. The weights are relative to
    the median of their graph, on one logarithmic scale for all panels. Each path has a number: a full
    circle at its start, and an open circle at its end. The view holds all codes and paths, with a margin: outlying
    nodes are outside, and their edges end at the border. Without codes it holds all nodes.

    Args:
      graphs: the panels. With more than two dimensions they are projected to the first two principal axes
        of the codes, or of the nodes without codes.
      names: names of the classes 0, 1, ... for the legend. Empty: the numbers.
      label: the name of the labels.
      period: the period of real-valued labels, such as 2π for angles, whose colours then close a
        circle.
      straight: True draws a dashed straight line between the ends of each path.
      columns: the largest number of panels in a row.
      title: a line above all panels.

    Raises:
      UsageError: there are no graphs, D < 2, shapes do not fit, values are not finite, weights are
        negative, edges name no node, or there are more than ten classes or six paths.
    """
    check_at_least_one(columns=columns)
    panels, colours = prepare(graphs, names, label, period)
    columns = min(columns, len(panels))
    num_rows = -(-len(panels) // columns)
    width = 4.3 * columns + 0.9
    figure = new_figure((width, 4.1 * num_rows + 0.6))
    grid = figure.subplots(num_rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, colours, straight)
    handles = [*colours.handles, *_path_handles(panels, straight)]
    if handles or title:
        texts = [str(handle.get_label()) for handle in handles] or [""]
        legend_above(figure, handles, title, columns=legend_columns(texts, width))
    _draw_bars(grid[0, -1], colours)
    return figure


def _draw(axes: Axes, panel: GraphInPlane, colours: Colours, straight: bool) -> None:
    """Edges, then codes, then paths."""
    set_style(axes)
    axes.grid(False)
    order = np.argsort(panel.weights, kind="stable")  # expensive edges on top
    width = float(np.clip(60 / np.sqrt(max(len(order), 1)), 0.25, 1.2))
    lines = LineCollection(
        list(panel.segments[order]), linewidths=width, zorder=1, rasterized=True,
        cmap=EDGE_COLOURS, norm=colours.edges.norm,
    )  # fmt: skip
    tiny = np.finfo(float).tiny  # a weight of 0 has the palest colour
    lines.set_array(np.maximum(panel.weights[order], tiny))
    # The view is that of codes and paths: a few nodes far from them would make the codes tiny.
    axes.add_collection(lines, autolim=not len(panel.codes))
    _draw_codes(axes, panel, colours)
    for number_of_path, path in enumerate(panel.paths):
        _draw_path(axes, path, number_of_path, straight)
    axes.margins(_MARGIN)
    axes.autoscale_view()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(panel.axis_names[0], fontsize=9, color=INK)
    axes.set_ylabel(panel.axis_names[1], fontsize=9, color=INK)
    axes.set_title(panel.title, loc="left", fontsize=10, color=INK)


def _draw_codes(axes: Axes, panel: GraphInPlane, colours: Colours) -> None:
    """Codes in the colours of their labels, in random order, or the last class would cover the others."""
    if not len(panel.codes):
        return
    shuffled = np.random.default_rng(0).permutation(len(panel.codes))
    x, y = panel.codes[shuffled].T
    style: dict[str, Any] = {
        "s": np.clip(20000 / len(x), 4, 18), "linewidths": 0, "alpha": 0.9, "rasterized": True,
        "zorder": 2,
    }  # fmt: skip
    if panel.labels is None:
        axes.scatter(x, y, color=GREY, **style)
    elif colours.values is not None:
        values = panel.labels[shuffled]
        values = values % colours.period if colours.period else values
        axes.scatter(x, y, c=colours.values.to_rgba(values), **style)
    else:
        index = np.searchsorted(colours.classes, panel.labels[shuffled])
        axes.scatter(x, y, c=np.array(PALETTE)[index].tolist(), **style)


def _draw_path(axes: Axes, path: np.ndarray, index: int, straight: bool) -> None:
    """A line with a white edge, and its number at both ends."""
    colour, ends = PATH_COLOURS[index], path[[0, -1]]
    if straight:
        axes.plot(*ends.T, color="white", linewidth=2.2, zorder=4)
        axes.plot(*ends.T, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), zorder=4.5)
    axes.plot(*path.T, color="white", linewidth=2.7, zorder=5, solid_joinstyle="round")
    axes.plot(*path.T, color=colour, linewidth=1.5, zorder=5.5, solid_joinstyle="round")
    for end, face, ink in zip(ends, (colour, "white"), ("white", colour), strict=True):
        axes.plot(*end, "o", markersize=9.5, color=face, markeredgecolor=colour, zorder=6)
        axes.annotate(
            str(index + 1), end, fontsize=6.5, color=ink, ha="center", va="center_baseline",
            fontweight="bold", zorder=7,
        )  # fmt: skip


def _path_handles(panels: Sequence[GraphInPlane], straight: bool) -> list[Line2D]:
    """The entries of the legend for paths."""
    if not any(panel.paths for panel in panels):
        return []
    shape: dict[str, Any] = {"marker": "o", "markersize": 7, "color": BLACK}
    handles = [
        Line2D([], [], label="start", linestyle="none", **shape),
        Line2D([], [], label="end", linestyle="none", markerfacecolor="white", **shape),
    ]
    if straight:
        handles.append(Line2D([], [], color=BLACK, linestyle="--", label="straight line"))
    return handles


def _draw_bars(axes: Axes, colours: Colours) -> None:
    """Scales beside the panel: edges, and real-valued labels."""
    edges = _draw_bar(axes, colours.edges, "edge weight\n/ median", bottom=0.0)
    edges.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    edges.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    edges.set_minor_locator(ticker.NullLocator())
    if colours.values is None:
        return
    values = _draw_bar(axes, colours.values, colours.label, bottom=0.45)
    mark_turn(values, colours.period)


def _draw_bar(axes: Axes, mappable: ScalarMappable, name: str, *, bottom: float) -> Any:
    """One scale, and its axis."""
    place = axes.inset_axes((1.03, bottom, 0.035, 0.32))
    bar = figure_of(axes).colorbar(mappable, cax=place)
    bar.outline.set_visible(False)
    place.set_title(name, loc="left", fontsize=8, color=INK, pad=5)
    place.tick_params(which="both", labelsize=8, color=GREY, labelcolor=INK)
    return place.yaxis

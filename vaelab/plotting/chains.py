"""Markov chains on images: what they show, and their labels over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vaelab.checks import UsageError
from vaelab.plotting.canvas import checked_images, gap_of, join_notes, tile
from vaelab.plotting.figure import new_figure, width_of
from vaelab.plotting.layout import draw_caption, legend_above, legend_columns, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, PALETTE, PRIOR, ROSE, set_style

_UNCLEAR = "#e4e4e4"


class ChainPanel(NamedTuple):
    """Chains with one kind of start, at T recorded steps, with labels of C classes or unclear."""

    title: str
    steps: Sequence[int]  # [T]
    images: npt.ArrayLike  # [T, M, height, width, channels] in [0, 1], of M chains
    shares: npt.ArrayLike  # [T, C + 1], the shares of the labels, the last one of unclear images
    reference: npt.ArrayLike  # [C + 1], the same for the data
    model_shares: npt.ArrayLike  # [C + 1], the same for samples of the model
    total_variation: npt.ArrayLike  # [T]
    errors: npt.ArrayLike  # [T], its standard errors
    distance_to_model: npt.ArrayLike  # [T], total variation from the samples of the model
    floor: float  # mean total variation of N labels drawn from the data, for N chains


def label_chains(panels: Sequence[ChainPanel], *, title: str = "", caption: str = "") -> Figure:
    """Images of some chains, the labels of all chains, and their distance from the labels of the data.

    What to see: if the chain samples the data, its images stay sharp and change, the bars become like
    the bar of the data, and the distance falls to the dotted line, from every start. A chain that samples
    the model becomes like its bar, and the dashed curve falls. Equal images are a chain that does
    not mix. Grey bars are images that no class fits. Zhao et al., 2017, figure 2.

    Args:
      panels: one column for each kind of start, with the same classes.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no panels, shapes do not fit, or there are more than ten classes.

    >>> panel = ChainPanel("from data", (0, 1), np.zeros((2, 3, 8, 8, 1)), [[0.5, 0.5, 0]] * 2,
    ...                    [0.5, 0.5, 0], [0.4, 0.4, 0.2], [0, 0], [0, 0], [0.2, 0.2], 0.01)
    >>> len(label_chains([panel, panel]).axes)
    6
    """
    if not panels:
        raise UsageError("panels must hold at least one kind of start, got none.")
    for panel in panels:
        _check(panel, np.size(panels[0].reference))
    shown = [
        checked_images(f"images of {panel.title!r}", np.concatenate(list(np.asarray(panel.images))))
        for panel in panels
    ]
    notes = join_notes(None, *shown)
    width = max(4.2, 0.52 * max(len(panel.steps) + 3 for panel in panels)) * len(panels)
    lines = wrap_caption("\n".join(filter(None, (caption, " ".join(notes)))), width)
    num_chains = max(np.shape(panel.images)[1] for panel in panels)
    rows = [0.44 * num_chains, 1.7, 1.4]
    figure = new_figure((width, sum(rows) + 1.5 + 0.16 * len(lines)))
    axes = figure.subplots(
        3, len(panels), squeeze=False, height_ratios=rows, sharex="col", sharey="row"
    )
    highest = max(
        float(np.max([panel.total_variation, panel.distance_to_model])) for panel in panels
    )
    for column, (panel, images) in enumerate(zip(panels, shown, strict=True)):
        top, bars, distance = axes[:, column]
        _draw_images(top, panel, images.rgb)
        top.set_title(panel.title, loc="left", fontsize=10, color=INK)
        _draw_shares(bars, panel)
        _draw_distance(distance, panel, highest)
    axes[0, 0].set_ylabel("chains", fontsize=9, color=INK)
    axes[1, 0].set_ylabel("share of labels", fontsize=9, color=INK)
    axes[2, 0].set_ylabel("total variation", fontsize=9, color=INK)
    num_classes = np.size(panels[0].reference) - 1
    handles: list[Any] = [Patch(color=PALETTE[c], label=f"{c}") for c in range(num_classes)]
    handles.append(Patch(color=_UNCLEAR, label="unclear"))
    handles += [
        Line2D([], [], color=INDIGO, marker="o", markersize=4, label="from the data"),
        Line2D(
            [], [], color=ROSE, linestyle="--", marker="s", markersize=3.5, label="from the model"
        ),
        Line2D([], [], color=GREY, linestyle=":", label="of N labels drawn from the data"),
    ]
    labels = [handle.get_label() for handle in handles]
    legend_above(figure, handles, title, columns=legend_columns(labels, width))
    draw_caption(figure, lines)
    _unstretch(figure, list(axes[:, 0]), shown[0].rgb, num_chains)
    return figure


def _check(panel: ChainPanel, num_outcomes: int) -> None:
    """Raises one sentence if the arrays of a panel do not fit."""
    num_steps, images = len(panel.steps), np.shape(panel.images)
    if len(images) != 5 or images[0] != num_steps:
        raise UsageError(
            f"images of {panel.title!r} must be [{num_steps}, M, height, width, channels], got {images}."
        )
    wanted = (num_steps, num_outcomes), (num_outcomes,), (num_outcomes,), *((num_steps,),) * 3
    given = tuple(
        np.shape(each)
        for each in (
            panel.shares,
            panel.reference,
            panel.model_shares,
            panel.total_variation,
            panel.errors,
            panel.distance_to_model,
        )
    )
    if given != wanted:
        raise UsageError(
            f"shares, reference, model_shares, total_variation, errors and distance_to_model of {panel.title!r} must have the shapes "
            f"{wanted}, got {given}."
        )
    if not 2 <= num_outcomes <= len(PALETTE) + 1:
        raise UsageError(
            f"reference must hold 1 to {len(PALETTE)} classes and the share of unclear images, got "
            f"{num_outcomes} numbers."
        )


def _draw_images(axes: Axes, panel: ChainPanel, rgb: np.ndarray) -> None:
    """A column of images for each step, in line with the bars below."""
    num_steps, num_chains = np.shape(panel.images)[:2]
    by_row = rgb.reshape(num_steps, num_chains, *rgb.shape[1:]).swapaxes(0, 1)
    canvas = tile(by_row.reshape(-1, *rgb.shape[1:]), num_steps)
    margin = 0.5 * gap_of(rgb) / (rgb.shape[2] + gap_of(rgb))
    axes.imshow(
        canvas, interpolation="nearest", aspect="auto",
        extent=(-0.5 + margin, num_steps - 0.5 - margin, 0, num_chains),
    )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelleft=False, labelbottom=False)


def _unstretch(figure: Figure, column: Sequence[Axes], rgb: np.ndarray, num_chains: int) -> None:
    """Makes the row of images so high that images are as wide as the layout of the figure makes them."""
    figure.draw_without_rendering()
    heights = [axes.get_window_extent().height / figure.dpi for axes in column]
    low, high = column[0].get_xlim()
    gap, (height, width) = gap_of(rgb), rgb.shape[1:3]
    place = width_of(column[0]) / (high - low)
    needed = num_chains * place * (height + gap) / (width + gap)
    figure.set_figheight(figure.get_figheight() + needed - heights[0])
    grid = column[0].get_gridspec()
    assert grid is not None  # the panels are subplots
    grid.set_height_ratios([needed, *heights[1:]])


def _draw_shares(axes: Axes, panel: ChainPanel) -> None:
    """Stacked bars of the labels at each step, and on the right of the model's samples and of the data."""
    set_style(axes)
    axes.grid(False)
    places = _places(panel)
    shares = np.array([*np.asarray(panel.shares), panel.model_shares, panel.reference], float)
    bottom = np.zeros(len(places))
    for outcome, heights in enumerate(shares.T):
        colour = PALETTE[outcome] if outcome < shares.shape[1] - 1 else _UNCLEAR
        axes.bar(places, heights, bottom=bottom, width=0.86, color=colour, linewidth=0)
        bottom += heights
    axes.set_ylim(0, 1)
    axes.tick_params(labelbottom=False, length=0)


def _places(panel: ChainPanel) -> list[float]:
    """Where the bars of the steps, of the model's samples and of the data stand."""
    num_steps = len(panel.steps)
    return [*range(num_steps), num_steps + 0.5, num_steps + 1.5]


def _draw_distance(axes: Axes, panel: ChainPanel, highest: float) -> None:
    set_style(axes)
    places = _places(panel)
    axes.axhline(panel.floor, color=GREY, linestyle=":", linewidth=1.2)
    axes.plot(
        places[:-2], np.asarray(panel.distance_to_model, float), color=ROSE, linestyle="--",
        marker="s", markersize=3.5, linewidth=1.2,
    )  # fmt: skip
    axes.errorbar(
        places[:-2], np.asarray(panel.total_variation, float), yerr=2 * np.asarray(panel.errors, float),
        color=INDIGO, marker="o", markersize=4, linewidth=1.4, elinewidth=1, ecolor=PRIOR,
    )  # fmt: skip
    axes.set_ylim(0, min(1.05, 1.15 * max(highest, 2 * panel.floor)))
    axes.set_xlim(-0.6, places[-1] + 0.6)
    labels = [f"{step:,}" for step in panel.steps]
    axes.set_xticks(places, [*labels, "model", "data"])
    axes.set_xlabel("step of the chain", fontsize=9, color=INK)

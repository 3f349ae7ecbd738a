"""Small hierarchies: exact EM beside ELBO learning, and the pre-activations beside log p(x|z_i)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure
from vaelab.plotting.layout import draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import GREY, INDIGO, INK, ROSE, TEAL, set_style


class Level(NamedTuple):
    """Points of one level: every x with every z_i, without the mean over z_i."""

    title: str
    log_px: npt.ArrayLike  # [P], log p(x|z_i)
    pre: npt.ArrayLike  # [P], ⟨a_i(x), z_i⟩
    weights: npt.ArrayLike  # [P], p(x) p(z_i|x): areas of the points


def chain_learning(
    em: Sequence[float],
    likelihood: Sequence[float],
    elbo: Sequence[float],
    levels: Sequence[Level],
    *,
    best: float,
    title: str = "",
    caption: str = "",
) -> Figure:
    """The ends of EM and of ELBO learning from the same starts, and how well pre-activations approximate log p(x|z_i).

    What to see: EM ends above ELBO learning. Points near the diagonal mean that logits that add give the posterior.

    Args:
      em: E log p(x) at the end of EM, for each start.
      likelihood: E log p(x) at the end of ELBO learning.
      elbo: the ELBO there.
      levels: points of each level, top first.
      best: E log p(x) of the data's own distribution.
      title: a line above all panels.
      caption: text below all panels.

    Raises:
      UsageError: there are no starts, or their numbers differ.

    >>> figure = chain_learning([-1.0], [-1.1], [-1.2], [Level("z_0", [0.0], [0.0], [1.0])], best=-0.9)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['start', 'log p(x|z_i) − mean']
    """
    if not em or not len(em) == len(likelihood) == len(elbo):
        raise UsageError(
            f"em, likelihood and elbo must be one number for each start, got {len(em)}, "
            f"{len(likelihood)} and {len(elbo)}."
        )
    width = 3.4 + 2.5 * len(levels)
    lines = wrap_caption(caption, width)
    figure = new_figure((width, 3.6 + 0.16 * len(lines)))
    first, *rest = figure.subplots(1, 1 + len(levels), width_ratios=[1.3, *[1.0] * len(levels)])
    starts = np.arange(1, len(em) + 1)
    set_style(first)
    first.axhline(best, color=GREY, linestyle="--", linewidth=1)
    for values, colour, marker in ((em, TEAL, "s"), (likelihood, INDIGO, "o"), (elbo, ROSE, "v")):
        first.plot(starts, values, color=colour, marker=marker, linestyle="none", markersize=5.5)
    first.set_xticks(starts)
    first.set_xlabel("start", fontsize=9, color=INK)
    first.set_ylabel("nats", fontsize=9, color=INK)
    for axes, level in zip(rest, levels, strict=True):
        set_style(axes)
        log_px, pre, weights = (np.asarray(values, float) for values in level[1:])
        shown = weights > 1e-6
        axes.scatter(
            log_px[shown],
            pre[shown],
            s=2 + 900 * weights[shown],
            color=INDIGO,
            alpha=0.45,
            linewidths=0,
        )
        low, high = axes.get_xlim()
        axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1, zorder=1)
        axes.set(xlim=(low, high), ylim=(low, high))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(4))
        axes.set_xlabel("log p(x|z_i) − mean", fontsize=9, color=INK)
        axes.set_title(level.title, loc="left", fontsize=9, color=INK)
    if rest:
        rest[0].set_ylabel("⟨a_i(x), z_i⟩ − mean", fontsize=9, color=INK)
    handles = [
        Line2D([], [], color=TEAL, marker="s", linestyle="none", label="EM: log p(x)"),
        Line2D([], [], color=INDIGO, marker="o", linestyle="none", label="ELBO learning: log p(x)"),
        Line2D([], [], color=ROSE, marker="v", linestyle="none", label="ELBO learning: ELBO"),
        Line2D([], [], color=GREY, linestyle="--", label="−entropy of the data; diagonal"),
    ]
    legend_above(figure, handles, title, columns=4)
    draw_caption(figure, lines)
    return figure

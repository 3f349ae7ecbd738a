"""Gaps of exponential-family VAEs on and off the consistent set, and what joint training does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import new_figure
from vaelab.plotting.layout import COLOURS, draw_caption, legend_above, wrap_caption
from vaelab.plotting.style import GREY, INK, set_style

Gaps = Mapping[str, Mapping[str, float]]  # series -> encoder -> gap in nats


def encoder_gaps(
    on: Gaps, off: Gaps, *, limit: float = 1e-3, title: str = "", caption: str = ""
) -> Figure:
    """E KL(q(z|x) ‖ p(z|x)) of encoders of growing power, for models on the consistent set and off it.

    What to see: on the set the smallest encoder has no gap. Off the set the gap of larger encoders ends at that of
    free bits, which is a limit for every encoder of independent bits.

    Args:
      on: gaps on the set, of each family of x.
      off: gaps off the set.
      limit: a dashed line.
      title: a line above both panels.
      caption: text below both panels.

    Raises:
      UsageError: a panel has no series.

    >>> gaps = {"Bernoulli": {"linear": 1e-9, "free bits": 0.1}}
    >>> [axes.get_title("left") for axes in encoder_gaps(gaps, gaps).axes]
    ['model on the consistent set', 'model off the set']
    """
    if not on or not off:
        raise UsageError("on and off must hold at least one series each, got none.")
    lines = wrap_caption(caption, 8.2)
    figure = new_figure((8.2, 3.9 + 0.16 * len(lines)))
    panels = figure.subplots(1, 2)
    handles = []
    for axes, gaps, name in zip(
        panels, (on, off), ("model on the consistent set", "model off the set"), strict=True
    ):
        set_style(axes)
        for number, (label, values) in enumerate(gaps.items()):
            heights = np.maximum(list(values.values()), 1e-17)  # rounding may give a negative KL
            (handle,) = axes.plot(
                list(values), heights, color=COLOURS[number], marker="os^D"[number % 4],
                markersize=5, linewidth=1.2, label=label,
            )  # fmt: skip
            if axes is panels[0]:
                handles.append(handle)
        axes.tick_params(axis="x", rotation=25)
        axes.set_title(name, loc="left", fontsize=9, color=INK)
    panels[0].set_yscale("log")
    panels[0].axhline(limit, color=GREY, linestyle="--", linewidth=1)
    panels[1].set_ylim(bottom=0)
    panels[0].set_ylabel("gap E KL(q ‖ p(z|x)), nats (logarithmic)", fontsize=9, color=INK)
    panels[1].set_ylabel("gap, nats", fontsize=9, color=INK)
    legend_above(figure, handles, title, columns=4)
    draw_caption(figure, lines)
    return figure


class Drift(NamedTuple):
    """Joint training of one model, before the first step and after each."""

    label: str
    log_likelihood: Sequence[float]
    elbo: Sequence[float]


def joint_training(drifts: Sequence[Drift], *, title: str = "", caption: str = "") -> Figure:
    """The log-likelihood and the gap along joint ELBO training.

    What to see: the ELBO rises because the gap falls. The likelihood falls below its maximum.

    Raises:
      UsageError: there are no drifts.

    >>> [axes.get_xlabel() for axes in joint_training([Drift("a", [0, -1], [-3, -2])]).axes]
    ['step of L-BFGS', 'step of L-BFGS']
    """
    if not drifts:
        raise UsageError("drifts must hold at least one model, got none.")
    lines = wrap_caption(caption, 7.6)
    figure = new_figure((7.6, 3.3 + 0.16 * len(lines)))
    panels = figure.subplots(1, 2)
    titles = ("log p(x) − its maximum, nats", "gap log p(x) − ELBO, nats (logarithmic)")
    handles = []
    for number, drift in enumerate(drifts):
        likelihood, bound = np.asarray(drift.log_likelihood), np.asarray(drift.elbo)
        columns = (likelihood - likelihood[0], likelihood - bound)
        for axes, values in zip(panels, columns, strict=True):
            (handle,) = axes.plot(values, color=COLOURS[number], linewidth=1.5, label=drift.label)
        handles.append(handle)
    for axes, text in zip(panels, titles, strict=True):
        set_style(axes)
        axes.set_xlabel("step of L-BFGS", fontsize=9, color=INK)
        axes.set_title(text, loc="left", fontsize=9, color=INK)
    panels[1].set_yscale("log")
    legend_above(figure, handles, title, columns=4)
    draw_caption(figure, lines)
    return figure

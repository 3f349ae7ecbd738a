"""A cost over the size of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import one_panel
from vaelab.plotting.layout import COLOURS, head
from vaelab.plotting.style import set_style


def growth(
    costs: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    size: str,
    cost: str,
    title: str,
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The cost of programs over their size, both axes logarithmic.

    What to see: a line of slope 1 grows in proportion to the size, a flat line not at all. Points are
    the measurements, lines and numbers are medians.

    Args:
      costs: {program: {size: measurements}}, all positive.
      size: name of the horizontal axis.
      cost: name of the vertical axis, and its unit.
      title: of the plot.
      note: conditions of the measurement.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: there are no programs or more than eight, or a size has no measurement.

    >>> figure = growth({"scan": {5: [2.0], 10: [2.2, 2.4]}}, size="levels", cost="s", title="Compile time")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['2', '2.3']
    """
    if not 1 <= len(costs) <= len(COLOURS):
        raise UsageError(f"costs must hold one to {len(COLOURS)} programs, got {len(costs)}.")
    for name, measured in costs.items():
        if not measured or not all(map(len, measured.values())):
            raise UsageError(f"costs of {name!r} must hold a measurement for each size.")
    figure, axes = one_panel(ax, (5.6, 3.6))
    set_style(axes)
    last = {name: float(np.median(measured[max(measured)])) for name, measured in costs.items()}
    lowest = min(last, key=last.__getitem__)
    for colour, (name, measured) in zip(COLOURS, costs.items(), strict=False):
        offset = -13 if name == lowest and len(costs) > 1 else 6  # numbers of two lines stay apart
        sizes = sorted(measured)
        medians = [float(np.median(measured[each])) for each in sizes]
        axes.plot(sizes, medians, color=colour, linewidth=1.8, label=name)
        for each, median in zip(sizes, medians, strict=True):
            axes.scatter([each] * len(measured[each]), measured[each], color=colour, s=14)
            axes.annotate(
                f"{median:.3g}", (each, median), xytext=(0, offset), textcoords="offset points",
                ha="center", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=size, ylabel=cost)
    ticks = sorted({each for measured in costs.values() for each in measured})
    axes.xaxis.set_major_locator(ticker.FixedLocator(ticks))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%d"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.margins(y=0.15)
    head(axes, title, note)
    return figure

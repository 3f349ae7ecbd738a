"""Quantities of single levels, of models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import row_of_panels
from vaelab.plotting.layout import COLOURS, head, legend_columns
from vaelab.plotting.style import GREY, INK, set_style


class LevelQuantity(NamedTuple):
    """A quantity of each level of each model, level 0, the top, first."""

    label: str  # its name, and its unit after a comma
    values: Mapping[str, npt.ArrayLike]  # {model: [L]}
    errors: Mapping[str, npt.ArrayLike]  # {model: [L]}, standard errors
    reference: float | None = None  # a line, for example the accuracy of a constant prediction
    reference_label: str = ""  # the name of the line


def level_bars(
    quantities: Sequence[LevelQuantity], *, axes: Sequence[Axes] | None = None
) -> Figure:
    """A panel for each quantity, with a bar for each level and model, bottom level on the left.

    What to see: a good hierarchy increases from bottom to top in what depends on the label, and every
    level has a rate. Lines at the bars are two standard errors. Models may have different numbers of levels.

    Args:
      quantities: the panels, all with the same models, at most eight.
      axes: axes to draw into, one for each quantity. None makes a figure.

    Raises:
      UsageError: there are no quantities, no models or more than eight, or values do not fit.

    >>> bars = LevelQuantity("KL, nats", {"VLAE": [5.0, 3.0]}, {"VLAE": [0.1, 0.1]})
    >>> [tick.get_text() for tick in level_bars([bars]).axes[0].get_xticklabels()]
    ['bottom', 'top']
    """
    if not quantities:
        raise UsageError("quantities must hold at least one quantity, got none.")
    models = list(quantities[0].values)
    if not 1 <= len(models) <= len(COLOURS):
        raise UsageError(f"values must hold one to {len(COLOURS)} models, got {len(models)}.")
    for quantity in quantities:
        _check(quantity, models)
    figure, panels = row_of_panels(axes, len(quantities), (3.6 * len(quantities), 3.3))
    for index, (panel, quantity) in enumerate(zip(panels, quantities, strict=True)):
        set_style(panel)
        panel.grid(axis="x", visible=False)
        num_levels = max(np.size(quantity.values[name]) for name in models)
        width = 0.8 / len(models)
        for place, name in enumerate(models):
            heights = np.asarray(quantity.values[name], float)[::-1]
            errors = np.asarray(quantity.errors[name], float)[::-1]
            panel.bar(
                np.arange(len(heights)) + (place - (len(models) - 1) / 2) * width, heights,
                width=0.92 * width, color=COLOURS[place], label=name, yerr=2 * np.nan_to_num(errors),
                error_kw={"ecolor": INK, "elinewidth": 1.0, "capsize": 2.5},
            )  # fmt: skip
        if quantity.reference is not None:
            panel.axhline(quantity.reference, color=INK, linestyle=":", linewidth=1.2)
            panel.text(
                1, quantity.reference, quantity.reference_label, fontsize=8, color=GREY, ha="right",
                va="bottom", transform=panel.get_yaxis_transform(),
            )  # fmt: skip
        panel.set_ylim(bottom=0)
        panel.set_xlim(-0.55, num_levels - 0.45 + 0.5 * bool(quantity.reference_label))
        panel.set_xticks(range(num_levels), level_names(num_levels)[::-1])
        panel.tick_params(axis="x", length=0)
        panel.set_ylabel(quantity.label, fontsize=9, color=INK)
        if not index:
            head(panel, "", columns=legend_columns(models, 3.2 * len(quantities)))
    return figure


def level_names(num: int) -> list[str]:
    """The names of levels, top first.

    >>> level_names(1), level_names(4)
    (['all'], ['top', '3', '2', 'bottom'])
    """
    if num == 1:
        return ["all"]
    return ["top", *map(str, range(num - 1, 1, -1)), "bottom"]


def _check(quantity: LevelQuantity, models: Sequence[str]) -> None:
    """Raises one sentence if values and errors of a quantity do not fit."""
    if list(quantity.values) != list(models) or list(quantity.errors) != list(models):
        raise UsageError(
            f"values and errors of {quantity.label!r} must be of the models {', '.join(models)}, got "
            f"{', '.join(quantity.values)} and {', '.join(quantity.errors)}."
        )
    for name in models:
        shapes = np.shape(quantity.values[name]), np.shape(quantity.errors[name])
        if shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
            raise UsageError(
                f"values and errors of {quantity.label!r} of {name!r} must be [L] of one length, got "
                f"{shapes[0]} and {shapes[1]}."
            )

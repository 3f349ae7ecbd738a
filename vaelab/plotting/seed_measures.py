"""Measures of models over seeds, in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import row_of_panels
from vaelab.plotting.layout import COLOURS, head, legend_columns
from vaelab.plotting.style import GREY, INK, set_style


class SeedMeasure(NamedTuple):
    """A measure of each model in each group, with a value for each seed. NaN marks a value that is undefined."""

    label: str  # its name, and its unit after a comma
    values: Mapping[str, npt.ArrayLike]  # {model: [G, S]}, G groups and S seeds
    reference: float | None = None  # a line, for example the value of the data
    reference_label: str = ""  # the name of the line


def seed_measures(
    measures: Sequence[SeedMeasure],
    groups: Sequence[str],
    *,
    title: str = "",
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """A panel for each measure: models side by side in each group, such as kinds of paths.

    What to see: lines that overlap leave open which model is better. A large marker is the mean over
    the seeds, its line is two standard errors, and the small markers beside it are seeds. With few seeds two standard
    errors are less than a 95 % interval: of three seeds that has 4.3 of them. A model with one seed has the large
    markers alone.

    Args:
      measures: the panels, all with the same models, at most eight.
      groups: the names of the G groups.
      title: a line above the first panel.
      axes: axes to draw into, one for each measure. None makes a figure.

    Raises:
      UsageError: there are no measures, no models or more than eight, or values do not fit.

    >>> jumps = SeedMeasure("jumps per path", {"VHP": [[1.0, 2.0], [3.0, 5.0]]})
    >>> figure = seed_measures([jumps], ["graph", "straight line"])
    >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    ['graph', 'straight line']
    """
    if not measures:
        raise UsageError("measures must hold at least one measure, got none.")
    models = list(measures[0].values)
    if not 1 <= len(models) <= len(COLOURS):
        raise UsageError(f"values must hold one to {len(COLOURS)} models, got {len(models)}.")
    values = [_checked(measure, models, len(groups)) for measure in measures]
    inches = max(2.8, 0.5 + len(groups) * (0.5 + 0.16 * len(models)))
    figure, panels = row_of_panels(axes, len(measures), (inches * len(measures), 3.3))
    step = 0.7 / len(models)
    for panel, measure, of_models in zip(panels, measures, values, strict=True):
        set_style(panel)
        panel.grid(axis="x", visible=False)
        for index, (name, seeds) in enumerate(of_models.items()):
            x = np.arange(len(groups)) + (index - (len(models) - 1) / 2) * step
            _draw(panel, x - 0.12 * step, x + 0.18 * step, seeds, COLOURS[index], name)
        if measure.reference is not None:
            panel.axhline(measure.reference, color=INK, linestyle=":", linewidth=1.2, zorder=1)
            panel.text(
                1, measure.reference, measure.reference_label, fontsize=8, color=GREY, ha="right",
                va="bottom", transform=panel.get_yaxis_transform(),
            )  # fmt: skip
        panel.set_xlim(-0.5, len(groups) - 0.5)
        panel.set_xticks(range(len(groups)), groups)
        panel.tick_params(axis="x", length=0)
        panel.set_ylabel(measure.label, fontsize=9, color=INK)
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]) if _positive(of_models) else None)
    head(panels[0], title, columns=legend_columns(models, inches * len(measures)))
    return figure


def _draw(
    axes: Axes, x: np.ndarray, beside: np.ndarray, seeds: np.ndarray, colour: str, name: str
) -> None:
    """The seeds of one model in all groups, their means, and two standard errors. One seed: its values alone."""
    marker: dict[str, Any] = {
        "color": colour, "markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.7,
        "label": name, "zorder": 4,
    }  # fmt: skip
    if seeds.shape[1] == 1:
        axes.plot(x, seeds[:, 0], "o", **marker)
        return
    num = np.isfinite(seeds).sum(1)
    mean, error = np.full((2, len(x)), np.nan)
    for row, values in enumerate(seeds):
        finite = values[np.isfinite(values)]
        mean[row] = finite.mean() if num[row] else np.nan
        error[row] = finite.std(ddof=1) / np.sqrt(num[row]) if num[row] > 1 else np.nan
    axes.plot(
        np.broadcast_to(beside[:, None], seeds.shape).ravel(), seeds.ravel(), "o", color=colour,
        markersize=3.5, alpha=0.4, markeredgewidth=0, zorder=3,
    )  # fmt: skip
    axes.errorbar(x, mean, 2 * np.nan_to_num(error), fmt="o", capsize=3, elinewidth=1.2, **marker)


def _positive(of_models: Mapping[str, np.ndarray]) -> bool:
    return all(not np.any(seeds < 0) for seeds in of_models.values())


def _checked(measure: SeedMeasure, models: Sequence[str], num_groups: int) -> dict[str, np.ndarray]:
    """The values of each model, [G, S].

    Raises:
      UsageError: other models or shapes.
    """
    if list(measure.values) != list(models):
        raise UsageError(
            f"values of {measure.label!r} must be of the models {', '.join(models)}, got "
            f"{', '.join(measure.values)}."
        )
    found = {}
    for name in models:
        found[name] = np.asarray(measure.values[name], float)
        if found[name].ndim != 2 or len(found[name]) != num_groups or not found[name].size:
            raise UsageError(
                f"values of {measure.label!r} of {name!r} must be [{num_groups}, S], a row for each group, "
                f"got the shape {found[name].shape}."
            )
    return found

"""Labels in plots: names of classes, and colours and scales of real values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from vaelab.checks import UsageError, check_positive
from vaelab.plotting.style import CYAN, GREEN, INDIGO, PURPLE, ROSE, SAND

_CYCLE = LinearSegmentedColormap.from_list("cycle", [ROSE, SAND, GREEN, CYAN, INDIGO, PURPLE, ROSE])
_SCALE = matplotlib.colormaps["viridis"]


def class_names(classes: np.ndarray, names: Sequence[str]) -> list[str]:
    """A name for each of the classes, [C]: `names` of the numbers 0, 1, ..., or the classes themselves.

    Raises:
      UsageError: a class has no name.

    >>> class_names(np.array([0, 2]), ["walk", "run", "punch"]), class_names(np.array([0, 2]), [])
    (['walk', 'punch'], ['0', '2'])
    """
    if not names:
        return [str(each) for each in classes]
    if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= len(names):
        raise UsageError(
            f"names must name the classes {classes.min()} to {classes.max()}, got {len(names)} names."
        )
    return [names[each] for each in classes]


def value_colours(values: np.ndarray, period: float | None) -> ScalarMappable:
    """Colours of real values. Those of values with a period close a circle: use values modulo the period.

    Raises:
      UsageError: the period is not positive.

    >>> value_colours(np.array([0.5, 3.0]), period=360.0).get_clim()
    (0.0, 360.0)
    """
    check_positive(period=period)
    norm = Normalize(0.0, period) if period else Normalize()
    norm.autoscale_None(np.ma.masked_invalid(values))
    return ScalarMappable(norm, _CYCLE if period else _SCALE)


def mark_turn(axis: Any, period: float | None) -> None:
    """Ticks at quarters of a turn on the scale of angles in radians. Other scales keep their ticks."""
    if period is not None and np.isclose(period, 2 * np.pi):
        axis.set_ticks(np.linspace(0, 2 * np.pi, 5), labels=["0", "π/2", "π", "3π/2", "2π"])

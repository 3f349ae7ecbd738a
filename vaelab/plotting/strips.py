"""What strips of poses and of images share: the frames that are shown, and the boxes around jumps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting.style import GREY, INK

JUMP = "#2166e8"  # the blue of the boxes
NOTE = "A blue box marks neighbours with a jump between them."
_LABEL_SIZE = 9  # points


def shown_frames(num_frames: int, columns: int) -> np.ndarray:
    """The frames of a strip with at most `columns` frames: evenly spaced, the first and the last included.

    Raises:
      UsageError: columns are below 1.

    >>> shown_frames(10, 4).tolist(), shown_frames(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    check_at_least_one(columns=columns)
    return np.rint(np.linspace(0, num_frames - 1, min(columns, num_frames))).astype(int)


def jump_spans(jumps: np.ndarray, frames: np.ndarray) -> list[tuple[int, int]]:
    """The first and last column of each box: shown frames with a jump between neighbours.

    jumps [T − 1] bool: jump t is between the frames t and t + 1. frames: those shown, ascending. Jumps
    that share a frame share a box.

    >>> jump_spans(np.array([1, 0, 0, 0, 1, 1, 0]) > 0, np.arange(8))
    [(0, 1), (4, 6)]
    >>> jump_spans(np.array([1, 0, 0, 0, 1, 1, 0]) > 0, np.array([0, 3, 5, 7]))
    [(0, 3)]
    """
    between = [bool(jumps[a:b].any()) for a, b in itertools.pairwise(frames)]
    spans: list[tuple[int, int]] = []
    for column in np.flatnonzero(between).tolist():
        if spans and spans[-1][1] == column:
            spans[-1] = (spans[-1][0], column + 1)
        else:
            spans.append((column, column + 1))
    return spans


def draw_box(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    """A blue box around the frames of a jump."""
    box = Rectangle(
        (left, bottom), width, height, fill=False, edgecolor=JUMP, linewidth=1.6, zorder=5,
        clip_on=False,
    )  # fmt: skip
    axes.add_patch(box)


def checked_jumps(jumps: npt.ArrayLike | None, num_rows: int, num_frames: int) -> np.ndarray:
    """Jumps [R, T − 1] as booleans, all False if there are none.

    Raises:
      UsageError: another shape.
    """
    shape = (num_rows, num_frames - 1)
    if jumps is None:
        return np.zeros(shape, bool)
    array = np.asarray(jumps, bool)
    if array.shape != shape:
        raise UsageError(
            f"jumps must be {list(shape)}, one for each row and pair of neighbouring frames, got "
            f"{array.shape}."
        )
    return array


def checked_labels(name: str, labels: Sequence[str], num_rows: int) -> list[str]:
    """Labels of rows; empty ones if there are none.

    Raises:
      UsageError: another number.
    """
    if len(labels) not in (0, num_rows):
        raise UsageError(f"{name} must be none or {num_rows}, one for each row, got {len(labels)}.")
    return list(labels) or [""] * num_rows


def label_width(labels: Sequence[str]) -> float:
    """Width in inches of the longest label of a row, as `label_rows` writes it.

    >>> 1.0 < label_width(["", "straight line, VHP"]) < 1.5
    True
    """
    font = FontProperties(size=_LABEL_SIZE)
    points = [text_to_path.get_text_width_height_descent(each, font, False)[0] for each in labels]
    return 1.04 * max(points) / 72  # drawn letters are rounded to whole dots


def label_rows(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """Labels on the left, one at each place."""
    axes.set_yticks(places, labels, fontsize=_LABEL_SIZE, color=INK)


def clear_axes(axes: Axes, note: str) -> None:
    """Axes without frame and ticks, and a note below."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlabel(note, loc="left", fontsize=8, color=GREY)

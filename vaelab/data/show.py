"""Data as a person sees them: images of one or three channels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_VISIBLE = 0.5 / 255  # half a grey level; a smaller change is invisible


class Shown(NamedTuple):
    """Images for a plot, and a sentence about every change of their values."""

    images: np.ndarray  # [N, height, width, 1 or 3] in [0, 1]
    note: str = ""  # empty if the values are those of the data


def images(x: npt.ArrayLike, *, low: float = 0.0, high: float = 1.0) -> Shown | None:
    """Images [N, height, width, C] with low as 0 and high as 1; values outside are clipped.

    Channels stand side by side unless C is 1 or 3. Vectors and sequences cannot be shown: None.

    >>> images(np.zeros((5, 8, 8, 2))).images.shape, images(np.zeros((5, 7)))
    ((5, 8, 16, 1), None)
    >>> images(np.full((5, 8, 8, 1), 2.0)).note
    'Values are clipped to [0, 1].'
    """
    x = np.asarray(x)
    if x.ndim != 4:
        return None
    return _in_range(x if x.shape[-1] in (1, 3) else _side_by_side(x), low, high)


def side_by_side(x: npt.ArrayLike) -> Shown:
    """Channels as separate images, from left to right, clipped to [0, 1].

    [N, height, width, C] -> [N, height, C · width, 1].

    >>> side_by_side(np.zeros((5, 8, 8, 3))).images.shape
    (5, 8, 24, 1)
    """
    return _in_range(_side_by_side(np.asarray(x)), 0.0, 1.0)


def _side_by_side(x: np.ndarray) -> np.ndarray:
    return np.concatenate(list(np.moveaxis(x, -1, 0)), axis=-1)[..., None]


def _in_range(x: np.ndarray, low: float, high: float) -> Shown:
    rescaled = (low, high) != (0.0, 1.0)
    if rescaled:
        x = (x - low) / (high - low if high > low else 1)
    clipped = bool((x < -_VISIBLE).any() or (x > 1 + _VISIBLE).any())
    notes = [f"Black is {low:.3g} and white is {high:.3g}."] if rescaled else []
    if clipped:
        notes.append(f"Values are clipped to [{low:.3g}, {high:.3g}].")
    return Shown(np.clip(x, 0, 1), " ".join(notes))

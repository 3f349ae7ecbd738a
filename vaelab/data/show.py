"""Data as a person looks at them: images of one or three channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def images(x: npt.ArrayLike) -> np.ndarray | None:
    """Images [N, height, width, C], clipped to [0, 1]; with C other than 1 or 3, channels side by side.

    None for other event shapes: vectors and sequences have no picture of their own.

    >>> images(np.zeros((5, 8, 8, 2))).shape, images(np.zeros((5, 7)))
    ((5, 8, 16, 1), None)
    """
    x = np.asarray(x)
    if x.ndim != 4:
        return None
    return side_by_side(x) if x.shape[-1] not in (1, 3) else np.clip(x, 0, 1)


def side_by_side(x: npt.ArrayLike) -> np.ndarray:
    """Channels that are images of their own, from left to right, clipped to [0, 1].

    [N, height, width, C] -> [N, height, C · width, 1].

    >>> side_by_side(np.zeros((5, 8, 8, 3))).shape
    (5, 8, 24, 1)
    """
    channels = np.moveaxis(np.clip(np.asarray(x), 0, 1), -1, 0)
    return np.concatenate(list(channels), axis=-1)[..., None]

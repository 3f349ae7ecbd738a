"""Images as pixels of one canvas."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError


class Images(NamedTuple):
    """Images as they are shown, and what was done to show them."""

    rgb: np.ndarray  # [N, height, width, 3] in [0, 1]
    notes: tuple[str, ...]  # a sentence for each change of the values


def checked_images(name: str, images: npt.ArrayLike) -> Images:
    """Images [N, height, width, C] as RGB in [0, 1].

    One channel is grey, three are colours. Other numbers of channels are put side by side, in grey.
    Values outside [0, 1] are clipped, and NaN is red: the notes say so.

    Raises:
      UsageError: the array has another rank, there are no images, or the values are integers.

    >>> checked_images("x", np.full((1, 2, 2, 2), 1.5)).notes
    ('2 channels are side by side.', 'Values outside [0, 1] are clipped.')
    """
    array = np.asarray(images)
    if array.ndim != 4 or not array.size:
        raise UsageError(
            f"{name} must be [N, height, width, channels] with N ≥ 1, got {array.shape}."
        )
    if array.dtype.kind in "iu":
        raise UsageError(f"{name} must be in [0, 1], got {array.dtype}; divide bytes by 255.")
    array, notes = array.astype(float), []
    num_channels = array.shape[-1]
    if num_channels not in (1, 3):
        notes.append(f"{num_channels} channels are side by side.")
        array = np.concatenate(list(np.moveaxis(array, -1, 0)), axis=-1)[..., None]
    if np.any((array < 0) | (array > 1)):
        notes.append("Values outside [0, 1] are clipped.")
    is_nan = np.isnan(array).any(-1)
    if is_nan.any():
        notes.append("Red: not a number.")
    rgb = np.repeat(np.clip(array, 0, 1), 3 // array.shape[-1], axis=-1)
    rgb[is_nan] = (1, 0, 0)
    return Images(rgb, tuple(notes))


def join_notes(note: str | None, *images: Images) -> tuple[str, ...]:
    """The caller's note, then the notes of the images, each note once."""
    own = [each for one in images for each in one.notes]
    return tuple(dict.fromkeys([note, *own] if note else own))


def wrapped(notes: Sequence[str], width: float) -> list[str]:
    """The notes in lines of this width in inches."""
    return [line for note in notes for line in textwrap.wrap(note, max(20, int(15 * width)))]


def gap_of(images: np.ndarray) -> int:
    """The pixels of white between two images."""
    return max(1, images.shape[1] // 14)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, height, width, 3] -> one image, row by row, with white gaps."""
    gap = gap_of(images)
    num, height, width, _ = images.shape
    rows = -(-num // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas

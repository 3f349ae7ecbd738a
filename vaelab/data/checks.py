"""Checks that data are what training expects, before it starts."""

from __future__ import annotations

import numpy as np

from vaelab.types import Examples, Splits


def validate(splits: Splits, *, low: float = 0.0, high: float = 1.0) -> None:
    """Raises unless every split holds finite float32 images [N, height, width, channels] in [low, high].

    The default range is that of a Bernoulli likelihood; data without bounds have low = −inf and
    high = inf. Labels, where there are any, are int32 [N], from 0; a context, where there is one, is
    finite float32 [N, height, width, channels], in every split alike.

    Raises:
      ValueError: the first fault, with its split, the image's index, the value and what to do.

    >>> images = Examples(np.full((2, 8, 8, 1), 1.5, np.float32), None)
    >>> validate(Splits(images, images, images))
    Traceback (most recent call last):
    ...
    ValueError: train.x holds 1.5 in image 0, outside [0, 1]: rescale the data to that range, ...
    """
    for name, split in zip(Splits._fields, splits, strict=True):
        _check_shape(name, split, splits.train.x.shape)
        _check_values(name, split.x, low, high)
        _check_labels(name, split)
        _check_context(name, split, splits.train.context)


def _check_shape(name: str, split: Examples, train_shape: tuple[int, ...]) -> None:
    x = split.x
    if x.ndim != 4:
        raise ValueError(
            f"{name}.x must have the shape [N, height, width, channels], got {x.shape}: reshape it, "
            "with one channel for grey images."
        )
    if x.size == 0:
        raise ValueError(
            f"{name}.x is empty, with the shape {x.shape}: give every split at least one image."
        )
    if x.shape[1:] != train_shape[1:]:
        raise ValueError(
            f"{name}.x holds images of the shape {x.shape[1:]} and train.x of {train_shape[1:]}: "
            "resize one of them."
        )
    if x.dtype != np.float32:
        raise ValueError(
            f"{name}.x must be float32, got {x.dtype}: convert it with astype(np.float32), after "
            "dividing 8-bit images by 255."
        )


def _check_values(name: str, x: np.ndarray, low: float, high: float) -> None:
    smallest, largest = x.min(), x.max()  # NaN if one pixel is NaN
    if low <= smallest and largest <= high and np.isfinite([smallest, largest]).all():
        return
    bad = ~(np.isfinite(x) & (x >= low) & (x <= high))
    index = int(np.argmax(bad.any(axis=(1, 2, 3))))
    value = x[index][bad[index]][0]
    if not np.isfinite(value):
        raise ValueError(
            f"{name}.x holds {value} in image {index}: repair or remove that image, the data must "
            "be finite."
        )
    raise ValueError(
        f"{name}.x holds {value:g} in image {index}, outside [{low:g}, {high:g}]: rescale the data "
        "to that range, or choose a likelihood for data without bounds."
    )


def _check_labels(name: str, split: Examples) -> None:
    labels = split.labels
    if labels is None:
        return
    if labels.shape != split.x.shape[:1] or labels.dtype != np.int32:
        raise ValueError(
            f"{name}.labels must be int32 of the shape {split.x.shape[:1]}, one for each image, got "
            f"{labels.dtype} of the shape {labels.shape}: give one label for each image, or None."
        )
    if labels.min() < 0:
        raise ValueError(
            f"{name}.labels holds {labels.min()} at image {int(labels.argmin())}: number the classes "
            "from 0."
        )


def _check_context(name: str, split: Examples, train_context: np.ndarray | None) -> None:
    context = split.context
    if context is None and train_context is None:
        return
    if context is None or train_context is None:
        missing, there = (name, "train") if context is None else ("train", name)
        raise ValueError(
            f"{missing}.context is None and {there}.context is not: give every split a context, or "
            "none."
        )
    if context.ndim != 4 or len(context) != len(split.x) or context.dtype != np.float32:
        raise ValueError(
            f"{name}.context must be float32 of the shape [N, height, width, channels], N being the "
            f"{len(split.x)} images of {name}.x, got {context.dtype} of the shape {context.shape}: "
            "give one context for each image, or None."
        )
    if context.shape[1:] != train_context.shape[1:]:
        raise ValueError(
            f"{name}.context holds images of the shape {context.shape[1:]} and train.context of "
            f"{train_context.shape[1:]}: resize one of them."
        )
    if not np.isfinite([context.min(), context.max()]).all():
        raise ValueError(
            f"{name}.context holds a value that is not finite: repair or remove its image."
        )

"""Checks of data before training starts."""

from __future__ import annotations

import numpy as np

from vaelab.checks import UsageError, check_values, noun_of
from vaelab.types import Examples, Splits


def validate(splits: Splits, *, low: float = 0.0, high: float = 1.0) -> None:
    """Raises unless every split holds finite float32 examples [N, *event] in [low, high].

    The default range is that of a Bernoulli likelihood. Data without bounds have low = −inf and
    high = inf. Optional labels are classes, int32 [N] from 0, or finite real-valued targets, float32 [N]
    or [N, T]. Optional groups are int32 [N]. An optional context is finite float32 [N, *event] with one
    event shape in all splits, which may differ from that of x.

    Raises:
      UsageError: the first fault, with its split, the index of the example, the value and the remedy.

    >>> images = Examples(np.full((2, 8, 8, 1), 1.5, np.float32), None)
    >>> validate(Splits(images, images, images))
    Traceback (most recent call last):
    vaelab.UsageError: train.x holds 1.5 in image 0, outside [0, 1]: rescale the data to that range, ...
    """
    for name, part in splits.parts.items():
        _check_shape(name, part, splits.train.x.shape)
        check_values(f"{name}.x", part.x, low, high)
        _check_labels(name, part)
        _check_groups(name, part)
        _check_context(name, part, splits.train.context)


def _check_shape(name: str, part: Examples, train_shape: tuple[int, ...]) -> None:
    x = part.x
    if x.ndim < 2:
        raise UsageError(
            f"{name}.x must have the shape [N, *event], got {x.shape}: reshape it, to [N, 1] for "
            "single numbers."
        )
    if x.size == 0:
        raise UsageError(
            f"{name}.x is empty, with the shape {x.shape}: give every split at least one example."
        )
    if x.shape[1:] != train_shape[1:]:
        raise UsageError(
            f"{name}.x holds {noun_of(x)}s of the shape {x.shape[1:]} and train.x of "
            f"{train_shape[1:]}: give all splits one shape."
        )
    if x.dtype != np.float32:
        raise UsageError(
            f"{name}.x must be float32, got {x.dtype}: convert it with astype(np.float32), after "
            "dividing 8-bit images by 255."
        )


def _check_labels(name: str, part: Examples) -> None:
    labels, num_examples = part.labels, len(part.x)
    if labels is None:
        return
    classes = labels.dtype == np.int32 and labels.shape == (num_examples,)
    targets = labels.dtype == np.float32 and labels.ndim in (1, 2) and len(labels) == num_examples
    if not classes and not targets:
        raise UsageError(
            f"{name}.labels must be classes, int32 of the shape ({num_examples},), or targets, float32 "
            f"[{num_examples}] or [{num_examples}, T], got {labels.dtype} of the shape {labels.shape}: "
            f"give one label for each {noun_of(part.x)}, or None."
        )
    if classes and labels.min() < 0:
        raise UsageError(
            f"{name}.labels holds {labels.min()} at {noun_of(part.x)} {int(labels.argmin())}: number "
            "the classes from 0, or give targets as floats."
        )
    if targets:
        check_values(f"{name}.labels", labels, -np.inf, np.inf)


def _check_groups(name: str, part: Examples) -> None:
    groups = part.groups
    if groups is not None and (groups.dtype != np.int32 or groups.shape != part.x.shape[:1]):
        raise UsageError(
            f"{name}.groups must be int32 of the shape {part.x.shape[:1]}, got {groups.dtype} of the "
            f"shape {groups.shape}: give one group for each {noun_of(part.x)}, or None."
        )


def _check_context(name: str, part: Examples, train_context: np.ndarray | None) -> None:
    context = part.context
    if context is None and train_context is None:
        return
    if context is None or train_context is None:
        missing, there = (name, "train") if context is None else ("train", name)
        raise UsageError(
            f"{missing}.context is None and {there}.context is not: give every split a context, or "
            "none."
        )
    if context.ndim < 2 or len(context) != len(part.x) or context.dtype != np.float32:
        raise UsageError(
            f"{name}.context must be float32 of the shape [N, *event], N being the {len(part.x)} "
            f"{noun_of(part.x)}s of {name}.x, got {context.dtype} of the shape {context.shape}: "
            f"give one context for each {noun_of(part.x)}, or None."
        )
    if context.shape[1:] != train_context.shape[1:]:
        raise UsageError(
            f"{name}.context holds {noun_of(context)}s of the shape {context.shape[1:]} and "
            f"train.context of {train_context.shape[1:]}: give all splits one shape."
        )
    check_values(f"{name}.context", context, -np.inf, np.inf)

"""Every sentence of `validate`: the field, the value and the remedy."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from vaelab.checks import check_values
from vaelab.data import validate
from vaelab.types import Examples, Splits


def splits_with(name: str, x: np.ndarray, labels: np.ndarray | None = None) -> Splits:
    """Three splits of three 4x4 images, one of them replaced."""
    good = Examples(np.full((3, 4, 4, 1), 0.5, np.float32), np.zeros(3, np.int32))
    return Splits(good, good, good)._replace(**{name: Examples(x, labels)})


def images(value: float = 0.5, shape: tuple[int, ...] = (3, 4, 4, 1)) -> np.ndarray:
    """Grey images, the second of them with `value` at one pixel."""
    x = np.full(shape, 0.5, np.float32)
    x[1, 2, 3] = value
    return x


@pytest.mark.parametrize("x", [images(0.0), images(1.0)])
def test_validate_accepts_the_closed_range(x):
    validate(splits_with("train", x))


def test_validate_accepts_any_finite_value_without_bounds():
    validate(splits_with("train", images(-300.0)), low=-np.inf, high=np.inf)


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        (splits_with("test", images(np.nan)), "test.x holds nan in image 1: repair or remove that image, the data must be finite."),
        (splits_with("train", images(-np.inf)), "train.x holds -inf in image 1: repair or remove that image, the data must be finite."),
        (
            splits_with("validation", images(1.5)),
            "validation.x holds 1.5 in image 1, outside [0, 1]: rescale the data to that range, or "
            "choose a likelihood for data without bounds.",
        ),
        (
            splits_with("train", images(-0.25)),
            "train.x holds -0.25 in image 1, outside [0, 1]: rescale the data to that range, or "
            "choose a likelihood for data without bounds.",
        ),
        (
            splits_with("train", images()[:, 0, 0, 0]),
            "train.x must have the shape [N, *event], got (3,): reshape it, to [N, 1] for single "
            "numbers.",
        ),
        (
            splits_with("validation", images()[:0]),
            "validation.x is empty, with the shape (0, 4, 4, 1): give every split at least one example.",
        ),
        (
            splits_with("test", images(shape=(3, 5, 4, 1))),
            "test.x holds images of the shape (5, 4, 1) and train.x of (4, 4, 1): give all splits one shape.",
        ),
        (
            splits_with("train", images().astype(np.uint8)),
            "train.x must be float32, got uint8: convert it with astype(np.float32), after dividing "
            "8-bit images by 255.",
        ),
        (
            splits_with("train", images(), np.zeros(2, np.int32)),
            "train.labels must be classes, int32 of the shape (3,), or targets, float32 [3] or [3, T], "
            "got int32 of the shape (2,): give one label for each image, or None.",
        ),
        (
            splits_with("train", images(), np.zeros(3, np.float64)),
            "train.labels must be classes, int32 of the shape (3,), or targets, float32 [3] or [3, T], "
            "got float64 of the shape (3,): give one label for each image, or None.",
        ),
        (
            splits_with("train", images(), np.array([[0.0], [np.inf], [1.0]], np.float32)),
            "train.labels holds inf in example 1: repair or remove that example, the data must be "
            "finite.",
        ),
        (
            splits_with("test", np.array([[0.5], [2.0]], np.float32)[[0, 0, 1]]),
            "test.x holds examples of the shape (1,) and train.x of (4, 4, 1): give all splits one "
            "shape.",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_fault_and_the_remedy(splits, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        validate(splits)


def test_infinity_is_refused_without_bounds_too():
    with pytest.raises(ValueError, match=r"^train\.x holds inf in image 1"):
        validate(splits_with("train", images(np.inf)), low=-np.inf, high=np.inf)


@pytest.mark.parametrize("shape", [(3, 7), (3, 20, 7), (3, 4, 4, 2), (3, 5, 4, 4, 3)])
@pytest.mark.parametrize("labels", [None, np.int32([0, 2, 1]), np.float32([-1.5, 0, 2]), np.ones((3, 2), np.float32)])  # fmt: skip
def test_validate_accepts_any_event_shape_with_classes_or_targets(shape, labels):
    part = Examples(
        np.zeros(shape, np.float32), labels, np.ones((3, 2), np.float32), np.zeros(3, np.int32)
    )
    validate(Splits(part, part, part))


def test_groups_are_checked():
    part = Examples(np.zeros((3, 2), np.float32), groups=np.zeros(2, np.int32))
    sentence = (
        "train.groups must be int32 of the shape (3,), got int32 of the shape (2,): give one group for "
        "each example, or None."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        validate(Splits(part, part, part))


def test_traced_values_pass():
    jax.jit(lambda x: check_values("x", x, 0.0, 1.0))(np.full(3, 9.0))

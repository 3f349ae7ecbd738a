"""Data of any form as a data set, and as the source of wrappers."""

from __future__ import annotations

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from vaelab import data
from vaelab.data.binarise import binarise_splits
from vaelab.types import Examples, Scaling, Splits

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 3)).astype(np.float32)
LABELS = np.arange(20)
IMAGES = GENERATOR.integers(256, size=(40, 8, 8, 1), dtype=np.uint8)
DIGITS = LABELS.repeat(2) % 10
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X, data.Arrays(X)),
        (jnp.asarray(X), data.Arrays(X)),
        (X.tolist(), data.Arrays(X)),
        ((X, LABELS), data.Arrays(X, LABELS)),
        (Examples(X, LABELS, X[:, :2], LABELS), data.Arrays(X, LABELS, context=X[:, :2], groups=LABELS)),
        (data.Digits(), data.Digits()),
        ("x.npz", data.Files("x.npz")),
        (pathlib.Path("x.npz"), data.Files("x.npz")),
        (epath.Path("x.npz"), data.Files("x.npz")),
    ],
)  # fmt: skip
def test_every_form_becomes_its_data_set(value, expected):
    assert data.as_data_set(value) == expected


class Table:
    """A table of numbers, as in other libraries."""

    def __len__(self):
        return len(X)

    def __array__(self, dtype=None, copy=None):
        return X.astype(np.float64)


def test_a_table_is_read():
    assert data.as_data_set(Table()) == data.Arrays(X.astype(np.float64))


@pytest.mark.parametrize(
    ("value", "what"),
    [(None, "NoneType"), (3.0, "float"), ({"x": X}, "dict"), (data.Digits, "the class Digits"), (object(), "object"), (iter([X]), "list_iterator")],
)  # fmt: skip
def test_other_values_are_refused(value, what):
    sentence = (
        "data must be a data set, an array [N, *event], a pair (x, labels), Examples, Splits or a path, "
        f"got {what}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        data.as_data_set(value)


def splits(scaling=None) -> Splits:
    parts = [Examples(X[rows], LABELS[rows]) for rows in (slice(12), slice(12, 16), slice(16, 20))]
    return Splits(*parts, scaling)


def test_splits_are_loaded_as_they_were_given():
    scaling = Scaling(np.float32([1, 2, 3]), np.float32([2, 2, 2]))
    given = splits(scaling)._replace(conversions=("x was text.",))
    loaded = data.as_data_set(given).load()
    for name, part in loaded.parts.items():
        np.testing.assert_array_equal(part.x, given.parts[name].x)
        np.testing.assert_array_equal(part.labels, given.parts[name].labels)
        assert part.labels.dtype == np.int32
    assert loaded.scaling is scaling
    assert loaded.conversions == ("x was text.",)


def test_splits_with_equal_arrays_are_equal_data_sets():
    scaling = Scaling(np.float32(0), np.float32(2))
    one, same = data.as_data_set(splits(scaling)), data.as_data_set(splits(scaling))
    assert one == same
    assert hash(one) == hash(same)
    assert one != data.as_data_set(splits())
    assert one != data.as_data_set(splits(Scaling(np.float32(0), np.float32(3))))
    assert one != data.as_data_set(splits(scaling)._replace(test=splits().train))


def test_splits_are_checked_like_loaded_ones():
    test = Examples(np.full((4, 3), np.nan), LABELS[:4])
    with pytest.raises(ValueError, match=r"^test\.x holds nan in example 0: repair"):
        data.as_data_set(splits()._replace(test=test))
    whole = splits()._replace(test=Examples(np.arange(12).reshape(4, 3)))
    loaded = data.as_data_set(whole).load()
    assert loaded.test.x.dtype == np.float32
    assert loaded.conversions == ("test.x is converted from int64 to float32.",)


def test_read_only_arrays_are_shared_and_others_copied():
    x = X.copy()
    x.flags.writeable = False
    assert data.Arrays(x).x is x
    assert data.Arrays(X).x is not X
    assert data.Arrays(x[:15]).x.base is None  # a view: its base may be writeable


@pytest.mark.parametrize(
    "wrapper",
    [
        data.Standardised, data.Dequantised, data.ReducedBitDepth,
        lambda source: data.Resized(source, 4),
    ],
)  # fmt: skip
def test_wrappers_take_arrays(wrapper):
    assert wrapper(IMAGES) == wrapper(data.Arrays(IMAGES))
    np.testing.assert_array_equal(
        wrapper(IMAGES).load().test.x, wrapper(data.Arrays(IMAGES)).load().test.x
    )


@pytest.mark.parametrize("made", [data.MNISTSum, data.ColorMNIST, data.MicroMNIST])
def test_data_sets_made_of_digits_take_images_and_labels(made):
    whole = data.Arrays(
        IMAGES, DIGITS, validation=Examples(IMAGES, DIGITS), test=Examples(IMAGES, DIGITS)
    )
    sizes = {} if made is data.MicroMNIST else dict(num_train=5, num_validation=5, num_test=5)
    part = Examples(IMAGES, DIGITS)
    one, other = made(source=whole, **sizes), made(source=Splits(part, part, part), **sizes)
    np.testing.assert_array_equal(one.load().train.x, other.load().train.x)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: data.Resized(X, 4).load(), "Resized: train.x must be images [N, height, width, channels], got the shape (16, 3): choose a source of images."),
        (lambda: data.Resized(IMAGES * 1.0, 4).load(), "Resized: train.x holds "),
        (lambda: data.MicroMNIST(source=(IMAGES * 1.0, DIGITS)).load(), "MicroMNIST: the source holds "),
        (lambda: data.Standardised(None), "data must be a data set, an array"),
        (lambda: data.dequantise(KEY, jnp.full((1, 2), 200.0)), "x holds 200 in example 0, outside [0, 1]"),
        (lambda: data.reduce_bit_depth(IMAGES, bits=5), "x holds "),
        (lambda: data.reduce_bit_depth(X[:1] * 0, bits=9), "bits must lie in 1 to 8, got 9."),
        (lambda: data.bernoulli(KEY, jnp.asarray(IMAGES)), "probs holds "),
        (lambda: binarise_splits(splits()), "train.x holds "),
    ],
)  # fmt: skip
def test_a_value_outside_the_range_is_refused_at_the_door(attempt, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        attempt()

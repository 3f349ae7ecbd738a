"""Arrays as a data set: cuts, conversions, and the identity of two data sets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import data
from vaelab.runs.record import to_record
from vaelab.types import Examples

X = np.arange(60, dtype=np.float64).reshape(20, 3)
LABELS = np.arange(20)


def rows(part: Examples) -> list[int]:
    return [int(value) for value in part.x[:, 0] / 3]


def test_the_parts_hold_every_row_once():
    arrays = data.Arrays(X, LABELS, groups=LABELS // 4, context=X[:, None] / 7)
    splits = arrays.load()
    assert sorted(row for part in splits.parts.values() for row in rows(part)) == list(range(20))
    for part, size in zip(splits.parts.values(), (16, 2, 2), strict=True):
        assert len(part.x) == size
        np.testing.assert_array_equal(part.labels, rows(part))
        np.testing.assert_array_equal(part.groups, np.array(rows(part)) // 4)
        np.testing.assert_allclose(part.context[:, 0] * 7, part.x, rtol=1e-6)
    again, other = arrays.load(), data.Arrays(X, LABELS, seed=1).load()
    assert rows(again.train) == rows(splits.train) != rows(other.train)


def test_given_parts_are_kept_and_the_others_are_cut():
    test = Examples(X[:5] + 1, LABELS[:5])
    splits = data.Arrays(X, LABELS, test=test, fractions=(0.6, 0.2, 0.2)).load()
    np.testing.assert_array_equal(splits.test.x, test.x)
    assert (len(splits.train.x), len(splits.validation.x)) == (15, 5)
    splits = data.Arrays(X, validation=X[:2], test=X[:3]).load()
    assert rows(splits.train) == list(range(20))
    assert (len(splits.validation.x), len(splits.test.x)) == (2, 3)


@pytest.mark.parametrize(
    ("x", "expected", "num_levels"),
    [
        (np.arange(256, dtype=np.uint8)[:, None], np.arange(256)[:, None] / 255, 256),
        (np.eye(10, dtype=bool), np.eye(10), 2),
        (np.linspace(-3, 3, 30).reshape(10, 3), np.linspace(-3, 3, 30).reshape(10, 3), None),
        (np.linspace(0, 1, 30).reshape(10, 3), np.linspace(0, 1, 30).reshape(10, 3), None),
    ],
)
def test_bytes_are_divided_by_255_and_floats_kept(x, expected, num_levels):
    arrays = data.Arrays(x, validation=x, test=x)
    np.testing.assert_allclose(arrays.load().train.x, expected, rtol=1e-6)
    assert arrays.load().train.x.dtype == np.float32
    assert arrays.num_levels == num_levels


def test_real_valued_labels_are_targets():
    arrays = data.Arrays(X, np.linspace(0, 1, 20))
    assert arrays.load().train.labels.dtype == np.float32
    assert data.Arrays(X, np.ones((20, 2))).load().test.labels.shape == (2, 2)


def test_equal_arrays_are_equal_data_sets():
    one, same = data.Arrays(X, LABELS), data.Arrays(X.copy(), LABELS.copy())
    assert one == same
    assert hash(one) == hash(same)
    for other in (
        data.Arrays(X + 1e-3, LABELS), data.Arrays(X, LABELS[::-1]), data.Arrays(X),
        data.Arrays(X, LABELS, seed=1), data.Arrays(X, LABELS, test=X), data.Arrays(X.reshape(20, 3, 1), LABELS),
    ):  # fmt: skip
        assert one != other
    assert dataclasses.replace(one, seed=1) == data.Arrays(X, LABELS, seed=1)


def test_changing_an_array_afterwards_changes_nothing():
    x = X.astype(np.float32)
    arrays = data.Arrays(x)
    x[:] = 0
    np.testing.assert_array_equal(arrays.x, X)
    with pytest.raises(ValueError, match="read-only"):
        arrays.x[0] = 0


def test_a_configuration_holds_digests():
    record = json.loads(json.dumps(to_record(data.Arrays(X, test=Examples(X, LABELS)))))
    sha256 = hashlib.sha256(X.astype(np.float32).tobytes()).hexdigest()
    x = {"type": "array", "shape": [20, 3], "dtype": "float32", "sha256": sha256}
    assert record["type"] == "vaelab.data.Arrays"
    assert record["x"] == record["test"]["x"] == x
    assert record["labels"] is None
    assert record["test"]["labels"]["dtype"] == "int32"


BAD = X.copy()
BAD[3, 1] = np.nan


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: data.Arrays(BAD), "train.x holds nan in example 3: repair"),
        (lambda: data.Arrays(X, np.array(["a"] * len(X))), "labels must be integers, of classes from 0, or floats, got <U1: number classes with np.unique(labels, return_inverse=True)[1]."),
        (lambda: data.Arrays(X, test=BAD), "test.x holds nan in example 3: repair or remove that example, the data must be finite."),
        (lambda: data.Arrays(X.astype(str)), "x must be numbers [N, ...], got <U32 of the shape (20, 3): give integers, booleans or floats."),
        (lambda: data.Arrays(X + 1j), "x must be numbers [N, ...], got complex128 of the shape (20, 3): give integers, booleans or floats."),
        (lambda: data.Arrays(3.5), "x must be numbers [N, ...], got float64 of the shape (): give integers, booleans or floats."),
        (lambda: data.Arrays([[1, 2], [3]]), "x cannot be read as an array ("),
        (lambda: data.Arrays(np.ma.masked_equal(X, 7.0)), "x has masked values: replace or remove them."),
        (lambda: data.Arrays(np.int64([[1], [2**24 + 1]] * 10)), "x holds 16777217 in example 1, above 16777216 in size, where float32 skips integers: subtract an offset, or convert it with astype(np.float64) and accept the rounding."),
        (lambda: data.Arrays(X, np.float64([0, 1e300] * 10)), "labels holds 1e+300 in example 1, too large for float32: rescale the data."),
        (lambda: data.Arrays(X, test=X * 1e38), "test.x holds 4e+38 in example 1, too large for float32: rescale the data."),
        (lambda: data.Arrays(X, LABELS + 2**31), "labels must be integers that fit 32 bits, got int64."),
        (lambda: data.Arrays(X, seed=-1), "seed must be finite and not negative, got -1."),
        (lambda: data.Arrays(X[:, 0]), "train.x must have the shape [N, *event], got (20,): reshape it, to [N, 1] for single numbers."),
        (lambda: data.Arrays(X, LABELS[:3]), "labels must have one entry for each of the 20 examples of x, got the shape (3,)."),
        (lambda: data.Arrays(X, LABELS - 5), "holds -"),
        (lambda: data.Arrays(X, groups=X[:, 0] + 0.5), "groups must be integers that fit 32 bits, got float64."),
        (lambda: data.Arrays(X, test=X[:, :2]), "test.x holds examples of the shape (2,) and train.x of (3,): give all splits one shape."),
        (lambda: data.Arrays(X, test=Examples(X, LABELS[:2])), "test.labels must have one entry for each of the 20 examples of test.x, got the shape (2,)."),
        (lambda: data.Arrays(X, fractions=(0.8, 0.1, 0.2)), "fractions must be three positive shares of train, validation and test that sum to 1, got (0.8, 0.1, 0.2)."),
        (lambda: data.Arrays(X, fractions=(0.9, 0.1, 0.0)), "fractions must be three positive shares"),
        (lambda: data.Arrays(X, fractions=(0.97, 0.02, 0.01)), "fractions leave test empty, with 0.01 of 20 examples: give more examples, or a larger fraction."),
        (lambda: data.Arrays(X[:0]), "train.x is empty, with the shape (0, 3): give every split at least one example."),
    ],
)  # fmt: skip
def test_errors_name_the_fault_and_the_remedy(attempt, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        attempt()
    assert str(error.value).endswith(".")


class OnGPU:
    """A tensor that numpy cannot read, as in other libraries."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu() first."
        )


def test_a_tensor_that_numpy_cannot_read_is_one_sentence():
    sentence = (
        "x cannot be read as an array (can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() "
        "first): give a numpy array."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        data.Arrays(OnGPU())


@pytest.mark.parametrize("shape", [(3,), (4, 4, 1), (4, 4, 2), (4, 4, 3), (4, 4, 5), (6, 7)])
@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "float64",
     "longdouble", jnp.bfloat16, jnp.float8_e5m2, jnp.int4],
)  # fmt: skip
def test_every_type_keeps_its_values_and_says_so(dtype, shape):
    x = np.arange(20 * math.prod(shape)).reshape(20, *shape) % 8
    arrays = data.Arrays(
        x.astype(dtype), validation=x[:2].astype(np.float32), test=x[:2].astype(dtype)
    )
    splits = arrays.load()
    np.testing.assert_array_equal(splits.train.x, x.astype(dtype).astype(np.float32))
    assert splits.train.x.dtype == np.float32
    name = str(np.dtype(dtype))
    assert splits.conversions == (
        f"x is converted from {name} to float32.", f"test.x is converted from {name} to float32.",
    )  # fmt: skip


def test_conversions_are_said_through_wrappers_and_float32_has_none():
    x = X.astype(np.float32)
    assert data.Arrays(x, LABELS).load().conversions == ()
    assert data.Arrays(x, LABELS / 3).load().conversions == (
        "labels is converted from float64 to float32.",
    )
    images = np.zeros((20, 8, 8, 1), np.uint8)
    expected = ("x is converted from uint8 to float32 and divided by 255.",)
    for data_set in (data.Arrays(images), data.Standardised(images), data.Dequantised(images),
                     data.ReducedBitDepth(images), data.Resized(images, 4)):  # fmt: skip
        assert data_set.load().conversions == expected


def test_a_copy_of_a_data_set_says_the_same_once():
    arrays = data.Arrays(X)
    assert dataclasses.replace(arrays, seed=3).load().conversions == arrays.conversions
    assert arrays.conversions == ("x is converted from float64 to float32.",)
    assert arrays == data.Arrays(X.astype(np.float32))


def test_values_that_float32_rounds_to_zero_are_said():
    x = X.copy()
    x[3] = [1e-60, -1e-42, 1e-30]
    converted, rounded = data.Arrays(x, test=x.astype(np.float32)).load().conversions
    assert converted == "x is converted from float64 to float32."
    assert rounded == "2 values of x lie nearer to 0 than 1.2e-38 and are rounded."


def test_float64_is_rounded_to_the_nearest_float32():
    x = np.random.default_rng(0).normal(size=(300_000, 7)) * 1e5  # several blocks
    arrays = data.Arrays(x, validation=x[:2], test=x[:2])
    np.testing.assert_array_equal(arrays.load().train.x, x.astype(np.float32))
    np.testing.assert_allclose(arrays.x, x, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_two_copies_at_most_are_in_memory(dtype):
    """The two are the data set's own arrays and the parts cut from them."""
    x = np.zeros((4_000, 32, 32), dtype)
    size = x.size * 4
    tracemalloc.start()
    try:
        arrays = data.Arrays(x)
        assert arrays.num_levels == 2
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size + 40e6
        arrays.load()
        assert tracemalloc.get_traced_memory()[1] < 2.1 * size + 2e6
    finally:
        tracemalloc.stop()

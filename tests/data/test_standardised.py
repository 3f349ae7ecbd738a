"""Standardised data: the map, its inverse, and the units of log densities."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats

from vaelab import data

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.normal(np.float32([5, -2, 0, 7]), np.float32([2, 0.1, 30, 0]), (60, 4))
IMAGES = GENERATOR.integers(256, size=(30, 4, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("x", [VECTORS, IMAGES])
def test_training_data_have_mean_0_and_deviation_1(x, per_channel):
    source = data.Arrays(x)
    plain, splits = source.load(), data.Standardised(source, per_channel).load()
    axes = tuple(range(x.ndim - 1)) if per_channel else (0,)
    mean, std = (getattr(splits.train.x, f)(axes, dtype=np.float64) for f in ("mean", "std"))
    constant = np.ptp(plain.train.x, axis=axes) == 0
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(std, np.where(constant, 0, 1), atol=1e-5)
    assert constant.any() == (x is VECTORS)
    for name, part in splits.parts.items():
        back = splits.in_data_units(part.x)
        np.testing.assert_allclose(back, plain.parts[name].x, rtol=1e-5, atol=1e-5)
        assert part.x.dtype == np.float32


def test_statistics_are_those_of_the_training_part_alone():
    x = np.float32([[0.0], [2.0]])
    splits = data.Standardised(data.Arrays(x, validation=x + 100, test=x - 100)).load()
    np.testing.assert_array_equal(splits.scaling.mean, [1])
    np.testing.assert_array_equal(splits.scaling.scale, [1])
    np.testing.assert_array_equal(splits.test.x, x - 101)


def test_a_constant_coordinate_becomes_zero_exactly():
    x = np.full((50, 2), 0.1, np.float32)  # its mean in float32 is not 0.1
    splits = data.Standardised(data.Arrays(x)).load()
    np.testing.assert_array_equal(splits.train.x, 0)
    np.testing.assert_array_equal(splits.in_data_units(splits.test.x), np.float32(0.1))


def test_log_densities_convert_to_the_units_of_the_data():
    """The log density of the data is that of the standardised data plus the log-determinant."""
    splits = data.Standardised(data.Arrays(VECTORS[:, :3])).load()
    y, scaling = splits.test.x, splits.scaling
    log_prob = scipy.stats.norm.logpdf(y).sum(axis=1) + scaling.log_determinant(y.shape[1:])
    expected = scipy.stats.norm.logpdf(splits.in_data_units(y), scaling.mean, scaling.scale)
    np.testing.assert_allclose(log_prob, expected.sum(axis=1), rtol=1e-5)
    per_channel = data.Standardised(data.Arrays(IMAGES), per_channel=True).load().scaling
    np.testing.assert_allclose(
        per_channel.log_determinant((4, 5, 3)), -20 * np.log(per_channel.scale).sum(), rtol=1e-6
    )


def test_standardised_images_are_shown_as_their_source_is():
    source = data.Arrays(IMAGES)
    standardised = data.Standardised(source)
    splits = standardised.load()
    shown = standardised.show(splits.in_data_units(splits.test.x)).images
    np.testing.assert_allclose(shown, source.load().test.x, atol=1e-6)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (
            lambda: data.Standardised(data.Digits()),
            "source of Standardised must keep its batches as they are, and those of Digits are "
            "binarised at each step: choose a source without that.",
        ),
        (
            lambda: data.Standardised(data.Standardised(data.Arrays(VECTORS))).load(),
            "source of Standardised is standardised already: Standardised(Arrays).",
        ),
        (
            lambda: data.ReducedBitDepth(data.Standardised(data.Arrays(IMAGES))).load(),
            "source of ReducedBitDepth must hold values from 0 to 1, and Standardised(Arrays) is "
            "standardised: write Standardised(ReducedBitDepth(...)).",
        ),
    ],
)
def test_errors_name_the_fault_and_the_remedy(attempt, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        attempt()

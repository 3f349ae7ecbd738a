"""Images for plots, of every data set and through every wrapper."""

from __future__ import annotations

import numpy as np
import pytest

from vaelab import data

SOURCE = data.Digits(binarisation="none")
TRIPLETS, HARD = data.MNISTTriplets(SOURCE), data.MNISTSumHard(SOURCE)
COLOUR = data.ColorMNIST(SOURCE)


def wrappers(source: data.DataSet) -> list[data.DataSet]:
    return [
        source,
        data.Dequantised(source),
        data.ReducedBitDepth(source, 3),
        data.Resized(source, 8),
        data.Standardised(source),
        data.Dequantised(data.Resized(source, 8)),
    ]


@pytest.mark.parametrize(
    ("source", "channels", "shown_shape"),
    [(SOURCE, 1, (8, 8, 1)), (COLOUR, 3, (8, 8, 3)), (TRIPLETS, 3, (8, 24, 1)), (HARD, 2, (8, 16, 1))],
)  # fmt: skip
def test_every_wrapper_shows_what_its_source_shows(source, channels, shown_shape):
    x = np.random.default_rng(0).random((5, 8, 8, channels), np.float32)
    for data_set in wrappers(source):
        shown = data_set.show(x)
        assert shown.images.shape == (5, *shown_shape)
        np.testing.assert_array_equal(shown.images, source.show(x).images)
        assert shown.note == ""


def test_channels_stand_side_by_side():
    x = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    shown = data.Arrays(np.zeros((20, 3, 4, 5), np.float32)).show(x).images
    for channel in range(5):
        np.testing.assert_array_equal(
            shown[:, :, 4 * channel : 4 * channel + 4, 0], x[..., channel]
        )


@pytest.mark.parametrize("shape", [(7,), (12, 7)])
def test_vectors_and_sequences_have_no_images(shape):
    source = data.Arrays(np.random.default_rng(0).random((20, *shape)))
    assert source.show(source.load().test.x) is None
    assert data.Standardised(source).show(source.load().test.x) is None


def test_images_of_another_range_are_rescaled():
    x = np.random.default_rng(0).uniform(-1, 1, (20, 4, 4, 1)).astype(np.float32)
    arrays = data.Arrays(x)
    np.testing.assert_allclose(arrays.show(x).images, (x - x.min()) / np.ptp(x), atol=1e-6)
    scale = f"Black is {x.min():.3g} and white is {x.max():.3g}."
    assert arrays.show(x).note == scale
    assert arrays.show(3 * x).note == (
        f"{scale} Values are clipped to [{x.min():.3g}, {x.max():.3g}]."
    )


@pytest.mark.parametrize(
    "source", [SOURCE, COLOUR, TRIPLETS, HARD], ids=lambda source: source.title
)
def test_a_note_says_that_values_are_clipped(source):
    """A change below half a grey level of 8 bits cannot be seen and is not said."""
    channels = {SOURCE: 1, HARD: 2}.get(source, 3)
    x = np.full((2, 4, 4, channels), 0.5, np.float32)
    for value, note in {
        1.001: "", -0.001: "", np.nan: "",
        1.01: "Values are clipped to [0, 1].", -1: "Values are clipped to [0, 1].",
    }.items():  # fmt: skip
        x[0, 1, 2, 0] = value
        shown = source.show(x)
        assert shown.note == note
        assert np.isnan(shown.images).any() == np.isnan(value)
        assert np.nanmin(shown.images) == np.nanmin(np.clip(x, 0, 1))
        assert np.nanmax(shown.images) == np.nanmax(np.clip(x, 0, 1))


def test_descriptions_go_through_wrappers():
    assert data.MNIST().describe() == "MNIST, binarised once with numpy seed 777"
    assert data.MNIST(binarisation="none").describe() == "MNIST"
    noisy = data.Dequantised(data.MNIST())
    assert noisy.describe() == (
        "MNIST, binarised once with numpy seed 777, with uniform noise drawn once with JAX key 0"
    )
    assert noisy.preprocessing == "binarised and dequantised"
    assert noisy.title == "Dequantised(MNIST)"
    assert data.ReducedBitDepth(COLOUR, 5).describe() == "ColorMNIST, reduced to 32 levels"

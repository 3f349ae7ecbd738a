"""Data sets made of digits, resized and treated data sets: relations, distributions and images, in numpy."""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from PIL import Image
from scipy import ndimage, stats

from vaelab import data
from vaelab.types import Examples, Splits

KEY = jax.random.key(3)
NUM_IMAGES, NUM_EXAMPLES = 34, 30_000
# Of each digit between two and five images, in no order; image i has the one pixel i.
LABELS = np.random.default_rng(0).permutation(np.r_[np.arange(20) % 10, np.arange(12) % 4, 0, 7])
ROWS = jnp.arange(NUM_IMAGES, dtype=jnp.float32).reshape(-1, 1, 1, 1)
FREQUENCY = np.bincount(LABELS)


def rows_of(images) -> np.ndarray:
    """The rows of these images, [num_examples, channels]."""
    return np.asarray(images).astype(int)[:, 0, 0]


def make(function, key=KEY, **settings) -> Examples:
    return function(ROWS, jnp.asarray(LABELS), key, num_examples=NUM_EXAMPLES, **settings)


def assert_distributed(rows: np.ndarray, probabilities: np.ndarray) -> None:
    """Chi-square test of joint rows [M, K] against probabilities [N, ..., N] of K axes."""
    counts = np.zeros(probabilities.shape)
    np.add.at(counts, tuple(rows.T), 1)
    assert not counts[probabilities == 0].any()
    seen, expected = counts[probabilities > 0], len(rows) * probabilities[probabilities > 0]
    assert expected.min() > 5  # the test's approximation fails below 5
    assert stats.chisquare(seen, expected).pvalue > 0.01


PAIRS = np.full((NUM_IMAGES, NUM_IMAGES), NUM_IMAGES**-2)


@pytest.mark.parametrize("function", [data.mnist_triplets, data.mnist_sum, data.mnist_sum_hard])
def test_the_third_digit_is_the_sum_of_two(function):
    examples = make(function)
    if function is data.mnist_triplets:
        rows = rows_of(examples.x)
        digits = LABELS[rows] @ [100, 10, 1]
        assert examples.context is None
    elif function is data.mnist_sum:
        rows = np.concatenate([rows_of(examples.context), rows_of(examples.x)], axis=1)
        digits = LABELS[rows[:, 2]]
    else:
        rows = np.concatenate([rows_of(examples.x), rows_of(examples.context)], axis=1)
        digits = LABELS[rows[:, :2]] @ [10, 1]
    np.testing.assert_array_equal(examples.labels, digits)
    assert examples.labels.dtype == jnp.int32
    assert examples.x.dtype == jnp.float32
    assert_distributed(rows[:, :2], PAIRS)
    # P(first, third) = Σ over the second image, by enumeration.
    wanted = (LABELS[:, None] + LABELS) % 10
    third = (wanted[..., None] == LABELS) / FREQUENCY[wanted][..., None]
    assert_distributed(rows[:, [0, 2]], third.mean(axis=1) / NUM_IMAGES)
    np.testing.assert_array_equal(LABELS[rows[:, 2]], LABELS[rows[:, :2]].sum(axis=1) % 10)


def test_the_rotated_digit_is_another_image_of_the_same_label():
    examples = make(data.mnist_rotate)
    first, second = rows_of(examples.context).T
    third = rows_of(examples.x)[:, 0]
    np.testing.assert_array_equal(examples.labels, LABELS[first])
    assert_distributed(np.stack([first, second], axis=1), PAIRS)
    others = (LABELS[:, None] == LABELS) & ~np.eye(NUM_IMAGES, dtype=bool)
    assert_distributed(
        np.stack([first, third], axis=1), others / (FREQUENCY[LABELS] - 1)[:, None] / NUM_IMAGES
    )
    assert_distributed(np.stack([second, third], axis=1), PAIRS)


def test_the_second_digit_sets_the_angle():
    images = np.random.default_rng(1).random((NUM_IMAGES, 5, 5, 1), np.float32)
    examples = data.mnist_rotate(
        jnp.asarray(images), jnp.asarray(LABELS), KEY, num_examples=60, step=90.0
    )
    for target, context, label in zip(*map(np.asarray, (examples.x, examples.context, examples.labels)), strict=True):  # fmt: skip
        first, second = (
            next(i for i in range(NUM_IMAGES) if np.array_equal(images[i, ..., 0], context[..., c]))
            for c in range(2)
        )
        turned = [np.rot90(image, LABELS[second])[..., 0] for image in images]
        (third,) = [i for i, t in enumerate(turned) if np.allclose(t, target[..., 0], atol=1e-5)]
        assert third != first
        assert LABELS[third] == LABELS[first] == label


@pytest.mark.parametrize("size", [(5, 5), (6, 6)])
def test_quarter_turns_equal_numpy(size):
    image = np.random.default_rng(2).random((*size, 2), np.float32)
    angles = jnp.array([-90.0, 0.0, 90.0, 180.0, 270.0, 360.0])
    turned = data.rotate(jnp.tile(image, (6, 1, 1, 1)), angles)
    for quarters, found in zip([-1, 0, 1, 2, 3, 4], turned, strict=True):
        np.testing.assert_allclose(found, np.rot90(image, quarters), atol=1e-5)


def test_rotation_equals_scipy_inside_and_is_zero_outside():
    image = np.random.default_rng(3).random((15, 15))
    angles = [36.0, 72.0, 108.0, -10.0, 200.0]
    images = jnp.tile(jnp.asarray(image, jnp.float32)[..., None], (len(angles), 1, 1, 1))
    radius = np.hypot(*(np.mgrid[:15, :15] - 7.0))
    for angle, found in zip(angles, data.rotate(images, jnp.array(angles))[..., 0], strict=True):
        expected = ndimage.rotate(image, angle, reshape=False, order=1)
        np.testing.assert_allclose(found[radius < 7], expected[radius < 7], atol=1e-5)
    corners = data.rotate(images, jnp.full(len(angles), 45.0))[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_colour_channels_hold_independent_digits():
    examples = make(data.color_mnist)
    rows = rows_of(examples.x)
    np.testing.assert_array_equal(examples.labels, LABELS[rows] @ [100, 10, 1])
    digit = FREQUENCY / NUM_IMAGES
    assert_distributed(LABELS[rows], np.einsum("i,j,k->ijk", digit, digit, digit))  # 1,000 modes
    for pair in ([0, 1], [0, 2], [1, 2]):
        assert_distributed(rows[:, pair], PAIRS)


def test_a_tint_is_a_uniform_hue_of_full_colour():
    examples = data.tinted_mnist(
        (1 + ROWS) / NUM_IMAGES, jnp.asarray(LABELS), KEY, num_examples=NUM_EXAMPLES
    )
    hue, saturation, value = rgb_to_hsv(np.asarray(examples.x[:, 0, 0])).T
    rows = np.rint(value * NUM_IMAGES).astype(int) - 1
    np.testing.assert_array_equal(examples.labels, LABELS[rows])
    np.testing.assert_allclose(saturation, 1.0, atol=1e-6)
    np.testing.assert_allclose(value * NUM_IMAGES, rows + 1, rtol=1e-6)
    assert stats.kstest(hue, "uniform").pvalue > 0.01
    sixths = np.minimum((hue * 6).astype(int), 5)
    joint = np.zeros((NUM_IMAGES, NUM_IMAGES))
    joint[:, :6] = 1 / (6 * NUM_IMAGES)
    assert_distributed(np.stack([rows, sixths], axis=1), joint)


def test_micro_mnist_draws_different_images_uniformly():
    draw = jax.vmap(lambda key: data.micro_mnist(ROWS, jnp.asarray(LABELS), key))
    few = draw(jax.random.split(KEY, 8000))
    rows = np.asarray(few.x).astype(int).reshape(8000, 7)
    assert all(len(set(seven)) == 7 for seven in rows)
    np.testing.assert_array_equal(few.labels, LABELS[rows])
    assert_distributed(rows[:, :1], np.full(NUM_IMAGES, 1 / NUM_IMAGES))
    assert_distributed(rows[:, 5:], np.where(np.eye(NUM_IMAGES), 0, 1 / (34 * 33)))


FUNCTIONS = [
    data.mnist_triplets, data.mnist_sum, data.mnist_sum_hard, data.mnist_rotate, data.color_mnist,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_key_decides_everything(function):
    one, same, other = make(function), make(function), make(function, jax.random.key(4))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one.x != other.x).mean() > 0.5


@dataclasses.dataclass(frozen=True)
class Few(data.GreyImages):
    """Different 4x4 images in each split, three of each digit."""

    def grey(self, data_dir: str | None = None) -> Splits:
        images = np.random.default_rng(5).random((3, 30, 4, 4, 1), np.float32)
        return Splits(*(Examples(x, np.arange(30, dtype=np.int32) % 10) for x in images))


SIZES = {"num_train": 20, "num_validation": 20, "num_test": 20}
SOURCE = Few()
MADE = {
    data.MNISTTriplets(SOURCE, **SIZES): (3, None),
    data.MNISTSum(SOURCE, **SIZES): (1, 2),
    data.MNISTSumHard(SOURCE, **SIZES): (2, 1),
    data.MNISTRotate(SOURCE, **SIZES, step=0.0): (1, 2),
    data.ColorMNIST(SOURCE, **SIZES): (3, None),
    data.MicroMNIST(SOURCE, 20): (1, None),
}


@pytest.mark.parametrize("data_set", MADE, ids=lambda data_set: type(data_set).__name__)
def test_a_split_is_made_of_that_split_of_the_source(data_set):
    splits = data_set.load()
    channels, context_channels = MADE[data_set]
    sources = SOURCE.grey()
    if isinstance(data_set, data.MicroMNIST):
        sources = Splits(sources.train, sources.train, sources.train)
    # Interpolated images are rounded to 8 bits, unlike the images of this source.
    within = 1e-6 + (0.5 / 255 if isinstance(data_set, data.MNISTRotate) else 0.0)
    for made, source in zip(splits.parts.values(), sources.parts.values(), strict=True):
        assert made.x.shape == (20, 4, 4, channels)
        assert made.x.dtype == np.float32
        assert made.labels.dtype == np.int32
        assert (None if made.context is None else made.context.shape[-1]) == context_channels
        images = source.x.reshape(30, 16)
        for part in (made.x, made.context):
            if part is not None:
                one_by_one = np.moveaxis(part, -1, 0).reshape(-1, 1, 16)
                assert (abs(one_by_one - images).max(axis=-1).min(axis=-1) < within).all()


def test_sizes_are_settings_and_embedded_digits_are_a_source():
    sizes = {"num_train": 50, "num_validation": 12, "num_test": 7}
    splits = data.ColorMNIST(data.Digits(), **sizes, tinted=True).load()
    assert [split.x.shape for split in splits.parts.values()] == [(n, 8, 8, 3) for n in (50, 12, 7)]


def test_loading_twice_gives_the_same_data_and_the_splits_differ():
    data_set = data.MNISTSum(SOURCE, **SIZES)
    one, same = data_set.load(), data_set.load()
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert not np.array_equal(one.train.labels, one.validation.labels)
    assert not np.array_equal(one.train.labels, one.test.labels)


def test_x_can_be_binary_while_the_context_stays_grey():
    splits = data.MNISTSum(SOURCE, **SIZES, binarisation="dynamic").load()
    assert set(np.unique(splits.test.x)) == {0.0, 1.0}
    assert len(np.unique(splits.train.x)) > 2
    assert len(np.unique(splits.test.context)) > 2


@dataclasses.dataclass(frozen=True)
class Given(data.GreyImages):
    """The same examples three times."""

    examples: Examples = dataclasses.field(kw_only=True)

    def grey(self, data_dir: str | None = None) -> Splits:
        return Splits(self.examples, self.examples, self.examples)


def given(*shape: int, labels=None, value: float = 0.5) -> Given:
    return Given("none", examples=Examples(np.full(shape, value, np.float32), labels))


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: data.MNISTSum(num_train=0), "num_train must be at least 1, got 0."),
        (lambda: data.MNISTSum(binarisation="dynamical"), "binarisation must be one of dynamic, fixed, none, got 'dynamical'."),
        (lambda: data.MNISTRotate(step=float("inf")), "step must be a finite angle in degrees, got inf."),
        (lambda: data.MicroMNIST(num_examples=0), "num_examples must be at least 1, got 0."),
        (
            lambda: data.MicroMNIST(SOURCE, 31).load(),
            "num_examples must be at most 30, the source's training images, got 31.",
        ),
        (
            lambda: data.ColorMNIST(given(20, 2, 2, 3)).load(),
            "ColorMNIST: train is made of grey images [N, height, width, 1], and the source's have "
            "the shape (20, 2, 2, 3): choose a source of one channel, such as MNIST.",
        ),
        (
            lambda: data.MNISTSum(given(19, 2, 2, 1, labels=np.arange(19, dtype=np.int32) % 10)).load(),
            "MNISTSum: train needs the labels 0 to 9 and two images or more of each, and the source "
            "has 10 labels, the rarest with 1 images: choose a source of digits, such as MNIST.",
        ),
        (
            lambda: data.MNISTSum(given(22, 2, 2, 1, labels=np.arange(22, dtype=np.int32) % 11)).load(),
            "MNISTSum: train needs the labels 0 to 9 and two images or more of each, and the source "
            "has 11 labels, the rarest with 2 images: choose a source of digits, such as MNIST.",
        ),
        (
            lambda: data.MicroMNIST(given(20, 2, 2, 1)).load(),
            "MicroMNIST is made of digits, and the data have no labels: choose data with classes. "
            "Choose a source of digits, such as MNIST.",
        ),
        (
            lambda: data.MNISTSum(given(20, 2, 2, 1, labels=np.zeros(20, np.float32))).load(),
            "MNISTSum: train is made of digits, and labels must be classes, integers [N], got float32 "
            "of the shape (20,): choose data with classes. Choose a source of digits, such as MNIST.",
        ),
        (lambda: data.Resized(SOURCE, 0), "size must be at least 1, got 0."),
        (
            lambda: data.Resized(data.Dequantised(SOURCE), 16),
            "source must not be Dequantised, which would treat images of the old size: write "
            "Dequantised(Resized(...)).",
        ),
        (lambda: data.ReducedBitDepth(SOURCE, 9), "bits must lie in 1 to 8, got 9."),
    ],
)  # fmt: skip
def test_errors_name_the_fault_and_the_remedy(attempt, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        attempt()


@pytest.mark.parametrize("size", [2, 4, 7])
def test_resizing_equals_pillow(size):
    resized = data.Resized(SOURCE, size)
    grey, found = SOURCE.grey().test.x, resized.load().test.x
    for image, small in zip(grey[:5, ..., 0], found[:5, ..., 0], strict=True):
        expected = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(small, np.asarray(expected), atol=0.5 / 255 + 1e-5)
    levels = 255 * np.asarray(found, np.float64)
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)


def test_resizing_includes_the_context_and_can_precede_other_steps():
    made_then_resized = data.Resized(data.MNISTSum(SOURCE, **SIZES), 7).load()
    resized_then_made = data.MNISTSum(data.Resized(SOURCE, 7), **SIZES).load()
    for one, other in zip(
        made_then_resized.parts.values(), resized_then_made.parts.values(), strict=True
    ):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.x, other.x, atol=1e-6)
        np.testing.assert_allclose(one.context, other.context, atol=1e-6)
    binary = data.Resized(SOURCE, 7, binarisation="dynamic")
    assert set(np.unique(binary.load().test.x)) == {0.0, 1.0}
    assert set(np.unique(binary.preprocess(KEY, jnp.full((2, 7, 7, 1), 0.5)))) == {0.0, 1.0}


def eight_bits() -> Given:
    levels = np.arange(256, dtype=np.float32) / 255
    return Given("none", examples=Examples(np.tile(levels, 16).reshape(16, 16, 16, 1)))


def test_noise_is_uniform_within_a_level_and_independent():
    noisy = data.Dequantised(eight_bits())
    splits = noisy.load()
    np.testing.assert_array_equal(splits.train.x, eight_bits().grey().train.x)
    batch = jnp.asarray(splits.train.x)
    once, again = (np.asarray(noisy.preprocess(jax.random.key(i), batch)) for i in range(2))
    level = np.rint(255 * splits.train.x.astype(np.float64))
    for x in (once, again, splits.validation.x, splits.test.x):
        noise = 256 * x.astype(np.float64) - level
        assert noise.min() >= 0
        assert noise.max() <= 1
        assert stats.kstest(noise.ravel(), "uniform").pvalue > 0.01
    for one, other in ((once, again), (splits.validation.x, splits.test.x)):
        assert (
            abs(np.corrcoef((256 * one - level).ravel(), (256 * other - level).ravel())[0, 1])
            < 0.05
        )


def test_noise_follows_the_preprocessing_of_the_source():
    noisy = data.Dequantised(data.Digits())  # binarised afresh
    x = np.asarray(noisy.preprocess(KEY, jnp.full((50, 8, 8, 1), 0.5)))
    assert set(np.unique(np.floor(256 * x))) == {0.0, 255.0}


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_levels_are_the_highest_bits(bits):
    splits = data.ReducedBitDepth(eight_bits(), bits).load()
    expected = [int(f"{level:08b}"[:bits], 2) / (2**bits - 1) for level in range(256)]
    for split in splits.parts.values():
        np.testing.assert_allclose(split.x.reshape(16, 256), [expected] * 16, rtol=1e-6)
    assert split.x.dtype == np.float32
    assert len(np.unique(split.x)) == 2**bits


@pytest.mark.parametrize("treated", [data.Dequantised, data.ReducedBitDepth])
def test_values_outside_the_unit_range_have_no_levels(treated):
    arrays = data.Arrays(np.linspace(-1, 1, 160).reshape(10, 4, 4, 1))
    with pytest.raises(
        ValueError, match=rf"^{treated.__name__}: train\.x holds -0\.\d+ in image \d"
    ):
        treated(arrays).load()


CONTEXT = np.zeros((3, 5, 5, 2), np.float32)
NOT_FINITE = np.where(np.arange(2) == 1, np.nan, CONTEXT).astype(np.float32)
GIVE_ONE = "give one context for each image, or None."


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("context", None, "test.context is None and train.context is not: give every split a context, or none."),
        ("context", CONTEXT[:2], f"test.context must be float32 of the shape [N, *event], N being the 3 images of test.x, got float32 of the shape (2, 5, 5, 2): {GIVE_ONE}"),
        ("context", CONTEXT[:, 0, 0, 0], f"test.context must be float32 of the shape [N, *event], N being the 3 images of test.x, got float32 of the shape (3,): {GIVE_ONE}"),
        ("context", CONTEXT.astype(int), f"test.context must be float32 of the shape [N, *event], N being the 3 images of test.x, got int64 of the shape (3, 5, 5, 2): {GIVE_ONE}"),
        ("context", CONTEXT[:, :4], "test.context holds images of the shape (4, 5, 2) and train.context of (5, 5, 2): give all splits one shape."),
        ("context", NOT_FINITE, "test.context holds nan in image 0: repair or remove that image, the data must be finite."),
        ("labels", np.array([0, -1, 1], np.int32), "test.labels holds -1 at image 1: number the classes from 0, or give targets as floats."),
    ],
)  # fmt: skip
def test_context_and_labels_are_checked(field, value, sentence):
    good = Examples(np.full((3, 4, 4, 1), 0.5, np.float32), np.zeros(3, np.int32), CONTEXT)
    data.validate(Splits(good, good, good))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        data.validate(Splits(good, good, good._replace(**{field: value})))


def test_a_context_without_one_in_training_is_refused():
    bare = Examples(np.full((3, 4, 4, 1), 0.5, np.float32))
    with pytest.raises(ValueError, match=r"^train\.context is None and validation\.context is not"):
        data.validate(Splits(bare, bare._replace(context=CONTEXT), bare))

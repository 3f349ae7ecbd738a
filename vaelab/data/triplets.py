"""Triplets of digits with related labels: sums modulo ten, and a digit rotated by another.

Triplets (I0, I1, I2) with labels l0, l1, l2. I0 and I1 are independent and uniform among the images;
I2 is uniform among the images with the required label. Rezende & Viola, 2018, section 4.1.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy.typing as npt
from jax.scipy.ndimage import map_coordinates

from vaelab.checks import UsageError
from vaelab.data import show
from vaelab.data.dataset import LabelMeaning
from vaelab.data.made import NUM_DIGITS, MadeOfDigits, assert_digits
from vaelab.data.show import Shown
from vaelab.data.treatments import to_8_bits
from vaelab.types import Array, Examples, PRNGKey

_CHUNK = 500  # images rotated at once; interpolation needs many times the memory of an image


@partial(jax.jit, static_argnames="num_examples")
def mnist_triplets(images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
    """MNIST-triplets: x = (I0, I1, I2) as channels, with l2 = (l0 + l1) mod 10, modelled jointly.

    images [N, height, width, 1], labels [N] with every digit -> x [num_examples, height, width, 3],
    labels 100 l0 + 10 l1 + l2, those of the three channels.

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> mnist_triplets(images, labels, jax.random.key(0), num_examples=4).x.shape
    (4, 8, 8, 3)
    """
    first, second, third = _sum_triplets(images, labels, key, num_examples)
    digits = 100 * labels[first] + 10 * labels[second] + labels[third]
    return Examples(_channels(images, first, second, third), digits)


@partial(jax.jit, static_argnames="num_examples")
def mnist_sum(images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
    """MNIST-sum: context (I0, I1), x = I2 with l2 = (l0 + l1) mod 10, labels l2.

    images [N, height, width, 1], labels [N] with every digit -> x of one channel, context of two.

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> mnist_sum(images, labels, jax.random.key(0), num_examples=4).context.shape
    (4, 8, 8, 2)
    """
    first, second, third = _sum_triplets(images, labels, key, num_examples)
    return Examples(images[third], labels[third], _channels(images, first, second))


@partial(jax.jit, static_argnames="num_examples")
def mnist_sum_hard(images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
    """MNIST-sum-hard: context I2, x = (I0, I1) with (l0 + l1) mod 10 = l2, labels 10 l0 + l1.

    images [N, height, width, 1], labels [N] with every digit -> x of two channels, context of one.

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> mnist_sum_hard(images, labels, jax.random.key(0), num_examples=4).x.shape
    (4, 8, 8, 2)
    """
    first, second, third = _sum_triplets(images, labels, key, num_examples)
    digits = 10 * labels[first] + labels[second]
    return Examples(_channels(images, first, second), digits, images[third])


@partial(jax.jit, static_argnames="num_examples")
def mnist_rotate(
    images: Array, labels: Array, key: PRNGKey, *, num_examples: int, step: float | Array = 36.0
) -> Examples:
    """MNIST-rotate: context (I0, I1), x = another image of the label l0, rotated by l1 steps, labels l0.

    images [N, height, width, 1], labels [N] with every digit at least twice; step in degrees,
    counter-clockwise -> x of one channel, context of two. The paper does not state the step; ours is
    a tenth of a full turn.

    >>> images, labels = jnp.ones((20, 8, 8, 1)), jnp.arange(20) % 10
    >>> mnist_rotate(images, labels, jax.random.key(0), num_examples=4).context.shape
    (4, 8, 8, 2)
    """
    pair_key, third_key = jax.random.split(key)
    first, second = _pairs(images, labels, pair_key, num_examples)
    third = _another(third_key, labels, first)
    x = rotate(images[third], labels[second] * step)
    return Examples(x, labels[first], _channels(images, first, second))


@jax.jit
def rotate(images: Array, degrees: Array) -> Array:
    """Images rotated about their centres, counter-clockwise, by bilinear interpolation, 0 outside.

    images [N, height, width, channels], degrees [N] -> [N, height, width, channels]. With (u, v) the
    column and the row counted from the centre, x'(u, v) = x(u cos θ − v sin θ, u sin θ + v cos θ).

    >>> quarter = rotate(jnp.arange(4.0).reshape(1, 2, 2, 1), jnp.array([90.0]))
    >>> quarter[0, :, :, 0].round().astype(int)
    Array([[1, 3],
           [0, 2]], dtype=int32)
    """
    chex.assert_rank([images, degrees], [4, 1])
    height, width = images.shape[1:3]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    v, u = jnp.mgrid[:height, :width] - centre

    def turn(image_and_angle: tuple[Array, Array]) -> Array:
        image, angle = image_and_angle
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        places = list(jnp.stack([u * sin + v * cos, u * cos - v * sin]) + centre)
        sample = partial(map_coordinates, coordinates=places, order=1, mode="constant")
        return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)

    return jax.lax.map(turn, (images, jnp.deg2rad(degrees)), batch_size=_CHUNK)


def _pairs(images: Array, labels: Array, key: PRNGKey, num_examples: int) -> Array:
    """Rows of I0 and I1, [2, num_examples]."""
    assert_digits(images, labels)
    return jax.random.randint(key, (2, num_examples), 0, len(labels))


def _sum_triplets(
    images: Array, labels: Array, key: PRNGKey, num_examples: int
) -> tuple[Array, Array, Array]:
    """Rows of I0, I1 and I2, each [num_examples], with l2 = (l0 + l1) mod 10."""
    pair_key, third_key = jax.random.split(key)
    first, second = _pairs(images, labels, pair_key, num_examples)
    wanted = (labels[first] + labels[second]) % NUM_DIGITS
    order, start, count = _by_label(labels)
    place = jax.random.randint(third_key, wanted.shape, 0, count[wanted])
    return first, second, order[start[wanted] + place]


def _another(key: PRNGKey, labels: Array, rows: Array) -> Array:
    """For each row a different row with the same label, uniformly. [M] -> [M]"""
    order, start, count = _by_label(labels)
    label = labels[rows]
    # On the circle of a label's images, 1 to count − 1 places further is always another image.
    place = jnp.argsort(order)[rows] - start[label]
    place += jax.random.randint(key, rows.shape, 1, count[label])
    return order[start[label] + place % count[label]]


def _by_label(labels: Array) -> tuple[Array, Array, Array]:
    """The rows sorted by label [N], and for each label its first place and its number of rows, [10]."""
    count = jnp.bincount(labels, length=NUM_DIGITS)
    return jnp.argsort(labels), jnp.cumsum(count) - count, count


def _channels(images: Array, *rows: Array) -> Array:
    return jnp.concatenate([images[row] for row in rows], axis=-1)


class MNISTTriplets(MadeOfDigits):
    """MNIST-triplets, 28x28 with three channels: see `mnist_triplets`. 50,000 / 10,000 / 10,000."""

    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        return mnist_triplets(images, labels, key, num_examples=num_examples)

    def show(self, x: npt.ArrayLike) -> Shown:
        """The three digits side by side, because the channels are not colours."""
        return show.side_by_side(x)


class MNISTSum(MadeOfDigits):
    """MNIST-sum, 28x28 given two digits: see `mnist_sum`. 50,000 / 10,000 / 10,000."""

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning

    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        return mnist_sum(images, labels, key, num_examples=num_examples)


class MNISTSumHard(MadeOfDigits):
    """MNIST-sum-hard, 28x28 with two channels, given one digit: see `mnist_sum_hard`. 50,000 / 10,000 / 10,000."""

    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        return mnist_sum_hard(images, labels, key, num_examples=num_examples)


@dataclasses.dataclass(frozen=True)
class MNISTRotate(MadeOfDigits):
    """MNIST-rotate, 28x28 given two digits: see `mnist_rotate`. 50,000 / 10,000 / 10,000."""

    step: float = 36.0
    """Angle in degrees for one unit of the second digit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.step):
            raise UsageError(f"step must be a finite angle in degrees, got {self.step}.")

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning

    @property
    def num_levels(self) -> int:
        return 256  # for every source, because a rotated pixel is a mean of pixels

    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        examples = mnist_rotate(images, labels, key, num_examples=num_examples, step=self.step)
        return examples._replace(x=to_8_bits(examples.x))

"""MNIST in colour: one digit in each colour channel, or one tinted digit."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from vaelab.data.dataset import LabelMeaning
from vaelab.data.made import MadeOfDigits, assert_digits
from vaelab.types import Array, Examples, PRNGKey


@partial(jax.jit, static_argnames="num_examples")
def color_mnist(images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
    """Color-MNIST: three independent digits in the colour channels, 1,000 modes.

    images [N, height, width, 1], labels [N] -> x [num_examples, height, width, 3], labels
    100 l0 + 10 l1 + l2, 0 to 999. Metz et al., 2017, Unrolled generative adversarial networks.

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> color_mnist(images, labels, jax.random.key(0), num_examples=4).x.shape
    (4, 8, 8, 3)
    """
    assert_digits(images, labels)
    rows = jax.random.randint(key, (num_examples, 3), 0, len(labels))
    x = jnp.concatenate([images[rows[:, channel]] for channel in range(3)], axis=-1)
    return Examples(x, labels[rows] @ jnp.array([100, 10, 1]))


@partial(jax.jit, static_argnames="num_examples")
def tinted_mnist(images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
    """A digit of one colour on black, with its own label. The hue is uniform and independent of the digit.

    x = image × rgb(hue) with a colour of full saturation and value. Its largest channel is the grey
    image. images [N, height, width, 1], labels [N] -> x of three channels.

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> tinted_mnist(images, labels, jax.random.key(0), num_examples=4).x.max(axis=-1).min()
    Array(1., dtype=float32)
    """
    assert_digits(images, labels)
    row_key, hue_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (num_examples,), 0, len(labels))
    hue = jax.random.uniform(hue_key, (num_examples, 1, 1, 1))
    # HSV to RGB at saturation and value 1: each channel is 1 within a sixth of its own hue, 0 beyond a third.
    distance = (hue - jnp.array([0.0, 1 / 3, 2 / 3]) + 0.5) % 1.0 - 0.5
    return Examples(images[rows] * jnp.clip(2.0 - 6.0 * jnp.abs(distance), 0.0, 1.0), labels[rows])


@dataclasses.dataclass(frozen=True)
class ColorMNIST(MadeOfDigits):
    """Color-MNIST, 28x28 with three channels: see `color_mnist`. 50,000 / 10,000 / 10,000."""

    tinted: bool = False
    """True makes one digit in a random colour instead: see `tinted_mnist`."""

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning if self.tinted else LabelMeaning()

    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        make = tinted_mnist if self.tinted else color_mnist
        return make(images, labels, key, num_examples=num_examples)

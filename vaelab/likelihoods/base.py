"""The contract of likelihoods p(x|z): a trunk, a linear head, and independent pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import chex
import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.types import Array, PRNGKey


class Decoder(nn.Module):
    """p(x|z) with independent pixels, and what a run asks of it. [..., D] -> [..., *shape].

    A trunk that says `output_ndims = 3` gives feature maps of the image's size, and the head is a 1×1
    convolution; otherwise it gives vectors, and the head is dense.
    """

    trunk: nn.Module
    """network before the head"""
    shape: tuple[int, ...]
    """shape of one example, (height, width, channels) for images"""

    data_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @property
    def num_levels(self) -> int | None:
        """How many equidistant values in [0, 1] a pixel can have; None where x is continuous."""
        return None

    def head(self, z: Array, num: int) -> Array:
        """`num` parameters for each pixel, [..., height · width · channels, num].

        Called inside a compact method.
        """
        features = self.trunk(z)
        if getattr(self.trunk, "output_ndims", 1) != 3:
            parameters = nn.Dense(math.prod(self.shape) * num)(features)
            return parameters.reshape(*parameters.shape[:-1], -1, num)
        if len(self.shape) != 3 or features.shape[-3:-1] != tuple(self.shape[:2]):
            raise ValueError(
                f"trunk gives maps of {features.shape[-3:-1]} and shape is {tuple(self.shape)}: make "
                "shape (height, width, channels) with the same height and width."
            )
        parameters = nn.Dense(self.shape[-1] * num)(features)
        return parameters.reshape(*parameters.shape[:-3], -1, num)


class Pixels(distrax.Distribution):
    """Independent pixels of an image, held in one axis. [..., height · width · channels] -> [...].

    Like distrax.Independent over images of the given shape; but the log-probability is a sum over
    one axis, which XLA vectorises on CPUs; a sum over three made `evaluation.log_likelihood` take
    twice as long.

    >>> from vaelab.likelihoods import Bernoulli
    >>> likelihood = Pixels(Bernoulli(logits=jnp.zeros((5, 64))), (8, 8, 1))
    >>> likelihood.batch_shape, likelihood.event_shape, likelihood.mean().shape
    ((5,), (8, 8, 1), (5, 8, 8, 1))
    """

    def __init__(self, pixels: distrax.Distribution, shape: tuple[int, ...]):
        super().__init__()
        self._pixels = pixels
        self._shape = tuple(shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._pixels.batch_shape[:-1]

    @property
    def location(self) -> Array | None:
        """The location parameter where pixels have one, what a decoder reconstructs; else None."""
        location = getattr(self._pixels, "loc", None)
        return None if location is None else self._image(location)

    def log_prob(self, value: Array) -> Array:
        chex.assert_equal(value.shape[value.ndim - len(self._shape) :], self._shape)
        batch_shape = value.shape[: value.ndim - len(self._shape)]
        return jnp.sum(self._pixels.log_prob(value.reshape(*batch_shape, -1)), axis=-1)

    def mean(self) -> Array:
        return self._image(self._pixels.mean())

    def mode(self) -> Array:
        return self._image(self._pixels.mode())

    def variance(self) -> Array:
        return self._image(self._pixels.variance())

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        return self._image(self._pixels.sample(seed=key, sample_shape=n))

    def _image(self, values: Array) -> Array:
        return values.reshape(*values.shape[:-1], *self._shape)


def check_levels(levels: int) -> None:
    """Raises one sentence where there are fewer than two levels."""
    if isinstance(levels, int) and levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}.")

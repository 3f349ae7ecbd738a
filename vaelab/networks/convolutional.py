"""Convolutional trunks with residual blocks: images to vectors, and vectors to feature maps.

Space to depth and depth to space change the resolution of images, instead of strides. 3×3 convolutions
run at most at half the image's resolution. There is no normalisation, because batch statistics would tie
the examples of a batch together. Residual branches start at zero instead. He et al., 2016; Shi et al.,
2016, for depth to space.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from vaelab.checks import UsageError, check_at_least_one, check_not_negative, check_sizes
from vaelab.types import Array


class ConvNet(nn.Module):
    """Halves the resolution once per entry of `channels`. [..., height, width, C] -> [..., features].

    The trunk of an encoder. As the trunk of a `ConditionalFlow` it gives the VAE+NVP of Rezende & Viola, 2018,
    with a convolutional conditioner; an `MLP` gives it with a dense one.

    >>> x = jnp.ones((5, 28, 28, 1))
    >>> ConvNet((8, 16)).init_with_output(jax.random.key(0), x)[0].shape  # 7 · 7 · 16
    (5, 784)
    """

    channels: tuple[int, ...] = (32, 64)
    """Number of features at half, a quarter, ... of the image's resolution."""
    num_blocks: int = 1
    """Number of residual blocks at each resolution."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution except the first."""

    def __post_init__(self) -> None:
        _check(self.channels, self.num_blocks)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        maps = pad(x, 2 ** len(self.channels))
        for level, width in enumerate(self.channels):
            maps = self.activation(maps) if level else maps
            maps = Convolution3x3(width)(space_to_depth(maps, 2))
            for _ in range(self.num_blocks):
                maps = maps + residual_branch(maps, self.activation)
        maps = self.activation(maps)
        return maps.reshape(*maps.shape[:-3], -1)


class DeconvNet(nn.Module):
    """Doubles the resolution once per entry of `channels`. [..., D] -> [..., *shape, num_features].

    The trunk of a decoder, whose head is then a 1×1 convolution.

    >>> z = jnp.ones((3, 5, 2))
    >>> DeconvNet((28, 28), (16, 8), num_features=4).init_with_output(jax.random.key(0), z)[0].shape
    (3, 5, 28, 28, 4)
    """

    shape: tuple[int, int] | None = None
    """Height and width of the images. Left out, they are those of the decoder."""
    channels: tuple[int, ...] = (64, 32)
    """Number of features at the lowest resolution, at twice that resolution, ... up to half the image's."""
    num_features: int = 16
    """Number of features at the image's resolution."""
    num_blocks: int = 1
    """Number of residual blocks at each resolution below the image's."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""

    output_ndims: ClassVar[int] = 3

    def __post_init__(self) -> None:
        _check(self.channels, self.num_blocks)
        check_at_least_one(num_features=self.num_features)
        if self.shape is not None:
            check_sizes(shape=self.shape)
            if len(self.shape) != 2:
                raise UsageError(f"shape must be (height, width), got {self.shape}.")
        super().__post_init__()

    @nn.nowrap
    def for_images(self, shape: tuple[int, ...]) -> DeconvNet:
        """The same network for examples of this shape, see `networks.MakesImages`."""
        if self.shape is not None or len(shape) != 3:
            return self
        return self.clone(parent=None, shape=tuple(shape[:2]))

    @nn.compact
    def __call__(self, z: Array) -> Array:
        if self.shape is None:
            raise UsageError(
                "shape of DeconvNet is unknown: give it, such as (28, 28), or make the network the "
                "trunk of a decoder for images."
            )
        size = 2 ** len(self.channels)
        height, width = (-(-side // size) for side in self.shape)
        maps = nn.Dense(height * width * self.channels[0])(z)
        maps = maps.reshape(*z.shape[:-1], height, width, self.channels[0])
        for wider in (*self.channels[1:], self.num_features):
            for _ in range(self.num_blocks):
                maps = maps + residual_branch(maps, self.activation)
            maps = depth_to_space(Convolution3x3(4 * wider)(self.activation(maps)), 2)
        return self.activation(maps[..., : self.shape[0], : self.shape[1], :])


class Identity(nn.Module):
    """Returns feature maps unchanged: the trunk of a decoder whose model makes the maps, such as ConvDRAW."""

    output_ndims: ClassVar[int] = 3

    def __call__(self, maps: Array) -> Array:
        return maps


class Convolution3x3(nn.Module):
    """3×3 convolution, zero-padded to keep the size. [..., height, width, C] -> [..., features].

    On CPUs it is a matrix product of nine shifted copies of the maps, which the backward pass makes again.
    XLA's own convolutions are slow there inside a scan and under vmap over kernels.
    """

    features: int
    """Number of channels of the output."""
    use_bias: bool = True
    """True adds a learned constant to each channel."""
    kernel_init: Callable = nn.initializers.lecun_normal()
    """Initialiser of the kernel."""

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        *batch, height, width, channels = maps.shape
        kernel = self.param("kernel", self.kernel_init, (3, 3, channels, self.features))
        maps, kernel = promote_dtype(maps, kernel)  # images may be integers
        # One batch axis, because XLA pads and slices faster along few axes.
        flat = maps.reshape(-1, height, width, channels)
        if jax.default_backend() == "cpu":
            flat = _convolve(flat, kernel)
        else:
            dimensions = ("NHWC", "HWIO", "NHWC")
            flat = jax.lax.conv_general_dilated(
                flat, kernel, (1, 1), "SAME", None, None, dimensions
            )
        if self.use_bias:
            flat = flat + self.param("bias", nn.initializers.zeros, (self.features,))
        return flat.reshape(*batch, height, width, self.features)


@partial(jax.checkpoint, prevent_cse=False)
def _convolve(maps: Array, kernel: Array) -> Array:
    """[N, height, width, C], [3, 3, C, features] -> [N, height, width, features]."""
    num, height, width, channels = maps.shape
    maps = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [maps[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(shifted, axis=-1).reshape(-1, 9 * channels)
    return (patches @ kernel.reshape(9 * channels, -1)).reshape(num, height, width, -1)


def space_to_depth(images: Array, size: int) -> Array:
    """A vector for each block. [..., height, width, C] -> [..., height/size, width/size, size²·C]."""
    *batch, height, width, channels = images.shape
    grid = images.reshape(*batch, height // size, size, width // size, size, channels)
    return grid.swapaxes(-4, -3).reshape(*batch, height // size, width // size, -1)


def depth_to_space(blocks: Array, size: int) -> Array:
    """The inverse of `space_to_depth`. [..., h, w, size²·C] -> [..., h·size, w·size, C]."""
    *batch, height, width, _ = blocks.shape
    grid = blocks.reshape(*batch, height, width, size, size, -1)
    return grid.swapaxes(-4, -3).reshape(*batch, height * size, width * size, -1)


def residual_branch(maps: Array, activation: Callable[[Array], Array]) -> Array:
    """Two convolutions; the second one starts at zero. Called inside a compact method."""
    width = maps.shape[-1]
    hidden = Convolution3x3(width)(activation(maps))
    return Convolution3x3(width, kernel_init=nn.initializers.zeros)(activation(hidden))


def pad(images: Array, size: int) -> Array:
    """Zeros below and to the right, up to a multiple of `size`."""
    if images.ndim < 3:
        raise UsageError(f"x must be images, [..., height, width, channels], got {images.shape}.")
    height, width = images.shape[-3:-1]
    missing = ((0, -height % size), (0, -width % size), (0, 0))
    return jnp.pad(images, ((0, 0),) * (images.ndim - 3) + missing)


def _check(channels: tuple[int, ...], num_blocks: int) -> None:
    check_sizes(channels=channels)
    if not channels:
        raise UsageError("channels must hold at least one number, got ().")
    check_not_negative(num_blocks=num_blocks)

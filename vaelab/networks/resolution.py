"""Convolutional steps of a ladder: feature maps to feature maps of half or twice the resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn

from vaelab.checks import check_at_least_one, check_not_negative
from vaelab.networks.convolutional import (
    Convolution3x3,
    depth_to_space,
    pad,
    residual_branch,
    space_to_depth,
)
from vaelab.types import Array


class Downsample(nn.Module):
    """Halves the resolution. [..., height, width, C] -> [..., ⌈height/2⌉, ⌈width/2⌉, channels].

    One resolution of a `ConvNet`, which keeps its maps.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.ones((5, 28, 28, 1))
    >>> Downsample(channels=8).init_with_output(jax.random.key(0), x)[0].shape
    (5, 14, 14, 8)
    """

    channels: int
    """Number of channels of the output."""
    num_blocks: int = 1
    """Number of residual blocks at the lower resolution."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity inside the residual blocks, and of the output."""

    output_ndims: ClassVar[int] = 3

    def __post_init__(self) -> None:
        _check(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        maps = Convolution3x3(self.channels)(space_to_depth(pad(x, 2), 2))
        for _ in range(self.num_blocks):
            maps = maps + residual_branch(maps, self.activation)
        return self.activation(maps)


class Upsample(nn.Module):
    """Doubles the resolution. [..., height, width, C] -> [..., 2·height, 2·width, channels].

    One resolution of a `DeconvNet`, from maps instead of a vector.

    >>> import jax, jax.numpy as jnp
    >>> maps = jnp.ones((3, 5, 7, 7, 8))
    >>> Upsample(channels=4).init_with_output(jax.random.key(0), maps)[0].shape
    (3, 5, 14, 14, 4)
    """

    channels: int
    """Number of channels of the output."""
    num_blocks: int = 1
    """Number of residual blocks at the lower resolution."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution, and of the output."""

    output_ndims: ClassVar[int] = 3

    def __post_init__(self) -> None:
        _check(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        for _ in range(self.num_blocks):
            maps = maps + residual_branch(maps, self.activation)
        wide = Convolution3x3(4 * self.channels)(self.activation(maps))
        return self.activation(depth_to_space(wide, 2))


def _check(network: Downsample | Upsample) -> None:
    check_at_least_one(channels=network.channels)
    check_not_negative(num_blocks=network.num_blocks)

"""Parts of deep hierarchies: residual blocks, a bottom-up encoder, and a top-down stochastic level.

The 3×3 convolutions run on few channels, between 1×1 convolutions (He et al., 2016). The
last convolution of a residual branch starts at the variance `scale`. With scale = 1/depth the sum of all
branches starts at the size of one branch (Child, 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vaelab.natural import Gaussian
from vaelab.networks.convolutional import Convolution3x3, space_to_depth
from vaelab.networks.units import GaussianUnits, smooth_clip
from vaelab.types import Array

LOG_VARIANCES = (-6.0, 6.0)  # range of every log σ²
# The evidence of a level starts vague, so that the first rates are small.
_LOG_VARIANCE_OF_EVIDENCE = 2.0


class Residual(nn.Module):
    """A residual block: a 3×3 convolution between two 1×1 convolutions. [..., h, w, C] -> the same shape."""

    inner: int
    """Number of channels of the 3×3 convolution."""
    scale: float
    """Variance of the kernel of the last convolution at the start, times its number of inputs."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        branch = self.activation(nn.Dense(self.inner)(self.activation(maps)))
        branch = self.activation(Convolution3x3(self.inner)(branch))
        return maps + nn.Dense(maps.shape[-1], kernel_init=scaled(self.scale))(branch)


class BottomUp(nn.Module):
    """Residual encoder with maps at several resolutions. [..., height, width, C] -> a tuple, top first.

    >>> import jax
    >>> encoder = BottomUp(downsample=(4, 2), hidden=(6, 5), inner=(3, 3), num_blocks=1)
    >>> maps, _ = encoder.init_with_output(jax.random.key(0), jnp.zeros((2, 8, 8, 1)))
    >>> [level.shape for level in maps]
    [(2, 2, 2, 6), (2, 4, 4, 5)]
    """

    downsample: tuple[int, ...]
    """Number of pixels along each axis for one position of the maps, top first."""
    hidden: tuple[int, ...]
    """Number of channels of the maps, top first."""
    inner: tuple[int, ...]
    """Number of channels of the 3×3 convolutions, top first."""
    num_blocks: int = 1
    """Number of residual blocks at each resolution."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, ...]:
        scale = 1 / (self.num_blocks * len(self.hidden)) if self.num_blocks else 1.0
        maps, size, features = x, 1, list[Array]()
        stages = zip(self.downsample, self.hidden, self.inner, strict=True)
        for downsample, hidden, inner in reversed(list(stages)):
            maps = nn.Dense(hidden)(space_to_depth(maps, downsample // size))
            for _ in range(self.num_blocks):
                maps = Residual(inner, scale, self.activation)(maps)
            features.append(maps)
            size = downsample
        return tuple(reversed(features))


class Evidence(nn.Module):
    """What x says about z of one level, a Gaussian factor of maps [..., h, w, latent_channels].

    The posterior is its product with the prior, a sum of natural parameters.
    """

    inner: int
    """Number of hidden channels."""
    latent_channels: int
    """Number of channels of z."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""

    @nn.compact
    def __call__(self, state: Array, features: Array) -> Gaussian:
        """state [..., B, h, w, C] of the levels above, features [B, h, w, C'] of x."""
        of_state = nn.Dense(self.inner)(self.activation(state))
        of_x = nn.Dense(self.inner, use_bias=False)(self.activation(features))
        head = nn.Dense(2 * self.latent_channels)
        mean, log_variance = jnp.split(head(self.activation(of_state + of_x)), 2, axis=-1)
        return Gaussian(mean, smooth_clip(log_variance + _LOG_VARIANCE_OF_EVIDENCE, *LOG_VARIANCES))


class Level(nn.Module):
    """One stochastic level on a residual stream, the state [..., h, w, C].

    `prior` is a 1×1 convolution of the state (after Vahdat & Kautz, 2020). `draw` adds z to the state by a
    1×1 convolution and applies a residual block, whose 3×3 convolution joins neighbours.
    """

    evidence: Evidence
    """Evidence of the same level. Its parameters stand beside those of the generative model."""
    inner: int
    """Number of channels of the 3×3 convolution."""
    channels: int
    """Number of channels of the state."""
    latent_channels: int
    """Number of channels of z."""
    scale: float
    """Variance of the last kernels at the start, times their number of inputs."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity before each convolution."""

    def setup(self) -> None:
        small = scaled(self.scale)
        self.head = nn.Dense(2 * self.latent_channels, kernel_init=small)
        self.write = nn.Dense(self.channels, use_bias=False, kernel_init=small)
        self.block = Residual(self.inner, self.scale, self.activation)

    def prior(self, state: Array) -> Gaussian:
        """p(z|state)."""
        units = GaussianUnits(self.latent_channels, LOG_VARIANCES)
        return units.family(self.head(self.activation(state)))

    def draw(self, state: Array, z: Array) -> Array:
        """The state of the next level, from z [..., h, w, latent_channels]."""
        return self.block(state + self.write(z))


def scaled(scale: float) -> Callable:
    """Initialiser of kernels of the variance scale / number of inputs."""
    return nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")

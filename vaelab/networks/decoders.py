"""Likelihoods p(x|z) of images: a trunk, a linear head, and independent pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.distributions import Bernoulli, GreyLevels, Pixels
from vaelab.types import Array


class Decoder(nn.Module):
    """p(x|z) with independent pixels, and what a run asks of it. [..., D] -> [..., *shape]."""

    trunk: nn.Module
    """network before the head"""
    shape: tuple[int, ...]
    """shape of one example, (height, width, channels) for images"""

    data_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @property
    def num_levels(self) -> int | None:
        """How many equidistant values in [0, 1] a pixel can have; None where x is continuous."""
        return None


class BernoulliDecoder(Decoder):
    """Factorised Bernoulli likelihood. [..., D] -> distribution over [..., *shape]."""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def num_levels(self) -> int:
        return 2

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        logits = nn.Dense(math.prod(self.shape))(self.trunk(z))
        return Pixels(Bernoulli(logits=logits), self.shape)


class CategoricalDecoder(Decoder):
    """A categorical distribution over grey levels per pixel. [..., D] -> [..., *shape]."""

    levels: int = 256
    """number of equidistant grey levels from 0 to 1; 17 for scikit-learn's digits"""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if isinstance(self.levels, int) and self.levels < 2:
            raise ValueError(f"levels must be at least 2, got {self.levels}.")
        super().__post_init__()

    @property
    def num_levels(self) -> int:
        return self.levels

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        logits = nn.Dense(math.prod(self.shape) * self.levels)(self.trunk(z))
        logits = logits.reshape(*logits.shape[:-1], -1, self.levels)
        return Pixels(GreyLevels(logits), self.shape)


class GaussianDecoder(Decoder):
    """Gaussian likelihood N(x; g(z), σ²) with one fixed σ. [..., D] -> [..., *shape]."""

    scale: float = 0.1
    """standard deviation σ, in data units"""

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        mean = nn.Dense(math.prod(self.shape))(self.trunk(z))
        return Pixels(distrax.Normal(mean, jnp.full_like(mean, self.scale)), self.shape)

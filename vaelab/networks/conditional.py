"""Conditional distributions: a trunk, a linear head, and the distribution it parameterises."""

from __future__ import annotations

import math
from typing import ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.distributions import Bernoulli, GreyLevels, Pixels
from vaelab.types import Array


class ConditionalGaussian(nn.Module):
    """Diagonal Gaussian N(μ(h), σ²(h)) over vectors, h the trunk's output. [..., event] -> [..., dim].

    Both the encoder q(z|x) and the layers of a hierarchical prior. A clipped log-variance has no
    gradient: under REWO, whose large first λ drives the posterior's variances far down, clipping at
    −6 held the rate of an MNIST model up for over a thousand steps.

    >>> import jax
    >>> from vaelab.networks import MLP
    >>> encoder = ConditionalGaussian(MLP((16,), event_ndims=3), dim=2)
    >>> posterior, _ = encoder.init_with_output(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> posterior.batch_shape, posterior.event_shape
    ((5,), (2,))
    """

    trunk: nn.Module
    """network before the heads for mean and log-variance"""
    dim: int
    """number of coordinates"""
    log_variance_range: tuple[float, float] | None = None
    """log σ² is clipped to this range, (-6, 2) in the VampPrior line; None leaves it free"""

    @nn.compact
    def __call__(self, x: Array) -> distrax.Independent:
        mean, log_variance = jnp.split(nn.Dense(2 * self.dim)(self.trunk(x)), 2, axis=-1)
        if self.log_variance_range is not None:
            log_variance = jnp.clip(log_variance, *self.log_variance_range)
        return distrax.Independent(distrax.Normal(mean, jnp.exp(0.5 * log_variance)), 1)


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

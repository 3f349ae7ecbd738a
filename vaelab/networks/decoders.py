"""Likelihoods p(x|z) of images: a trunk, a linear head, and independent pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.distributions import Bernoulli, GreyLevels, Pixels
from vaelab.networks.separate import separate_modules
from vaelab.quantised import DiscretisedLogistic, QuantisedNormal
from vaelab.types import Array


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

    def __post_init__(self) -> None:
        separate_modules(self)
        super().__post_init__()

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


class BernoulliDecoder(Decoder):
    """Factorised Bernoulli likelihood. [..., D] -> distribution over [..., *shape]."""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def num_levels(self) -> int:
        return 2

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        logits = self.head(z, 1)[..., 0]
        return Pixels(Bernoulli(logits=logits), self.shape)


class CategoricalDecoder(Decoder):
    """A categorical distribution over grey levels per pixel. [..., D] -> [..., *shape]."""

    levels: int = 256
    """number of equidistant grey levels from 0 to 1; 17 for scikit-learn's digits"""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_levels(self.levels)
        super().__post_init__()

    @property
    def num_levels(self) -> int:
        return self.levels

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        return Pixels(GreyLevels(self.head(z, self.levels)), self.shape)


class ScaledDecoder(Decoder):
    """A location g(z) for each pixel, and a scale s, learned unless that is turned off.

    The location is the head's output as it is, and may lie outside the data's range.

    s = floor + exp(η), so that no gradient is cut off and s never vanishes: under the ELBO a scale
    learned with the model goes to zero as far as the model's capacity lets it (Rezende & Viola, 2018,
    proposition 3.1), and the likelihood with it to infinity. A `floor` that is reached says that the
    likelihood means nothing.
    """

    scale: float = 0.1
    """at the start, or for good where it is not learned; in data units"""
    learned: bool = True
    """whether the scale is a parameter"""
    per_pixel: bool = False
    """a scale for each pixel of each z, from the trunk, instead of one for all"""
    floor: float = 1e-3
    """a learned scale is always above this"""

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        numbers = isinstance(self.scale, int | float) and isinstance(self.floor, int | float)
        if self.learned and numbers and not 0 < self.floor < self.scale:
            raise ValueError(
                f"floor must lie between 0 and scale = {self.scale}, got {self.floor}."
            )
        if self.per_pixel and not self.learned:
            raise ValueError("per_pixel = True needs learned = True: a fixed scale is one for all.")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        parameters = self.head(z, 2 if self.per_pixel else 1)
        location = parameters[..., 0]
        if not self.learned:
            return Pixels(self.pixels(location, jnp.full_like(location, self.scale)), self.shape)
        start = jnp.log(self.scale - self.floor)
        if self.per_pixel:
            log_scale = start + parameters[..., 1]
        else:
            log_scale = self.param("log_scale", nn.initializers.constant(start), ())
        scale = jnp.broadcast_to(self.floor + jnp.exp(log_scale), location.shape)
        return Pixels(self.pixels(location, scale), self.shape)

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        """The distribution of pixels, [..., P]; what sets one such decoder apart from another."""
        raise NotImplementedError

    def global_scale(self, params) -> Array | None:
        """The learned scale among this decoder's parameters; None where there is no single one."""
        if self.per_pixel or not self.learned:
            return None
        return self.floor + jnp.exp(params["log_scale"])


class GaussianDecoder(ScaledDecoder):
    """Gaussian likelihood N(x; g(z), σ²), σ fixed unless `learned`. [..., D] -> [..., *shape]."""

    learned: bool = False
    """whether σ is a parameter"""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Normal(location, scale)


class LaplaceDecoder(ScaledDecoder):
    """Laplace likelihood exp(−|x − g(z)|/b)/2b. [..., D] -> distribution over [..., *shape]."""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return distrax.Laplace(location, scale)


class QuantisedDecoder(ScaledDecoder):
    """A likelihood over V equidistant levels from 0 to 1, by binning a continuous one."""

    levels: int = 256
    """number of levels V; 256 for 8-bit images"""

    data_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_levels(self.levels)
        super().__post_init__()

    @property
    def num_levels(self) -> int:
        return self.levels


class QuantisedNormalDecoder(QuantisedDecoder):
    """Binned Gaussian likelihood, `quantised.QuantisedNormal`. [..., D] -> [..., *shape]."""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return QuantisedNormal(location, scale, self.levels)


class DiscretisedLogisticDecoder(QuantisedDecoder):
    """Binned logistic likelihood, `quantised.DiscretisedLogistic`. [..., D] -> [..., *shape]."""

    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        return DiscretisedLogistic(location, scale, self.levels)


def _check_scale(scale: float) -> None:
    if isinstance(scale, int | float) and not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}.")


def _check_levels(levels: int) -> None:
    if isinstance(levels, int) and levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}.")

"""Common parts of likelihoods with a location and a scale."""

from __future__ import annotations

import abc
from numbers import Real

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import UsageError, check_positive
from vaelab.likelihoods.base import Decoder, Pixels
from vaelab.types import Array, PyTree


class ScaledDecoder(Decoder):
    """A location g(z) for each pixel, and a learned or fixed scale s.

    The location is the head's output, and may lie outside the range of the data.

    A learned scale is s = floor + exp(η), which has a gradient everywhere and never vanishes. Under the ELBO
    a learned scale shrinks towards zero as far as the model's capacity allows (Rezende & Viola, 2018,
    proposition 3.1), and the likelihood grows without bound. If s reaches the `floor`, the likelihood is
    meaningless.
    """

    scale: float = 0.1
    """Scale in data units: the start of a learned scale, or the fixed scale."""
    learned: bool = True
    """True makes the scale a learned parameter."""
    per_pixel: bool = False
    """True computes a scale for each pixel of each z from the trunk. False has one scale for all."""
    floor: float = 1e-3
    """Lower bound on a learned scale."""

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)
        numbers = isinstance(self.scale, Real) and isinstance(self.floor, Real)
        if self.learned and numbers and not 0 < self.floor < self.scale:
            raise UsageError(
                f"floor must lie between 0 and scale = {self.scale}, got {self.floor}."
            )
        if self.per_pixel and not self.learned:
            raise UsageError("per_pixel = True needs learned = True: a fixed scale is one number.")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Pixels:
        parameters = self.head(z, 2 if self.per_pixel else 1)
        location = parameters[..., 0]
        if self.learned:
            start = jnp.log(self.scale - self.floor)
            if self.per_pixel:
                log_scale = start + parameters[..., 1]
            else:
                log_scale = self.param("log_scale", nn.initializers.constant(start), ())
            scale = jnp.broadcast_to(self.floor + jnp.exp(log_scale), location.shape)
        else:
            scale = jnp.full_like(location, self.scale)
        return Pixels(self.pixels(location, scale), self.event_shape, location)

    @abc.abstractmethod
    def pixels(self, location: Array, scale: Array) -> distrax.Distribution:
        """The distribution of each coordinate, [..., P], from its location and scale."""

    def global_scale(self, params: PyTree) -> Array | None:
        if self.per_pixel or not self.learned:
            return None
        return self.floor + jnp.exp(params["log_scale"])

"""The units of a level in a hierarchy: what its latent coordinates are, and what their parameters mean."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab import natural
from vaelab.checks import UsageError, check_at_least_one
from vaelab.types import Array


@dataclasses.dataclass(frozen=True)
class Units(abc.ABC):
    """`dim` independent latent coordinates of an exponential family, see `vaelab.natural`."""

    dim: int
    """Number of latent coordinates."""

    discrete: ClassVar[bool] = False
    """True if the coordinates are bits. Samples are then not reparameterised."""

    def __post_init__(self) -> None:
        check_at_least_one(dim=self.dim)

    @property
    @abc.abstractmethod
    def num_parameters(self) -> int:
        """Number of outputs of a network that parameterises the units."""

    @abc.abstractmethod
    def family(self, parameters: Array) -> natural.ExponentialFamily:
        """The density of each coordinate. [..., num_parameters] -> parameters of shape [..., dim]."""

    @abc.abstractmethod
    def distribution(self, family: natural.ExponentialFamily) -> distrax.Independent:
        """The same density over vectors, as priors and evaluations read it. Batch shape [...]."""


@dataclasses.dataclass(frozen=True)
class GaussianUnits(Units):
    """Coordinates N(μ, σ²). The parameters are μ and log σ².

    The scale of a level below the top is not identified: p(z_i|z_i−1) and q(z_i|x, z_i−1) may shrink
    together, and all rates stay. Without a range, log σ² falls for thousands of steps until it overflows.

    >>> GaussianUnits(2).family(jnp.array([0.0, 1.0, 0.0, 0.0])).mean
    Array([0., 1.], dtype=float32)
    """

    log_variance_range: tuple[float, float] | None = (-12.0, 12.0)
    """Range in which log σ² stays smoothly, see `smooth_clip`. None leaves it free: see above."""

    @property
    def num_parameters(self) -> int:
        return 2 * self.dim

    def family(self, parameters: Array) -> natural.Gaussian:
        mean, log_variance = jnp.split(parameters, 2, axis=-1)
        if self.log_variance_range is not None:
            log_variance = smooth_clip(log_variance, *self.log_variance_range)
        return natural.Gaussian(mean, log_variance)

    def distribution(self, family: natural.Gaussian) -> distrax.Independent:  # type: ignore[override]
        scale = jnp.exp(0.5 * family.log_variance)
        return distrax.Independent(distrax.Normal(family.mean, scale), 1)


@dataclasses.dataclass(frozen=True)
class BernoulliUnits(Units):
    """Bits. The parameters are logits.

    A sample carries the gradient of the mean (straight through), which is biased. The objective
    `DisARM` has an unbiased gradient.

    >>> BernoulliUnits(2).family(jnp.zeros(2)).mean
    Array([0.5, 0.5], dtype=float32)
    """

    discrete: ClassVar[bool] = True

    @property
    def num_parameters(self) -> int:
        return self.dim

    def family(self, parameters: Array) -> natural.Bernoulli:
        return natural.Bernoulli(parameters)

    def distribution(self, family: natural.Bernoulli) -> distrax.Independent:  # type: ignore[override]
        return distrax.Independent(distrax.Bernoulli(logits=family.logits), 1)


def smooth_clip(x: Array, low: float, high: float) -> Array:
    """x inside (low, high), with a gradient everywhere: m + h tanh((x − m) / h), m ± h the ends.

    >>> smooth_clip(jnp.array([0.5, 20.0]), -6.0, 6.0)
    Array([0.498..., 5.984...], dtype=float32)
    """
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return middle + half * jnp.tanh((x - middle) / half)


def as_networks(name: str, networks: Any) -> tuple[nn.Module, ...]:
    """A tuple of networks, one for each level.

    Raises:
      UsageError: `networks` is no sequence of Flax modules.
    """
    if not isinstance(networks, Sequence) or not all(isinstance(n, nn.Module) for n in networks):
        raise UsageError(
            f"{name} must be a tuple of Flax modules, such as (networks.MLP((64,)),), got {networks!r}."
        )
    return tuple(networks)

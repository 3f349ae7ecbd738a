"""The contract of likelihoods p(x|z), and their common parts: a linear head, independent pixels."""

from __future__ import annotations

import abc
import math
from numbers import Real
from typing import ClassVar

import chex
import distrax
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, is_number
from vaelab.separate import separate_modules
from vaelab.types import Array, PRNGKey, PyTree


class Likelihood(distrax.Distribution):
    """A distribution over events x, as a decoder returns it."""

    @property
    def location(self) -> Array | None:
        """The location parameter, which a decoder reconstructs, [..., *shape]; None without one."""
        return None


class Decoder(nn.Module, abc.ABC):
    """p(x|z) and its properties. [..., D] -> `Likelihood` over [..., *shape].

    The trunk may be any module. If it has the attribute `output_ndims = 3`, it gives feature maps of
    the image's size, and the head is a 1×1 convolution. Otherwise it gives vectors, and the head is
    dense.
    """

    trunk: nn.Module
    """network before the head"""
    shape: tuple[int, ...]
    """shape of one example: (height, width, channels) for images, (T, D) for sequences, (D,) for vectors"""

    data_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """lowest and highest value that x can have"""

    def __post_init__(self) -> None:
        if is_number(self.shape):
            raise UsageError(f"shape must be a tuple, such as ({self.shape},), got {self.shape}.")
        separate_modules(self)
        super().__post_init__()

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The likelihood's name in reports."""

    @property
    def num_levels(self) -> int | None:
        """Number of equidistant values in [0, 1] that x can have; None if it has other values."""
        return None

    def check_values(self, x: np.ndarray) -> None:
        """Raises one sentence where data in the range have values of no probability, such as between levels."""
        if self.num_levels is None:
            return
        steps = x * (self.num_levels - 1)
        if np.abs(steps - np.round(steps)).max() > 1e-3:
            raise UsageError(
                f"model.decoder has a discrete likelihood over {self.num_levels} levels, and the data "
                "have other values: binarise them, or choose another decoder."
            )

    @abc.abstractmethod
    def __call__(self, z: Array) -> Likelihood:
        """p(x|z), of batch shape [...]."""

    def global_scale(self, params: PyTree) -> Array | None:
        """The learned scale among this decoder's parameters; None where there is no single one."""
        del params
        return None

    def squared_error_weight(self, params: PyTree) -> float | None:
        """1/(2σ²) if −log p(x|z) is ‖x − g(z)‖²/(2σ²) + const. with one σ for all x; else None."""
        del params
        return None

    @property
    def reads_maps(self) -> bool:
        """Whether the trunk gives feature maps of the image's size."""
        return getattr(self.trunk, "output_ndims", 1) == 3

    def head(self, z: Array, num: int) -> Array:
        """`num` parameters for each coordinate of x, [..., prod(shape), num].

        Called inside a compact method.
        """
        features = self.trunk(z)
        if not self.reads_maps:
            parameters = nn.Dense(math.prod(self.shape) * num)(features)
            return parameters.reshape(*parameters.shape[:-1], -1, num)
        if len(self.shape) != 3 or features.shape[-3:-1] != tuple(self.shape[:2]):
            raise UsageError(
                f"trunk gives maps of {features.shape[-3:-1]} and shape is {tuple(self.shape)}: make "
                "shape (height, width, channels) with the same height and width."
            )
        parameters = nn.Dense(self.shape[-1] * num)(features)
        return parameters.reshape(*parameters.shape[:-3], -1, num)


class Pixels(Likelihood):
    """Independent coordinates of an event, held in one axis. [..., prod(shape)] -> [...].

    Like distrax.Independent over events of the given shape; but the log-probability is a sum over
    one axis, which XLA vectorises on CPUs; a sum over three made `evaluation.log_likelihood` take
    twice as long.

    >>> from vaelab.likelihoods import Bernoulli
    >>> likelihood = Pixels(Bernoulli(logits=jnp.zeros((5, 64))), (8, 8, 1))
    >>> likelihood.batch_shape, likelihood.event_shape, likelihood.mean().shape
    ((5,), (8, 8, 1), (5, 8, 8, 1))
    """

    def __init__(
        self,
        pixels: distrax.Distribution,
        shape: tuple[int, ...],
        location: Array | None = None,
    ):
        super().__init__()
        self._pixels = pixels
        self._shape = tuple(shape)
        self._location = location

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._pixels.batch_shape[:-1]

    @property
    def location(self) -> Array | None:
        return None if self._location is None else self._event(self._location)

    def log_prob(self, value: Array) -> Array:
        chex.assert_equal(value.shape[value.ndim - len(self._shape) :], self._shape)
        batch_shape = value.shape[: value.ndim - len(self._shape)]
        return jnp.sum(self._pixels.log_prob(value.reshape(*batch_shape, -1)), axis=-1)

    def mean(self) -> Array:
        return self._event(self._pixels.mean())

    def mode(self) -> Array:
        return self._event(self._pixels.mode())

    def variance(self) -> Array:
        return self._event(self._pixels.variance())

    def _sample_n(self, key: PRNGKey, n: int) -> Array:
        return self._event(self._pixels.sample(seed=key, sample_shape=n))

    def _event(self, values: Array) -> Array:
        return values.reshape(*values.shape[:-1], *self._shape)


def check_levels(levels: int) -> None:
    """Raises one sentence where there are fewer than two levels."""
    if isinstance(levels, Real) and (levels < 2 or levels % 1):
        raise UsageError(f"levels must be a whole number of at least 2, got {levels}.")

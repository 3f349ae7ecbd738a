"""The contract of likelihoods p(x|z), and their common parts: a linear head and independent pixels."""

from __future__ import annotations

import abc
import math
from numbers import Real
from typing import ClassVar

import distrax
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_sizes
from vaelab.events import for_images, gives_maps
from vaelab.separate import check_modules, separate_modules
from vaelab.types import Array, PRNGKey, PyTree


class Likelihood(distrax.Distribution):
    """A distribution over events x, as a decoder returns it."""

    @property
    def location(self) -> Array | None:
        """The location parameter, [..., *shape], which is the reconstruction; None without one."""
        return None


class Decoder(nn.Module, abc.ABC):
    """p(x|z) and its properties. [..., D] -> `Likelihood` over [..., *shape].

    The trunk may be any module. A trunk with the attribute `output_ndims = 3` gives feature maps of the
    image's size, and the head is a 1×1 convolution. Any other trunk gives vectors, and the head is dense.
    """

    trunk: nn.Module
    """Network before the head."""
    shape: tuple[int, ...] | None = None
    """Shape of one example: (height, width, channels) for images, (T, D) for sequences, (D,) for vectors. Left out, it is derived from the data by `Model.for_data`."""

    data_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Lowest and highest value that x can have."""

    def __post_init__(self) -> None:
        check_modules(self)
        if self.shape is not None:
            check_sizes(shape=self.shape)
            trunk = for_images(self.trunk, self.shape)
            if trunk is not self.trunk:
                self.trunk = trunk
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> Decoder:
        """The same decoder for examples of this shape; itself where `shape` was given."""
        return self if self.shape is not None else self.clone(parent=None, shape=tuple(shape))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """`shape`, as a tuple.

        Raises:
          UsageError: the shape was left out, and no data have filled it in.
        """
        if self.shape is None:
            raise UsageError(
                "decoder.shape is unknown: derive it from the data by model = model.for_data(x), or "
                "give the shape of one example, such as (28, 28, 1)."
            )
        return tuple(self.shape)

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The likelihood's name in reports."""

    @property
    def num_levels(self) -> int | None:
        """Number of equidistant values in [0, 1] that x can have; None if it has other values."""
        return None

    @property
    def discrete(self) -> bool:
        """True if p(x|z) is a probability of discrete values. False if it is a density."""
        return self.num_levels is not None

    def bits_per_dim(self, log_prob: float, *, bin_width: float | None = None) -> float | None:
        """Bits per data dimension, −log p(x) / (D log 2), from a log-probability or a bound in nats.

        A density has no bits. But if the data are levels at a distance of `bin_width`, dequantised by
        uniform noise of that width, E log p(x) + D log bin_width is a bound on the log-probability of the levels.
        Theis et al., 2016, section 3.1.

        Args:
          log_prob: log p(x) of an example, or its mean, in nats.
          bin_width: width of the noise that dequantised the data; for densities only.

        Returns:
          The number of bits; None for a density without `bin_width`.

        >>> import math
        >>> from vaelab.likelihoods import GaussianDecoder
        >>> from vaelab.networks import MLP
        >>> GaussianDecoder(MLP(), (784,)).bits_per_dim(0.0, bin_width=1 / 256)  # the density 1 on [0, 1]
        8.0
        """
        num_dims = math.prod(self.event_shape)
        if not self.discrete:
            if bin_width is None:
                return None
            log_prob += num_dims * math.log(bin_width)
        return -float(log_prob) / (num_dims * math.log(2))

    def check_values(self, x: np.ndarray) -> None:
        """Raises one sentence if data in the range have values without probability, such as values between levels."""
        if self.num_levels is None:
            return
        steps = x * (self.num_levels - 1)
        if np.abs(steps - np.round(steps)).max() > 1e-3:
            raise UsageError(
                f"model.decoder has a discrete likelihood over {self.num_levels} levels, and the data "
                "have other values: round them to these levels (two levels: x > 0.5 as float32), or choose another "
                "decoder."
            )

    @abc.abstractmethod
    def __call__(self, z: Array) -> Likelihood:
        """p(x|z), of batch shape [...]."""

    def global_scale(self, params: PyTree) -> Array | None:
        """The learned scale, from this decoder's parameters; None if there is no single learned scale."""
        del params
        return None

    def squared_error_weight(self, params: PyTree) -> float | None:
        """1/(2σ²) if −log p(x|z) = ‖x − g(z)‖²/(2σ²) + const. with one σ for all x; else None."""
        del params
        return None

    @property
    def reads_maps(self) -> bool:
        """True if the trunk gives feature maps of the image's size."""
        return gives_maps(self.trunk)

    def head(self, z: Array, num: int) -> Array:
        """`num` parameters for each coordinate of x, [..., prod(shape), num].

        Called inside a compact method.
        """
        shape = self.event_shape
        features = self.trunk(z)
        if not self.reads_maps:
            parameters = nn.Dense(math.prod(shape) * num)(features)
            return parameters.reshape(*parameters.shape[:-1], -1, num)
        if len(shape) != 3 or features.shape[-3:-1] != shape[:2]:
            raise UsageError(
                f"trunk gives maps of {features.shape[-3:-1]} and shape is {shape}: make shape "
                "(height, width, channels) with the same height and width."
            )
        parameters = nn.Dense(shape[-1] * num)(features)
        return parameters.reshape(*parameters.shape[:-3], -1, num)


class Pixels(Likelihood):
    """Independent coordinates of an event, held in one axis. [..., prod(shape)] -> [...].

    Like distrax.Independent over events of the given shape. The log-probability is a sum over one axis,
    which XLA vectorises on CPUs, and not over three.

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
        if value.shape[value.ndim - len(self._shape) :] != self._shape:
            raise UsageError(
                f"x has the shape {value.shape}, and the likelihood is one of events of shape "
                f"{self._shape}: give x [..., *{self._shape}]."
            )
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
    """Raises one sentence if there are fewer than two levels."""
    if isinstance(levels, Real) and (levels < 2 or levels % 1):
        raise UsageError(f"levels must be a whole number of at least 2, got {levels}.")

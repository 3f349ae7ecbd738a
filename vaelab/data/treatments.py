"""Data sets with treated values: noise on 8-bit images, or fewer grey levels.

Noise or few levels bound a likelihood that would grow without limit. A constraint on the
reconstruction makes both unnecessary, so they are baselines. Rezende & Viola, 2018, section 1.
"""

from __future__ import annotations

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError, check_values
from vaelab.data.dataset import DataSet
from vaelab.data.given import as_data_set
from vaelab.data.show import Shown
from vaelab.types import Array, PRNGKey, Splits

_SEED = 0  # of the noise on validation and test


@dataclasses.dataclass(frozen=True)
class Treatment(DataSet):
    """Another data set with treated values. Everything that the treatment keeps is the source's."""

    source: DataSet
    """Data set whose values are treated, or anything that `as_data_set` takes, such as an array."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", as_data_set(self.source))

    @property
    def num_levels(self) -> int | None:
        return self.source.num_levels

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        return self.source.preprocess(key, x)

    @property
    def preprocessing(self) -> str:
        return self.source.preprocessing

    def show(self, x: npt.ArrayLike) -> Shown | None:
        return self.source.show(x)

    @property
    @abc.abstractmethod
    def treatment(self) -> str:
        """For reports, the effect on validation and test data: "with 32 levels"."""

    def describe(self) -> str:
        return f"{self.source.describe()}, {self.treatment}"

    @property
    def title(self) -> str:
        return f"{type(self).__name__}({self.source.title})"

    def check_resizable(self) -> None:
        name = type(self).__name__
        raise UsageError(
            f"source must not be {name}, which would treat images of the old size: write "
            f"{name}(Resized(...))."
        )


@dataclasses.dataclass(frozen=True)
class Dequantised(Treatment):
    """Another data set's 8-bit images with uniform noise: x' = (255 x + u) / 256, u ~ U[0, 1).

    The noise is drawn afresh for each training batch, and once for validation and test. The context
    does not change. With y = 256 x' and p a density of y, E_u log p(y) is a lower bound on the log
    probability of the pixel's level. Theis et al., 2016, section 3.1.
    """

    @property
    def num_levels(self) -> None:
        return None

    @property
    def treatment(self) -> str:
        return f"with uniform noise drawn once with JAX key {_SEED}"

    @property
    def preprocessing(self) -> str:
        before = self.source.preprocessing
        return f"{before} and dequantised" if before else "dequantised"

    def load(self, data_dir: str | None = None) -> Splits:
        splits = _in_levels(self.source.load(data_dir), self)
        keys = jax.random.split(jax.random.key(_SEED))
        validation, test = (
            split._replace(x=jax.device_get(dequantise(key, jnp.asarray(split.x))))
            for key, split in zip(keys, (splits.validation, splits.test), strict=True)
        )
        return splits._replace(validation=validation, test=test)

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        source_key, noise_key = jax.random.split(key)
        return dequantise(noise_key, self.source.preprocess(source_key, x))


def dequantise(key: PRNGKey, x: Array) -> Array:
    """x' = (255 x + u) / 256 with u ~ U[0, 1): uniform within the pixel's 1/256. Any shape.

    Raises:
      UsageError: values outside [0, 1], such as bytes; traced arrays pass.

    >>> dequantise(jax.random.key(0), jnp.ones((1, 2))) >= 255 / 256
    Array([[ True,  True]], dtype=bool)
    """
    check_values("x", x, 0.0, 1.0)
    return _dequantise(key, x)


@jax.jit
def _dequantise(key: PRNGKey, x: Array) -> Array:
    return (255.0 * x + jax.random.uniform(key, x.shape)) / 256.0


def to_8_bits(x: Array) -> Array:
    """The nearest of 0, 1/255, ..., 1, because interpolation leaves no levels. Any shape.

    >>> to_8_bits(jnp.array([-0.1, 0.5, 1.1])) * 255
    Array([  0., 128., 255.], dtype=float32)
    """
    return jnp.clip(jnp.round(255.0 * x), 0.0, 255.0) / 255.0


@dataclasses.dataclass(frozen=True)
class ReducedBitDepth(Treatment):
    """Another data set's 8-bit images with 2^bits levels, in every split: see `reduce_bit_depth`.

    The context does not change. Kingma & Dhariwal, 2018, reduce to 5 bits.

    Raises:
      UsageError: bits outside 1 to 8.
    """

    bits: int = 5
    """Number of bits of a value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_bits(self.bits)

    @property
    def num_levels(self) -> int:
        return 2**self.bits

    @property
    def treatment(self) -> str:
        return f"reduced to {self.num_levels} levels"

    def load(self, data_dir: str | None = None) -> Splits:
        splits = _in_levels(self.source.load(data_dir), self)
        return splits.map(lambda part: part._replace(x=reduce_bit_depth(part.x, bits=self.bits)))


def _in_levels(splits: Splits, treatment: Treatment) -> Splits:
    """The splits, unless a value lies outside [0, 1]."""
    if splits.scaling is not None:
        name = type(treatment).__name__
        raise UsageError(
            f"source of {name} must hold values from 0 to 1, and {treatment.source.title} is "
            f"standardised: write Standardised({name}(...))."
        )
    for name, part in splits.parts.items():
        check_values(f"{type(treatment).__name__}: {name}.x", part.x, 0.0, 1.0)
    return splits


def reduce_bit_depth(x: np.ndarray, *, bits: int) -> np.ndarray:
    """floor(k / 2^(8 − bits)) / (2^bits − 1) with k = round(255 x): 2^bits levels, 0 to 1. Any shape.

    A likelihood over these levels has num_levels = 2^bits.

    Raises:
      UsageError: bits outside 1 to 8, or values outside [0, 1], such as bytes.

    >>> reduce_bit_depth(np.array([0.0, 7 / 255, 8 / 255, 1.0]), bits=5) * 31
    array([ 0.,  0.,  1., 31.], dtype=float32)
    """
    _check_bits(bits)
    check_values("x", x, 0.0, 1.0)
    level = np.rint(255 * np.asarray(x, np.float32)).astype(np.uint8) >> (8 - bits)
    return level.astype(np.float32) / (2**bits - 1)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise UsageError(f"bits must lie in 1 to 8, got {bits}.")

"""Images with uniform noise, which bounds a likelihood that would grow without limit.

A constraint on the reconstruction makes this baseline unnecessary. Rezende & Viola, 2018, section 1.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_values
from vaelab.data.streamed import StreamedSplits
from vaelab.data.treatments import Treatment, in_levels
from vaelab.streams import Stream
from vaelab.types import Array, Examples, PRNGKey, Splits

_SEED = 0  # of the noise on validation and test


@dataclasses.dataclass(frozen=True)
class Dequantised(Treatment):
    """Another data set's 8-bit images with uniform noise: x' = (255 x + u) / 256, u ~ U[0, 1).

    The noise is drawn for each training batch, and once for validation and test. The context
    does not change. With y = 256 x' and p a density of y, E_u log p(y) is a lower bound on the log
    probability of the pixel's level. Theis et al., 2016, section 3.1.
    """

    @property
    def num_levels(self) -> None:
        return None

    @property
    def bin_width(self) -> float:
        return 1 / 256

    @property
    def treatment(self) -> str:
        return f"with uniform noise drawn once with JAX key {_SEED}"

    @property
    def preprocessing(self) -> str:
        before = self.source.preprocessing
        return f"{before} and dequantised" if before else "dequantised"

    def load(self, data_dir: str | None = None) -> Splits:
        splits = in_levels(self.source.load(data_dir), self)
        return splits._replace(validation=_noisy(0, splits.validation), test=_noisy(1, splits.test))

    def open(self, data_dir: str | None = None) -> StreamedSplits | None:
        splits = self.source.open(data_dir)
        if splits is None:
            return None
        return splits._replace(validation=_Noisy(splits.validation, 0), test=_Noisy(splits.test, 1))

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        source_key, noise_key = jax.random.split(key)
        return dequantise(noise_key, self.source.preprocess(source_key, x))


@dataclasses.dataclass(frozen=True, eq=False)
class _Noisy(Stream):
    """Validation (0) or test (1) with its noise, which is drawn for all examples at once. They are loaded then."""

    stream: Stream
    place: int

    @property
    def num_examples(self) -> int:
        return self.stream.num_examples

    def rows(self, rows: np.ndarray) -> Examples:
        return self._examples.take(rows)

    @functools.cached_property
    def _examples(self) -> Examples:
        return _noisy(self.place, self.stream.read())


def _noisy(place: int, part: Examples) -> Examples:
    """Validation (0) or test (1) with the noise that is drawn once."""
    key = jax.random.split(jax.random.key(_SEED))[place]
    return part._replace(x=jax.device_get(dequantise(key, jnp.asarray(part.x))))


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

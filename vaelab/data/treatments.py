"""Data sets whose values are those of another one, treated."""

from __future__ import annotations

import abc
import dataclasses

import jax.numpy as jnp
import numpy.typing as npt

from vaelab.checks import UsageError, check_values
from vaelab.data.dataset import DataSet, LabelMeaning
from vaelab.data.given import as_data_set
from vaelab.data.show import Shown
from vaelab.types import Array, PRNGKey, Splits


@dataclasses.dataclass(frozen=True)
class Treatment(DataSet):
    """Another data set with treated values. Everything that the treatment keeps is the source's."""

    source: DataSet
    """Data set whose values are treated, or anything that `as_data_set` takes, such as an array."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", as_data_set(self.source))

    def pinned(self, data_dir: str | None = None) -> DataSet:
        return dataclasses.replace(self, source=self.source.pinned(data_dir))

    @property
    def num_levels(self) -> int | None:
        return self.source.num_levels

    @property
    def bin_width(self) -> float | None:
        return self.source.bin_width

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning

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


def to_8_bits(x: Array) -> Array:
    """The nearest of 0, 1/255, ..., 1, because interpolation leaves no levels. Any shape.

    >>> to_8_bits(jnp.array([-0.1, 0.5, 1.1])) * 255
    Array([  0., 128., 255.], dtype=float32)
    """
    return jnp.clip(jnp.round(255.0 * x), 0.0, 255.0) / 255.0


def in_levels(splits: Splits, treatment: Treatment) -> Splits:
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

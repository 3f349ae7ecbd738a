"""Data with mean 0 and standard deviation 1 in each coordinate. The splits hold the way back."""

from __future__ import annotations

import dataclasses

import numpy as np

from vaelab.checks import UsageError
from vaelab.data.treatments import Treatment
from vaelab.types import Scaling, Splits


@dataclasses.dataclass(frozen=True)
class Standardised(Treatment):
    """Another data set as (x − mean) / scale, with the mean and the standard deviation of its training part.

    The map is `Splits.scaling`, which inverts it and converts log densities to the data's units. A
    coordinate or channel that does not vary in the training part has scale 1 and becomes 0. The
    context does not change. The source may be an array: `Standardised(x)`.

    Raises:
      UsageError: a source that changes every batch at random, or that is standardised already.

    >>> x = np.linspace(0, 9, 60, dtype=np.float32).reshape(20, 3)
    >>> float(Standardised(x).load().train.x.std().round(4))
    1.0
    """

    per_channel: bool = False
    """True gives each channel (the last axis) one mean and scale. False gives each coordinate its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source.preprocessing:
            raise UsageError(
                f"source of Standardised must keep its batches as they are, and those of "
                f"{self.source.title} are {self.source.preprocessing} at each step: choose a source "
                "without that."
            )

    @property
    def num_levels(self) -> None:
        return None

    @property
    def treatment(self) -> str:
        return f"standardised per {'channel' if self.per_channel else 'coordinate'}"

    def load(self, data_dir: str | None = None) -> Splits:
        splits = self.source.load(data_dir)
        if splits.scaling is not None:
            raise UsageError(
                f"source of Standardised is standardised already: {self.source.title}."
            )
        scaling = scaling_of(splits.train.x, per_channel=self.per_channel)
        scaled = splits.map(lambda part: part._replace(x=scaling.apply(part.x)))
        return scaled._replace(scaling=scaling)


def scaling_of(x: np.ndarray, *, per_channel: bool = False) -> Scaling:
    """Mean and standard deviation over examples; per channel over all axes but the last.

    [N, *event] -> Scaling of the event's shape, or [C]; scale 1 where x does not vary.

    >>> scaling_of(np.float32([[1, 5], [3, 5]]))
    Scaling(mean=array([2., 5.], dtype=float32), scale=array([1., 1.], dtype=float32))
    """
    axes = tuple(range(x.ndim - 1)) if per_channel else (0,)
    varies = x.min(axis=axes) < x.max(axis=axes)
    scale = np.where(varies, x.std(axis=axes, dtype=np.float64), 1.0)
    # The mean of equal values is rounded; the smallest value is exact.
    mean = np.where(varies, x.mean(axis=axes, dtype=np.float64), x.min(axis=axes))
    return Scaling(mean.astype(np.float32), scale.astype(np.float32))

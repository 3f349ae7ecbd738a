"""What a data set is: a small frozen dataclass that loads its splits and prepares each batch."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal, get_args

from vaelab.data.binarise import bernoulli, binarise_splits
from vaelab.data.checks import validate
from vaelab.types import Array, PRNGKey, Splits

Binarisation = Literal["dynamic", "fixed", "none"]


class DataSet(abc.ABC):
    """A data set: `load` reads it once, `preprocess` is what every training step does to its batch."""

    channels_are_images: ClassVar[bool] = False  # each channel of x a picture, and not a colour

    @property
    def num_levels(self) -> int | None:
        """Equidistant values from 0 to 1 that a grey or colour value can have; None: any value."""
        return 256

    @abc.abstractmethod
    def load(self, data_dir: str | None = None) -> Splits:
        """Train, validation and test splits, from `data_dir`, else $VAELAB_DATA, else ~/.cache/vaelab."""

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        """The identity, unless a data set says otherwise. [B, height, width, channels] -> the same."""
        del key
        return x


@dataclasses.dataclass(frozen=True)
class GreyImages(DataSet):
    """Grey images in [0, 1], which a Bernoulli likelihood reads as probabilities."""

    binarisation: Binarisation = "dynamic"
    """validation and test are binarised once; training afresh per batch (dynamic) or once (fixed); none keeps all grey"""

    def __post_init__(self) -> None:
        if self.binarisation not in get_args(Binarisation):
            raise ValueError(
                f"binarisation must be one of {', '.join(get_args(Binarisation))}, "
                f"got {self.binarisation!r}."
            )

    @abc.abstractmethod
    def grey(self, data_dir: str | None = None) -> Splits:
        """The grey images, before any binarisation."""

    def load(self, data_dir: str | None = None) -> Splits:
        splits = self.grey(data_dir)
        validate(splits)
        if self.binarisation == "none":
            return splits
        return binarise_splits(splits, train=self.binarisation == "fixed")

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        """Fresh binary images where the binarisation is dynamic, else x itself."""
        return bernoulli(key, x) if self.binarisation == "dynamic" else x

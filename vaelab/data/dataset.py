"""What a data set is: a small frozen dataclass that loads its splits and prepares each batch."""

from __future__ import annotations

import abc
import dataclasses
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError
from vaelab.data import show
from vaelab.data.binarise import SEED, bernoulli, binarise_splits
from vaelab.data.validation import validate
from vaelab.types import Array, PRNGKey, Splits

Binarisation = Literal["dynamic", "fixed", "none"]


class DataSet(abc.ABC):
    """A data set: `load` reads it once, `preprocess` prepares the batch of every training step."""

    @property
    def num_levels(self) -> int | None:
        """Number of equidistant values from 0 to 1 that x can have; None: any value."""
        return None

    @abc.abstractmethod
    def load(self, data_dir: str | None = None) -> Splits:
        """Train, validation and test splits, from `data_dir`, else $VAELAB_DATA, else ~/.cache/vaelab."""

    def untreated(self, data_dir: str | None = None) -> Splits:
        """The data before binarisation: what other data sets are made of. The default is `load`."""
        return self.load(data_dir)

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        """A batch as a training step takes it; the default is x itself. [B, *event] -> the same."""
        del key
        return x

    @property
    def preprocessing(self) -> str:
        """What `preprocess` does, as a participle such as "binarised"; empty where it does nothing."""
        return ""

    def show(self, x: npt.ArrayLike) -> np.ndarray | None:
        """What a person looks at: [N, height, width, 1 or 3] in [0, 1], or None where there is nothing.

        x [N, *event] is in the units of the data: `Splits.in_data_units`. The default shows images of one
        or three channels as they are, and other numbers of channels side by side.
        """
        return show.images(x)

    def describe(self) -> str:
        """The data set, and what was done to its validation and test data, for reports."""
        return self.title

    @property
    def title(self) -> str:
        """The data set in a word."""
        return type(self).__name__

    def check_resizable(self) -> None:
        """Raises where a change of size would come too late.

        Raises:
          UsageError: one sentence with the remedy.
        """
        return None


@dataclasses.dataclass(frozen=True)
class GreyImages(DataSet):
    """Grey images in [0, 1], which a Bernoulli likelihood reads as probabilities."""

    binarisation: Binarisation = "dynamic"
    """validation and test are binarised once; training afresh per batch (dynamic) or once (fixed); none keeps all grey"""

    @property
    def num_levels(self) -> int | None:
        return 256

    def __post_init__(self) -> None:
        if self.binarisation not in get_args(Binarisation):
            raise UsageError(
                f"binarisation must be one of {', '.join(get_args(Binarisation))}, "
                f"got {self.binarisation!r}."
            )

    @abc.abstractmethod
    def grey(self, data_dir: str | None = None) -> Splits:
        """The grey images, before any binarisation."""

    def untreated(self, data_dir: str | None = None) -> Splits:
        return self.grey(data_dir)

    def load(self, data_dir: str | None = None) -> Splits:
        splits = self.grey(data_dir)
        validate(splits)
        if self.binarisation == "none":
            return splits
        return binarise_splits(splits, train=self.binarisation == "fixed")

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        """Fresh binary images where the binarisation is dynamic, else x itself."""
        return bernoulli(key, x) if self.binarisation == "dynamic" else x

    @property
    def preprocessing(self) -> str:
        return "binarised" if self.binarisation == "dynamic" else ""

    def describe(self) -> str:
        binarised = self.binarisation != "none"
        return f"{self.title}, binarised once with numpy seed {SEED}" if binarised else self.title


@dataclasses.dataclass(frozen=True)
class Treatment(DataSet):
    """Another data set, its values treated: what a treatment does not change is the source's."""

    source: DataSet

    @property
    def num_levels(self) -> int | None:
        return self.source.num_levels

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        return self.source.preprocess(key, x)

    @property
    def preprocessing(self) -> str:
        return self.source.preprocessing

    def show(self, x: npt.ArrayLike) -> np.ndarray | None:
        return self.source.show(x)

    @property
    @abc.abstractmethod
    def treatment(self) -> str:
        """What is done to validation and test data, for reports: "with 32 levels"."""

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

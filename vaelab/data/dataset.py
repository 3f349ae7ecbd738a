"""The contract of data sets: small frozen dataclasses that load splits and prepare batches."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy.typing as npt

from vaelab.checks import UsageError
from vaelab.data import show
from vaelab.data.binarise import SEED, bernoulli, binarise_splits
from vaelab.data.show import Shown
from vaelab.data.streamed import StreamedSplits
from vaelab.data.validation import validate
from vaelab.types import Array, PRNGKey, Splits

Binarisation = Literal["dynamic", "fixed", "none"]


class LabelMeaning(NamedTuple):
    """What labels mean, for the legends and scales of plots."""

    name: str = "label"
    # Of the classes 0, 1, ...; empty for classes without names and for real values.
    names: Sequence[str] = ()
    # Of real values that return to their start, such as 2π for angles.
    period: float | None = None


class DataSet(abc.ABC):
    """A data set: `load` reads it once, `preprocess` prepares the batch of every training step."""

    @property
    def num_levels(self) -> int | None:
        """Number of equidistant values from 0 to 1 that x can have. None if x can have any value."""
        return None

    @property
    def bin_width(self) -> float | None:
        """Width of the uniform noise that dequantised x. None if x was not dequantised."""
        return None

    @property
    def label_meaning(self) -> LabelMeaning:
        """What the labels of the examples mean. The default has no names and no period."""
        return LabelMeaning()

    @abc.abstractmethod
    def load(self, data_dir: str | None = None) -> Splits:
        """Train, validation and test splits. Files are in `data_dir`, else $VAELAB_DATA, else ~/.cache/vaelab."""

    def open(self, data_dir: str | None = None) -> StreamedSplits | None:
        """The same splits as those of `load`, left in their files. The default is None: there is no such way.

        Only the number and the shape of the examples are read. Training streams a data set that is too large
        for the memory.
        """
        del data_dir
        return None

    def untreated(self, data_dir: str | None = None) -> Splits:
        """The data before binarisation, from which other data sets are made. The default is `load`."""
        return self.load(data_dir)

    def pinned(self, data_dir: str | None = None) -> DataSet:
        """The same data set, tied to the present content of the files that a user names by path.

        It is what config.json records. Its `load` refuses other content. The default is the data set
        itself, whose files are published ones.
        """
        del data_dir
        return self

    def preprocess(self, key: PRNGKey, x: Array) -> Array:
        """The batch that a training step takes. The default is x itself. [B, *event] -> the same shape."""
        del key
        return x

    @property
    def preprocessing(self) -> str:
        """The effect of `preprocess`, as a participle such as "binarised". Empty if there is none."""
        return ""

    def show(self, x: npt.ArrayLike) -> Shown | None:
        """Images for a plot, with a note if their values were clipped or rescaled. None without images.

        x [N, *event] has the units of the data: `Splits.in_data_units`. The default shows one or three
        channels as an image, and other numbers of channels side by side.
        """
        return show.images(x)

    def describe(self) -> str:
        """For reports: the data set, and how its validation and test data were changed."""
        return self.title

    @property
    def title(self) -> str:
        """Short name of the data set."""
        return type(self).__name__

    def check_resizable(self) -> None:
        """Raises if the images can no longer be resized, because their values have been treated.

        Raises:
          UsageError: one sentence with the remedy.
        """
        return None


@dataclasses.dataclass(frozen=True)
class GreyImages(DataSet):
    """Grey images in [0, 1]: probabilities for a Bernoulli likelihood."""

    binarisation: Binarisation = "dynamic"
    """Validation and test are binarised once. Training images are binarised for each batch (dynamic) or once (fixed). With none all images stay grey."""

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
        """Fresh binary images if the binarisation is dynamic, else x itself."""
        return bernoulli(key, x) if self.binarisation == "dynamic" else x

    @property
    def preprocessing(self) -> str:
        return "binarised" if self.binarisation == "dynamic" else ""

    def describe(self) -> str:
        binarised = self.binarisation != "none"
        return f"{self.title}, binarised once with numpy seed {SEED}" if binarised else self.title

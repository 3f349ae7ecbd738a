"""Any image data set of TFDS that is prepared, by its name."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from vaelab.checks import UsageError
from vaelab.data.arrays import Arrays
from vaelab.data.dataset import DataSet
from vaelab.data.parts import Fractions, check_fractions
from vaelab.data.prepared import prepared_splits, read_prepared, require_prepared
from vaelab.types import Examples, Splits


@dataclasses.dataclass(frozen=True)
class TFDS(DataSet):
    """The images of a data set that `python -m vaelab.data.prepare NAME` prepared, and its classes.

    The feature `image` is x, in [0, 1]; an integer feature `label` is the classes. The splits are those of
    TFDS; validation and test, where it has none, are cut from train at random. The order is that of the
    prepared files. No TensorFlow is needed to read it.

    Raises:
      MissingFileError: it is not prepared.
      UsageError: it has no images, or images of several sizes.
    """

    num_levels: ClassVar[int] = 256

    name: str
    """of the data set in TFDS, such as `cifar100` or `kmnist`"""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """shares of train, validation and test, of splits that TFDS does not have"""
    seed: int = 0
    """of the cut"""

    def __post_init__(self) -> None:
        check_fractions(self.fractions)

    @property
    def title(self) -> str:
        return f"TFDS({self.name})"

    def load(self, data_dir: str | None = None) -> Splits:
        folder = require_prepared(self.name, data_dir, version=None)
        there = prepared_splits(folder)
        if "train" not in there:
            raise UsageError(
                f"{folder} has no split train, only {', '.join(there) or 'none at all'}."
            )
        parts = {
            name: Examples(*read_prepared(folder, name, key=None))
            for name in ("train", "validation", "test")
            if name in there
        }
        train = parts.pop("train")
        return Arrays(*train[:2], **parts, fractions=self.fractions, seed=self.seed).load()

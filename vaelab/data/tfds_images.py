"""Any prepared image data set of TFDS, by its name."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from etils import epath

from vaelab.checks import UsageError
from vaelab.data.dataset import DataSet
from vaelab.data.files import naming
from vaelab.data.parts import PARTS, Fractions, check_cut
from vaelab.data.prepared import first_whole, prepared_splits, require_prepared
from vaelab.data.prepared_images import PreparedImages
from vaelab.data.streamed import StreamedSplits, streamed_splits
from vaelab.data.validation import validate
from vaelab.types import Splits


@dataclasses.dataclass(frozen=True)
class TFDS(DataSet):
    """The images of a data set that `python -m vaelab.data.prepare NAME` prepared, and its classes.

    The feature `image` is x, in [0, 1]. The integer feature `label`, if there is one, is the class. The
    splits are those of TFDS; if there is no validation or test split, it is cut from train at random.
    The order is that of the prepared files. Reading needs no TensorFlow.

    Raises:
      MissingFileError: the data set is not prepared.
      UsageError: it has no 8-bit images of one size.
    """

    num_levels: ClassVar[int] = 256

    name: str
    """Name of the data set in TFDS, such as `cifar100` or `kmnist`."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """Shares of train, validation and test. Only the shares of splits that TFDS does not have count."""
    seed: int = 0
    """Seed of the cut."""

    def __post_init__(self) -> None:
        check_cut(self.fractions, self.seed)

    @property
    def title(self) -> str:
        return f"TFDS({self.name})"

    def load(self, data_dir: str | None = None) -> Splits:
        return first_whole(self._folders(data_dir), self._read)

    def open(self, data_dir: str | None = None) -> StreamedSplits:
        return first_whole(self._folders(data_dir), self._opened)

    def _folders(self, data_dir: str | None) -> list[epath.Path]:
        return require_prepared(self.name, data_dir, version=None)

    def _opened(self, folder: epath.Path) -> StreamedSplits:
        there = prepared_splits(folder)
        if "train" not in there:
            raise UsageError(
                f"{folder} has no split train, only {', '.join(there) or 'none at all'}."
            )
        parts = {name: PreparedImages(folder, name, key=None) for name in there if name in PARTS}
        return streamed_splits(parts, self.fractions, self.seed)

    def _read(self, folder: epath.Path) -> Splits:
        with naming(folder):
            splits = self._opened(folder).read()
            validate(splits)
        return splits

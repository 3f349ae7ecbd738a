"""Files of your own as a data set: npy, npz, csv, or a folder of PNG or JPEG images."""

from __future__ import annotations

import dataclasses

import numpy as np
from etils import epath

from vaelab.checks import MissingFileError, UsageError, check_at_least_one
from vaelab.data.arrays import Arrays
from vaelab.data.csv_table import read_csv
from vaelab.data.dataset import DataSet
from vaelab.data.files import data_directory, names_in_npz, read_npy, read_npz
from vaelab.data.image_folder import is_image_folder, read_image_folder
from vaelab.data.parts import Fractions, check_fractions
from vaelab.types import Examples, Splits

_PARTS = ("train", "validation", "test")
_READ_BY_SUFFIX = (".npy", ".npz", ".csv")


@dataclasses.dataclass(frozen=True)
class Files(DataSet):
    """Examples read from `path`; its ending selects the format.

    - `.npy`: x [N, *event].
    - `.npz`: x, and labels, context and groups where there are any. Parts of their own are
      `validation_x`, `validation_labels`, ..., `test_x`, ...
    - `.csv`: a row for each example, a column for each coordinate, with or without a line of names.
    - a folder: its PNG and JPEG files. The names of sub-folders are the classes, in alphabetical order;
      `train`, `validation` and `test` are parts with sub-folders of their own.

    `Arrays` documents how arrays are converted and how missing parts are cut. A relative
    path starts at the current folder if it is there, else at the data directory.

    Raises:
      MissingFileError: there is nothing at `path`.
      UsageError: a file that cannot be read, or does not fit; the sentence names it.
    """

    path: str
    """file or folder"""
    size: int | None = None
    """side to which images of a folder are resized, square; None keeps their size, which must be one"""
    label_column: str | None = None
    """column of a csv file with the labels: its name, or its number from 1 where it has no line of names"""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """shares of train, validation and test, of parts that the file does not name"""
    seed: int = 0
    """of the cut"""

    def __post_init__(self) -> None:
        check_at_least_one(size=self.size)
        check_fractions(self.fractions)

    @property
    def title(self) -> str:
        return f"Files({self.path})"

    @property
    def num_levels(self) -> int | None:
        """256 for a folder of images; arrays may hold any value."""
        return None if epath.Path(self.path).suffix in _READ_BY_SUFFIX else 256

    def load(self, data_dir: str | None = None) -> Splits:
        path = self._find(data_dir)
        parts = self._read(path)
        train = parts.pop("train")
        try:
            return Arrays(
                *train[:2], context=train.context, groups=train.groups, **parts,
                fractions=self.fractions, seed=self.seed,
            ).load()  # fmt: skip
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None

    def _find(self, data_dir: str | None) -> epath.Path:
        given = epath.Path(self.path).expanduser()
        for path in (given, data_directory(data_dir) / given):
            if path.exists():
                return path
        raise MissingFileError(
            f"{self.path} was not found, neither from the current folder nor in "
            f"{data_directory(data_dir)}: correct the path, or name another folder with --data-dir or "
            "$VAELAB_DATA."
        )

    def _read(self, path: epath.Path) -> dict[str, Examples]:
        for field, fits in (("size", path.is_dir()), ("label_column", path.suffix == ".csv")):
            if getattr(self, field) is not None and not fits:
                what = "a folder of images" if field == "size" else "a csv file"
                raise UsageError(f"{field} is for {what}, and {path} is none: leave it out.")
        if path.is_dir():
            return self._read_folder(path)
        if path.suffix not in _READ_BY_SUFFIX:
            raise UsageError(
                f"{path} ends in {path.suffix or 'nothing'}, which is not known: give npy, npz, csv, or a "
                "folder of images."
            )
        if path.suffix == ".csv":
            return {"train": Examples(*read_csv(path, label_column=self.label_column))}
        return {"train": Examples(read_npy(path))} if path.suffix == ".npy" else _read_npz(path)

    def _read_folder(self, path: epath.Path) -> dict[str, Examples]:
        folders = {name: path / name for name in _PARTS if is_image_folder(path / name)}
        if "train" not in folders:
            folders = {"train": path}
        read = read_image_folder(list(folders.values()), size=self.size)
        return dict(zip(folders, read, strict=True))


def _read_npz(path: epath.Path) -> dict[str, Examples]:
    expected = {
        f"{prefix}{field}": (part, field)
        for part, prefix in zip(_PARTS, ("", "validation_", "test_"), strict=True)
        for field in Examples._fields
    }
    names = names_in_npz(path)
    if unknown := [name for name in names if name not in expected]:
        raise UsageError(
            f"{path} has an array {unknown[0]}, which is not known: name the arrays "
            f"{', '.join(expected)}."
        )
    arrays = read_npz(path, names)
    parts: dict[str, dict[str, np.ndarray]] = {"train": {}}
    for name, array in arrays.items():
        part, field = expected[name]
        parts.setdefault(part, {})[field] = array
    for part, fields in parts.items():
        if "x" not in fields:
            name = "x" if part == "train" else f"{part}_x"
            raise UsageError(f"{path} has no array {name}: name the examples so.")
    return {part: Examples(**fields) for part, fields in parts.items()}

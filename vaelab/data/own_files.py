"""Files as a data set: npy, npz, csv, or array_record, or a folder of PNG or JPEG images."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

import numpy as np
from etils import epath

from vaelab.checks import MissingFileError, UsageError, check_at_least_one
from vaelab.data.arrays import Arrays
from vaelab.data.content import content_digest
from vaelab.data.conversion import as_floats
from vaelab.data.csv_table import read_csv
from vaelab.data.dataset import DataSet
from vaelab.data.files import data_directory, naming, reading
from vaelab.data.image_files import read_image_folder, stream_image_folder
from vaelab.data.image_folder import images_in, is_image_folder
from vaelab.data.parts import PARTS, Fractions, check_cut
from vaelab.data.readers import names_in_npz, read_npy, read_npz
from vaelab.data.records import Records
from vaelab.data.streamed import StreamedSplits, map_npy, streamed_splits
from vaelab.streams import Stream
from vaelab.types import Examples, Splits
from vaelab.untrusted import printable

_READ_BY_SUFFIX = (".npy", ".npz", ".csv", ".array_record")


@dataclasses.dataclass(frozen=True)
class Files(DataSet):
    """Examples read from `path`; its ending selects the format.

    - `.npy`: x [N, *event].
    - `.npz`: x, and optional labels, context and groups. Other parts are `validation_x`,
      `validation_labels`, ..., `test_x`, ...
    - `.csv`: a row for each example and a column for each coordinate, with or without a line of names.
    - `.array_record`: a file, or a folder of such files. Each record is the content of an npy file with one
      x, of an npz file with x, labels, context and groups of one example, or of a PNG or JPEG file.
    - a folder: its PNG and JPEG files. The names of sub-folders are the classes, in alphabetical order.
      The folders `train`, `validation` and `test` are parts, with sub-folders of their own.

    Training streams an npy file, array_record files or a folder that is too large for the memory.
    `Arrays` documents how arrays are converted and how missing parts are cut. A relative path starts at
    the current folder, or at the data directory if it does not exist there. ~ is expanded.

    Raises:
      MissingFileError: there is nothing at `path`.
      UsageError: a file that cannot be read, or whose data do not fit; the sentence names the file.
    """

    path: str
    """File or folder."""
    size: int | None = None
    """Height and width to which the images of a folder are resized. None keeps their size, which must be the same for all."""
    label_column: str | None = None
    """Column of a csv file with the labels: its name, or its number from 1 if the file has no line of names."""
    label_type: Literal["classes", "targets"] | None = None
    """Meaning of the labels of a csv or npz file: integer classes or real-valued targets. None reads integers as classes and numbers with a decimal point as targets."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """Shares of train, validation and test. Only the shares of parts that the file does not have count."""
    seed: int = 0
    """Seed of the cut."""
    sha256: str | None = None
    """Expected digest of the content, which `pinned` sets. None accepts any content."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        check_at_least_one(size=self.size)
        check_cut(self.fractions, self.seed)
        if self.label_type not in (None, "classes", "targets"):
            raise UsageError(
                f"label_type must be classes, targets or None, got {self.label_type!r}."
            )

    @property
    def title(self) -> str:
        return f"Files({self.path})"

    @property
    def num_levels(self) -> int | None:
        """256 for a folder of images. None for arrays, which may hold any value."""
        return None if _suffix(epath.Path(self.path)) in _READ_BY_SUFFIX else 256

    def pinned(self, data_dir: str | None = None) -> Files:
        return dataclasses.replace(self, sha256=content_digest(self._find(data_dir)))

    def load(self, data_dir: str | None = None) -> Splits:
        path = self._checked(data_dir)
        parts = {name: self._labelled(path, part) for name, part in self._read(path).items()}
        train = parts.pop("train")
        with naming(path):
            splits = Arrays(
                train.x, train.labels, context=train.context, groups=train.groups,
                validation=parts.get("validation"), test=parts.get("test"),
                fractions=self.fractions, seed=self.seed,
            ).load()  # fmt: skip
        return splits._replace(conversions=()) if _is_images(path) else splits  # images are bytes

    def open(self, data_dir: str | None = None) -> StreamedSplits | None:
        """The splits of an npy file, of array_record files, or of a folder. None for other files."""
        path = self._checked(data_dir)
        if self.label_type is not None or (parts := self._streams(path)) is None:
            return None
        conversions = () if _is_images(path) else tuple(as_floats("x", parts["train"].first.x)[1])
        return streamed_splits(parts, self.fractions, self.seed, conversions)

    def read(self, data_dir: str | None = None) -> Examples:
        """All examples in the order of the file, its parts one after the other, without a cut."""
        path = self._find(data_dir)
        parts = [self._labelled(path, part) for part in self._read(path).values()]
        with naming(path):
            converted = [Arrays.of(Splits(part, part, part)).load().train for part in parts]
        fields = zip(*converted, strict=True)
        return Examples(
            *(
                None if any(v is None for v in values) else np.concatenate(values)
                for values in fields
            )
        )

    def _checked(self, data_dir: str | None) -> epath.Path:
        """The path, whose content is the expected one."""
        path = self._find(data_dir)
        if self.sha256 is not None and (found := content_digest(path)) != self.sha256:
            raise UsageError(
                f"{path} has changed: its SHA-256 is {found[:12]}..., and sha256 is {self.sha256[:12]}...: "
                "restore the content, or set sha256 to None."
            )
        return path

    def _streams(self, path: epath.Path) -> dict[str, Stream] | None:
        """The parts that the files have, if they can be read row by row."""
        self._check_fields(path)
        if _suffix(path) == ".array_record":
            return {"train": Records(path)}
        if path.is_dir():
            folders = self._folders(path)
            if not any(True for _ in images_in(folders["train"])):
                return None  # `load` raises the error
            streams = stream_image_folder(list(folders.values()), size=self.size)
            return dict(zip(folders, streams, strict=True))
        return map_npy(path) if _suffix(path) == ".npy" else None

    def _labelled(self, path: epath.Path, part: Examples) -> Examples:
        """The examples with labels of the type that `label_type` names."""
        labels = part.labels
        if self.label_type is None:
            return part
        if labels is None or labels.dtype.kind not in "iuf" or path.is_dir():
            raise UsageError(
                f"label_type is for numbers, and {path} has no numeric labels: leave it out."
            )
        if self.label_type == "targets":
            return part._replace(labels=labels.astype(np.float64))
        if (fractional := labels != np.rint(labels)).any():
            raise UsageError(
                f"{path} has the label {labels[fractional].flat[0]}, which is not a class: set "
                "label_type to targets."
            )
        return part._replace(labels=labels.astype(np.int64))

    def _find(self, data_dir: str | None) -> epath.Path:
        given = epath.Path(self.path).expanduser()
        for path in (given, data_directory(data_dir) / given):
            with reading(path, "correct the path"):
                if path.is_dir() or path.is_file():  # a device or a pipe may have no end
                    return path
        raise MissingFileError(
            f"{self.path} was not found, neither from the current folder nor in "
            f"{data_directory(data_dir)}: correct the path, or name another folder with --data-dir or "
            "$VAELAB_DATA."
        )

    def _check_fields(self, path: epath.Path) -> None:
        for field, fits in (("size", path.is_dir()), ("label_column", _suffix(path) == ".csv")):
            if getattr(self, field) is not None and not fits:
                what = "a folder of images" if field == "size" else "a csv file"
                raise UsageError(f"{field} is for {what}, and {path} is none: leave it out.")

    def _read(self, path: epath.Path) -> dict[str, Examples]:
        self._check_fields(path)
        if _suffix(path) == ".array_record":
            records = Records(path)
            return {"train": records.rows(np.arange(records.num_examples))}
        if path.is_dir():
            folders = self._folders(path)
            read = read_image_folder(list(folders.values()), size=self.size)
            return dict(zip(folders, read, strict=True))
        suffix = _suffix(path)
        if suffix not in _READ_BY_SUFFIX:
            raise UsageError(
                f"{path} ends in {suffix or 'nothing'}, which is not known: give npy, npz, csv, "
                "array_record, or a folder of images."
            )
        if suffix == ".csv":
            return {"train": Examples(*read_csv(path, label_column=self.label_column))}
        return {"train": Examples(read_npy(path))} if suffix == ".npy" else _read_npz(path)

    def _folders(self, path: epath.Path) -> dict[str, epath.Path]:
        folders = {name: path / name for name in PARTS if is_image_folder(path / name)}
        if "train" not in folders:
            folders = {"train": path}
        return folders


def _is_images(path: epath.Path) -> bool:
    return path.is_dir() and _suffix(path) != ".array_record"


def _suffix(path: epath.Path) -> str:
    return path.suffix.lower()


def _read_npz(path: epath.Path) -> dict[str, Examples]:
    expected = {
        f"{prefix}{field}": (part, field)
        for part, prefix in zip(PARTS, ("", "validation_", "test_"), strict=True)
        for field in Examples._fields
    }
    names = names_in_npz(path)
    if unknown := [name for name in names if name not in expected]:
        raise UsageError(
            f"{path} has an array {printable(unknown[0])}, which is not known: name the arrays "
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
            raise UsageError(f"{path} has no array {name}: give the examples this name.")
    return {part: Examples(**fields) for part, fields in parts.items()}

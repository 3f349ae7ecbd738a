"""The folders of prepared TFDS data sets."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

from etils import epath

from vaelab.checks import DamagedFileError, MissingFileError
from vaelab.data.files import data_directory, reading
from vaelab.data.tfds_source import opened_builder

Contents = TypeVar("Contents")

PREPARE_AGAIN = "delete that folder and prepare the data set again"
_VERSION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}")
OTHER_FORMAT = "was prepared in a file format that needs TensorFlow to be read"


def prepared_folders(
    name: str, data_dir: str | None = None, *, version: int | None = 3
) -> list[epath.Path]:
    """The folders of a prepared data set of this major version (None: any) that need no TensorFlow.

    They lie in the data directory's tensorflow_datasets, or else in the default folder of TFDS. A data
    set in another file format is skipped with a warning.
    """
    found = []
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    roots = (data_directory(data_dir) / "tensorflow_datasets", epath.Path(default).expanduser())
    for root in roots:
        for folder in versions(root / name):
            if version is not None and not folder.name.startswith(f"{version}."):
                continue
            if is_readable(folder):
                found.append(folder)
                continue
            warnings.warn(
                f"{folder} is skipped because it {OTHER_FORMAT}: run python -m vaelab.data.prepare {name}, "
                "which writes a format that does not.",
                stacklevel=2,
            )
    return found


def first_whole(
    folders: Sequence[epath.Path],
    read: Callable[[epath.Path], Contents],
    *,
    otherwise: Callable[[], Contents] | None = None,
) -> Contents:
    """`read` of the first folder that is not damaged, else `otherwise()`. Damage is a warning.

    Raises:
      DamagedFileError: every folder is damaged, and there is nothing else; the first one is named.
      MissingFileError: there are no folders, and `otherwise` finds nothing.
    """
    damages = []
    for folder in folders:
        try:
            contents = read(folder)
        except DamagedFileError as error:
            damages.append(error)
            continue
        _warn_of(damages, f"{folder} is")
        return contents
    if otherwise is None:
        raise damages[0]
    try:
        contents = otherwise()
    except MissingFileError:
        if not damages:
            raise
        raise damages[0] from None
    _warn_of(damages, "The idx files are")
    return contents


def _warn_of(damages: Sequence[DamagedFileError], instead: str) -> None:
    for damage in damages:
        warnings.warn(f"{damage} {instead} read instead.", stacklevel=3)


def versions(folder: epath.Path) -> list[epath.Path]:
    """The finished versions in TFDS's folder of a data set, the newest first."""
    whole = [path for path in folder.glob("*.*.*") if _VERSION.fullmatch(path.name)]
    return sorted(whole, key=lambda path: [*map(int, path.name.split("."))], reverse=True)


def require_prepared(
    name: str, data_dir: str | None = None, *, version: int | None = 3
) -> list[epath.Path]:
    """`prepared_folders`, at least one.

    Raises:
      MissingFileError: there is none. The sentence says how to get it.
    """
    folders = prepared_folders(name, data_dir, version=version)
    if not folders:
        place = data_directory(data_dir) / "tensorflow_datasets"
        raise MissingFileError(
            f"{name}, prepared as array_record, was not found in {place}: install the extra [tfds] "
            f"(see README.md) and run python -m vaelab.data.prepare {name}, or name another folder "
            "with --data-dir or $VAELAB_DATA."
        )
    return folders


def prepared_splits(folder: epath.PathLike) -> list[str]:
    """The names of a prepared data set's splits."""
    with reading(folder, PREPARE_AGAIN):
        return list(opened_builder(epath.Path(folder)).info.splits)


def is_readable(folder: epath.Path) -> bool:
    """True if a prepared data set has the one file format that needs no TensorFlow."""
    return any(folder.glob("*-train.array_record*"))

"""Prepared TFDS data sets, read without TensorFlow and in the order of the original files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError, MissingFileError
from vaelab.data.files import data_directory, reading

PREPARE_AGAIN = "delete that folder and prepare the data set again"
OTHER_FORMAT = "was prepared in a file format that needs TensorFlow to be read"


def find_prepared(
    name: str, data_dir: str | None = None, *, version: int | None = 3
) -> epath.Path | None:
    """The folder of a prepared data set of this major version, or any, readable without TensorFlow.

    Looked for in the data directory's tensorflow_datasets, then in TFDS's own default place; None
    where it is in neither. One in another file format is passed over, with a warning.
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    roots = (data_directory(data_dir) / "tensorflow_datasets", epath.Path(default).expanduser())
    for root in roots:
        for folder in versions(root / name):
            if version is not None and not folder.name.startswith(f"{version}."):
                continue
            if is_readable(folder):
                return folder
            warnings.warn(
                f"{folder} is passed over, as it {OTHER_FORMAT}: run python -m vaelab.data.prepare {name}, "
                "which writes one that does not.",
                stacklevel=2,
            )
    return None


def versions(folder: epath.Path) -> list[epath.Path]:
    """The versions of a data set in TFDS's folder for it, the newest first; unfinished ones are left out."""
    numbers = {path: path.name.split(".") for path in folder.glob("*.*.*")}
    whole = [path for path, parts in numbers.items() if len(parts) == 3 and all(map(str.isdigit, parts))]  # fmt: skip
    return sorted(whole, key=lambda path: [int(part) for part in numbers[path]], reverse=True)


def require_prepared(
    name: str, data_dir: str | None = None, *, version: int | None = 3
) -> epath.Path:
    """`find_prepared`, of a data set that is read from nowhere else.

    Raises:
      MissingFileError: one sentence: the data set, where it was looked for, and how to get it.
    """
    folder = find_prepared(name, data_dir, version=version)
    if folder is None:
        place = data_directory(data_dir) / "tensorflow_datasets"
        raise MissingFileError(
            f"{name}, prepared as array_record, was not found in {place}: install the extra [tfds] "
            f"(see README.md) and run python -m vaelab.data.prepare {name}, or name another folder "
            "with --data-dir or $VAELAB_DATA."
        )
    return folder


def prepared_splits(folder: epath.PathLike) -> list[str]:
    """The names of a prepared data set's splits."""
    import tensorflow_datasets as tfds

    with reading(folder, PREPARE_AGAIN):
        return list(tfds.builder_from_directory(os.fspath(folder)).info.splits)


def is_readable(folder: epath.Path) -> bool:
    """Whether a prepared data set is in the one file format that is read without TensorFlow."""
    return any(folder.glob("*-train.array_record*"))


def read_prepared(
    folder: epath.PathLike,
    split: str,
    *,
    key: Callable[[int], str] | None = str,
    crop: Callable[[np.ndarray], np.ndarray] = np.asarray,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images [N, height, width, channels] uint8, and labels [N] int32 where there are any.

    TFDS stores examples in the order of md5(split + key), `key(i)` being what the data set calls the
    i-th example of the original files. Undoing that order makes "the last 5,000" mean the same
    images as everywhere else; without a `key` the order is the stored one. Each image goes through `crop` as it is read; with `limit`, only the
    first so many of the original order are. Labels that are no integers are left out.

    Raises:
      UsageError: the folder is damaged, or holds no images, or images of several sizes.
    """
    with reading(folder, PREPARE_AGAIN):
        return _read(folder, split, key, crop, limit)


def _read(
    folder: epath.PathLike,
    split: str,
    key: Callable[[int], str] | None,
    crop: Callable[[np.ndarray], np.ndarray],
    limit: int | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(os.fspath(folder)).as_data_source(split=split)
    original = list(range(len(source)))
    if key is not None:
        hashes = [hashlib.md5(f"{split}{key(i)}".encode()).digest() for i in original]
        original.sort(key=hashes.__getitem__)
    num_examples = len(source) if limit is None else min(limit, len(source))
    images: np.ndarray | None = None
    labels = np.empty(num_examples, np.int32)
    labelled = False
    for stored, index in enumerate(original):
        if index >= num_examples:
            continue
        example = source[stored]
        if "image" not in example:
            raise DamagedFileError(
                f"{folder} has no feature image, only {', '.join(example)}: choose a data set of images."
            )
        image = crop(example["image"])
        if images is None:  # at once, not as a list: the whole set may fill half the memory
            images = np.empty((num_examples, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise DamagedFileError(
                f"{folder}: image {index} of {split} is of the shape {image.shape}, and others of "
                f"{images.shape[1:]}: choose a data set of images of one size."
            )
        images[index] = image
        if labelled := np.issubdtype(np.asarray(example.get("label", 0.0)).dtype, np.integer):
            labels[index] = example["label"]
    if images is None:
        raise DamagedFileError(f"{folder}: {split} holds no images: {PREPARE_AGAIN}.")
    return images, labels if labelled else None

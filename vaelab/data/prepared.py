"""Prepared TFDS data sets, read without TensorFlow, in the order of the original files."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError, MissingFileError
from vaelab.data.features import as_pixels, check_num_examples, opened_builder, skipped_images
from vaelab.data.files import data_directory, reading
from vaelab.untrusted import check_memory, printable

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


def read_prepared(
    folder: epath.PathLike,
    split: str,
    *,
    key: Callable[[int], str] | None = str,
    crop: Callable[[np.ndarray], np.ndarray] = np.asarray,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images [N, height, width, channels] uint8, and labels [N] int32, or None if there are none.

    TFDS stores examples in the order of md5(split + key), where `key(i)` is the data set's name for the
    i-th example of the original files. Undoing that order makes "the last 5,000" the same images as
    elsewhere. Without a `key` the stored order stays. `crop` is applied to each image. `limit` keeps
    the first images of the original order. Labels that are not integers are dropped.

    Raises:
      DamagedFileError: the folder is damaged, or its images are not bytes of one size.
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
    builder = opened_builder(epath.Path(folder))
    check_num_examples(epath.Path(folder), split, builder.info)
    source = builder.as_data_source(split=split, decoders=skipped_images(builder.info.features))
    original = original_order(len(source), split, key)
    num_examples = len(source) if limit is None else min(limit, len(source))
    images: np.ndarray | None = None
    labels = np.empty(num_examples, np.int32)
    labelled = False
    for stored, index in enumerate(original):
        if index >= num_examples:
            continue
        example = source[stored]
        where = f"{folder}: image {index} of {split}"
        image = image_of(example, folder, where, crop, None if images is None else images.shape[1:])
        if images is None:  # an array, not a list: all images may fill half the memory
            check_memory(num_examples * image.size)
            images = np.empty((num_examples, *image.shape), np.uint8)
        images[index] = image
        if labelled := np.issubdtype(np.asarray(example.get("label", 0.0)).dtype, np.integer):
            labels[index] = int(example["label"])  # raises if it does not fit 32 bits
    if images is None:
        raise DamagedFileError(f"{folder}: {split} holds no images: {PREPARE_AGAIN}.")
    return images, labels if labelled else None


def original_order(num_examples: int, split: str, key: Callable[[int], str] | None) -> list[int]:
    """The number of each stored example in the original files: see `read_prepared`."""
    original = list(range(num_examples))
    if key is not None:
        hashes = [hashlib.md5(f"{split}{key(i)}".encode()).digest() for i in original]
        original.sort(key=hashes.__getitem__)
    return original


def image_of(
    example: dict[str, Any],
    folder: epath.PathLike,
    where: str,
    crop: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...] | None,
) -> np.ndarray:
    """The image of an example of TFDS, cropped: bytes of this shape. None is any shape.

    Raises:
      DamagedFileError: there is no image, or it has other values or another shape.
    """
    if "image" not in example:
        raise DamagedFileError(
            f"{folder} has no feature image, only {printable(', '.join(example))}: choose a data set of images."
        )
    image = crop(as_pixels(example["image"]))
    if image.dtype != np.uint8:
        raise DamagedFileError(f"{where} is {image.dtype}: choose a data set of 8-bit images.")
    if shape is not None and image.shape != shape:
        raise DamagedFileError(
            f"{where} has the shape {image.shape}, and others have {shape}: choose a data set of images of "
            "one size."
        )
    return image

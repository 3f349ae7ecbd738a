"""MNIST and Fashion-MNIST, from a prepared TFDS data set or from the original idx files.

Both sources give the same arrays in the same order, so results do not depend on the source.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError
from vaelab.data.dataset import GreyImages
from vaelab.data.files import FETCH_AGAIN, data_directory, find_file
from vaelab.data.prepared import PREPARE_AGAIN, first_whole, prepared_folders
from vaelab.data.prepared_images import PreparedImages
from vaelab.data.readers import check_shape, read_idx
from vaelab.types import Examples, Splits

_NUM_VALIDATION = 10_000


@dataclasses.dataclass(frozen=True)
class MNIST(GreyImages):
    """MNIST, 28x28: 50,000 / 10,000 / 10,000. Validation is the end of the training set. LeCun et al., 1998."""

    def grey(self, data_dir: str | None = None) -> Splits:
        return read_mnist("mnist", data_dir)


@dataclasses.dataclass(frozen=True)
class FashionMNIST(GreyImages):
    """Fashion-MNIST, 28x28: 50,000 / 10,000 / 10,000, split like MNIST. Xiao et al., 2017."""

    def grey(self, data_dir: str | None = None) -> Splits:
        return read_mnist("fashion_mnist", data_dir)


def read_mnist(name: str, data_dir: str | None = None) -> Splits:
    """Grey images in [0, 1] and labels of `name`, a data set with MNIST's files and format.

    Raises:
      MissingFileError: the data set is neither prepared nor there as idx files.
      DamagedFileError: it cannot be read, or has too few images.
    """
    (x, labels), test = (_floats(*part) for part in _read(name, data_dir))
    if len(x) <= _NUM_VALIDATION:
        raise DamagedFileError(
            f"{name} in {data_directory(data_dir)} has {len(x)} training images, and validation alone "
            f"takes {_NUM_VALIDATION}: {FETCH_AGAIN}."
        )
    return Splits(
        train=Examples(x[:-_NUM_VALIDATION], labels[:-_NUM_VALIDATION]),
        validation=Examples(x[-_NUM_VALIDATION:], labels[-_NUM_VALIDATION:]),
        test=Examples(*test),
    )


def _read(name: str, data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Train and test, from the prepared data set, or from the idx files if none is whole."""

    def prepared(folder: epath.Path) -> list[tuple[np.ndarray, np.ndarray]]:
        return [_prepared(folder, part) for part in ("train", "test")]

    def files() -> list[tuple[np.ndarray, np.ndarray]]:
        return [_read_files(name, part, data_dir) for part in ("train", "test")]

    return first_whole(prepared_folders(name, data_dir), prepared, otherwise=files)


def _prepared(folder: epath.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    stream = PreparedImages(folder, split)
    images, labels, *_ = stream.rows(np.arange(stream.num_examples))
    if labels is None:
        raise DamagedFileError(f"{folder} has no integer labels: {PREPARE_AGAIN}.")
    return images, labels


def _read_files(name: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    prefix = {"train": "train", "test": "t10k"}[split]
    remedy = (
        f"put the four original idx files of {name} there, or install the extra [tfds] (see README.md) "
        f"and run python -m vaelab.data.prepare {name}"
    )
    paths = [
        find_file(f"{name}/{prefix}-{kind}-ubyte.gz", data_dir, remedy=remedy)
        for kind in ("images-idx3", "labels-idx1")
    ]
    images, labels = map(read_idx, paths)
    check_shape(paths[0], "images", images, (None, 28, 28), FETCH_AGAIN)
    check_shape(paths[1], "labels", labels, (len(images),), FETCH_AGAIN)
    return images[..., None], labels


def _floats(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes divided by 255, and labels as int32."""
    return images.astype(np.float32) / 255, labels.astype(np.int32)

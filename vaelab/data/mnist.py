"""MNIST and Fashion-MNIST, from a prepared TFDS data set or from the original idx files.

Both sources give the same arrays in the same order, so a number does not depend on which was there.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from vaelab.checks import DamagedFileError
from vaelab.data.dataset import GreyImages
from vaelab.data.files import FETCH_AGAIN, check_shape, find_file, read_idx
from vaelab.data.prepared import find_prepared, read_prepared
from vaelab.types import Examples, Splits

_NUM_VALIDATION = 10_000


@dataclasses.dataclass(frozen=True)
class MNIST(GreyImages):
    """MNIST, 28x28: 50,000 / 10,000 / 10,000, validation being the end of the training set. LeCun et al., 1998."""

    def grey(self, data_dir: str | None = None) -> Splits:
        return read_mnist("mnist", data_dir)


@dataclasses.dataclass(frozen=True)
class FashionMNIST(GreyImages):
    """Fashion-MNIST, 28x28: 50,000 / 10,000 / 10,000, split as MNIST is. Xiao et al., 2017."""

    def grey(self, data_dir: str | None = None) -> Splits:
        return read_mnist("fashion_mnist", data_dir)


def read_mnist(name: str, data_dir: str | None = None) -> Splits:
    """Grey images in [0, 1] and labels of `name`, a TFDS data set of MNIST's files and format.

    Raises:
      MissingFileError: the data set is neither prepared nor there as idx files.
    """
    (x, labels), test = (_floats(*part) for part in _read(name, data_dir))
    return Splits(
        train=Examples(x[:-_NUM_VALIDATION], labels[:-_NUM_VALIDATION]),
        validation=Examples(x[-_NUM_VALIDATION:], labels[-_NUM_VALIDATION:]),
        test=Examples(*test),
    )


def _read(name: str, data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Train and test, from the prepared data set; from the idx files where it is damaged."""
    parts, damage = ("train", "test"), None
    if prepared := find_prepared(name, data_dir):
        try:
            return [read_prepared(prepared, part) for part in parts]
        except DamagedFileError as error:
            damage = error
    try:
        files: list[tuple[np.ndarray, np.ndarray | None]] = [
            _read_files(name, part, data_dir) for part in parts
        ]
    except FileNotFoundError:
        if damage is None:
            raise
        raise damage from None
    if damage is not None:
        warnings.warn(f"{damage} The idx files are read instead.", stacklevel=2)
    return files


def _read_files(name: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    prefix = {"train": "train", "test": "t10k"}[split]
    remedy = (
        f"put {name} there as its four original idx files, or install the extra [tfds] (see README.md) "
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


def _floats(images: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Bytes as values in [0, 1]."""
    assert labels is not None
    return images.astype(np.float32) / 255, labels.astype(np.int32)

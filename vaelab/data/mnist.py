"""MNIST and Fashion-MNIST, from a prepared TFDS data set or from the original idx files.

Both sources give the same arrays in the same order, so a number does not depend on which was there.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vaelab.data.dataset import GreyImages
from vaelab.data.files import find_file, read_idx
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
      FileNotFoundError: the data set is neither prepared nor there as idx files.
    """
    prepared = find_prepared(name, data_dir)
    (x, labels), test = (
        _floats(
            *(read_prepared(prepared, split) if prepared else _read_files(name, split, data_dir))
        )
        for split in ("train", "test")
    )
    return Splits(
        train=Examples(x[:-_NUM_VALIDATION], labels[:-_NUM_VALIDATION]),
        validation=Examples(x[-_NUM_VALIDATION:], labels[-_NUM_VALIDATION:]),
        test=Examples(*test),
    )


def _read_files(name: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    prefix = {"train": "train", "test": "t10k"}[split]
    remedy = (
        f"put {name} there as its four original idx files, or install the extra [tfds] (see README.md) "
        f"and run python -m vaelab.data.prepare {name}"
    )
    images, labels = (
        read_idx(find_file(f"{name}/{prefix}-{kind}-ubyte.gz", data_dir, remedy=remedy))
        for kind in ("images-idx3", "labels-idx1")
    )
    return images[..., None], labels


def _floats(images: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Bytes as values in [0, 1]."""
    assert labels is not None
    return images.astype(np.float32) / 255, labels.astype(np.int32)

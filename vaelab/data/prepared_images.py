"""Images of prepared TFDS data sets, read without TensorFlow, in the order of the original files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError
from vaelab.data.files import reading
from vaelab.data.prepared import PREPARE_AGAIN
from vaelab.data.tfds_source import as_pixels, opened_source
from vaelab.streams import Stream
from vaelab.types import Examples
from vaelab.untrusted import check_size, printable


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedImages(Stream):
    """Images [N, height, width, channels] uint8 of a split, and its labels [N] int32, if it has integer ones.

    TFDS stores examples in the order of md5(split + key), where `key(i)` is the data set's name for the
    i-th example of the original files. Undoing that order makes "the last 5,000" the same images as
    elsewhere. Without a `key` the stored order stays. `crop` is applied to each image. `limit` keeps
    the first images of the original order.
    """

    folder: epath.Path
    split: str
    key: Callable[[int], str] | None = str
    crop: Callable[[np.ndarray], np.ndarray] = np.asarray
    limit: int | None = None

    @property
    def num_examples(self) -> int:
        return len(self._stored)

    def rows(self, rows: np.ndarray) -> Examples:
        """The images and labels of these rows.

        Raises:
          DamagedFileError: the folder is damaged, or its images are not bytes of one size.
        """
        with reading(self.folder, PREPARE_AGAIN):
            check_size(len(rows) * int(np.prod(self._shape)))
            images = np.empty((len(rows), *self._shape), np.uint8)
            labels = np.empty(len(rows), np.int32)
            for place, row in enumerate(rows):
                example = self._example(row)
                images[place] = self._image(example, row, self._shape)
                if self._labelled:
                    labels[place] = int(example["label"])  # raises if it does not fit 32 bits
            return Examples(images, labels if self._labelled else None)

    def column(self, name: str) -> np.ndarray | None:
        """The classes, for which the records are read and no image is decoded."""
        with reading(self.folder, PREPARE_AGAIN):
            if name != "labels" or not self._labelled:
                return None
            rows = range(self.num_examples)
            return np.array([int(self._example(row)["label"]) for row in rows], np.int32)

    def _example(self, row: int) -> dict[str, Any]:
        return self._source[int(self._stored[row])]

    def _image(
        self, example: dict[str, Any], row: int, shape: tuple[int, ...] | None
    ) -> np.ndarray:
        """The image of an example, cropped: bytes of this shape. None is any shape."""
        where = f"{self.folder}: image {row} of {self.split}"
        if "image" not in example:
            raise DamagedFileError(
                f"{self.folder} has no feature image, only {printable(', '.join(example))}: choose a data set "
                "of images."
            )
        image = self.crop(as_pixels(example["image"]))
        if image.dtype != np.uint8:
            raise DamagedFileError(f"{where} is {image.dtype}: choose a data set of 8-bit images.")
        if shape is not None and image.shape != shape:
            raise DamagedFileError(
                f"{where} has the shape {image.shape}, and others have {shape}: choose a data set of images "
                "of one size."
            )
        return image

    @functools.cached_property
    def _source(self) -> Any:
        with reading(self.folder, PREPARE_AGAIN):
            return opened_source(self.folder, self.split)

    @functools.cached_property
    def _stored(self) -> np.ndarray:
        """The place of each row in the files."""
        if not len(self._source):
            raise DamagedFileError(f"{self.folder}: {self.split} holds no images: {PREPARE_AGAIN}.")
        return np.argsort(_original_order(len(self._source), self.split, self.key))[: self.limit]

    @functools.cached_property
    def _labelled(self) -> bool:
        label = np.asarray(self._example(0).get("label", 0.0))
        return np.issubdtype(label.dtype, np.integer)

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        return self._image(self._example(0), 0, None).shape


def _original_order(num_examples: int, split: str, key: Callable[[int], str] | None) -> list[int]:
    """The number of each stored example in the original files: see `PreparedImages`."""
    original = list(range(num_examples))
    if key is not None:
        hashes = [hashlib.md5(f"{split}{key(i)}".encode()).digest() for i in original]
        original.sort(key=hashes.__getitem__)
    return original

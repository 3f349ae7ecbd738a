"""Images that stay in their files: those of folders, and those of data sets that TFDS has prepared."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath

from vaelab.data.features import check_num_examples, opened_builder, skipped_images
from vaelab.data.files import reading
from vaelab.data.image_folder import (
    channels_and_size,
    class_names,
    images_in,
    other_size,
    read_image,
)
from vaelab.data.prepared import PREPARE_AGAIN, image_of, original_order
from vaelab.streams import Stream
from vaelab.types import Examples

_THREADS = 16  # that read the headers of images


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles(Stream):
    """Image files, decoded when they are read."""

    paths: Sequence[epath.Path]
    classes: np.ndarray | None  # [N] int32
    size: int | None
    channels: Callable[[], int]

    @property
    def num_examples(self) -> int:
        return len(self.paths)

    @property
    def num_bytes(self) -> int:
        """Bytes in memory, if the images have colours: the other images' headers are not read."""
        height, width, _ = self._shape
        return 4 * 3 * height * width * len(self.paths)

    def rows(self, rows: np.ndarray) -> Examples:
        height, width, _ = self._shape
        x = np.empty((len(rows), height, width, self.channels()), np.uint8)
        for place, row in enumerate(rows):
            image = read_image(self.paths[row], self.size)
            if image.shape[:2] != (height, width):
                raise other_size(self.paths[row], image.shape, self.paths[0], self._shape)
            x[place] = image
        return Examples(x, None if self.classes is None else self.classes[rows])

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        return self.classes

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        return read_image(self.paths[0], self.size).shape


def stream_image_folder(
    folders: Sequence[epath.PathLike], *, size: int | None = None
) -> list[ImageFiles]:
    """For each folder what `read_image_folder` reads, left in the files."""
    roots = [epath.Path(folder) for folder in folders]
    paths = [sorted(images_in(root)) for root in roots]
    classes = class_names(roots, paths)
    flat = [path for found in paths for path in found]
    channels = functools.cache(functools.partial(_channels, flat, size))
    streams = []
    for root, found in zip(roots, paths, strict=True):
        numbers = [classes.index(path.relative_to(root).parts[0]) for path in found] if classes else None  # fmt: skip
        labels = None if numbers is None else np.array(numbers, np.int32)
        streams.append(ImageFiles(found, labels, size, channels))
    return streams


def _channels(paths: Sequence[epath.Path], size: int | None) -> int:
    """1 or 3, from the headers of all images, whose sizes must be equal if `size` is None."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        headers = list(threads.map(channels_and_size, paths))
    if size is None:
        for path, (_, shape) in zip(paths, headers, strict=True):
            if shape != headers[0][1]:
                raise other_size(path, shape, paths[0], headers[0][1])
    return max(channels for channels, _ in headers)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedImages(Stream):
    """The images of a split that TFDS has prepared as array_record, as `read_prepared` reads them."""

    folder: epath.Path
    split: str
    key: Callable[[int], str] | None = str
    crop: Callable[[np.ndarray], np.ndarray] = np.asarray
    limit: int | None = None

    @property
    def num_examples(self) -> int:
        return len(self._stored) if self.limit is None else min(self.limit, len(self._stored))

    def rows(self, rows: np.ndarray) -> Examples:
        with reading(self.folder, PREPARE_AGAIN):
            examples = [self._source[int(self._stored[row])] for row in rows]
            images = [
                self._image(each, row, self._shape)
                for each, row in zip(examples, rows, strict=True)
            ]
            labelled = np.issubdtype(np.asarray(examples[0].get("label", 0.0)).dtype, np.integer)
            labels = np.array([e["label"] for e in examples], np.int32) if labelled else None
            return Examples(np.stack(images), labels)

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """The classes, for which the records are read and no image is decoded."""
        if self.first.labels is None:
            return None
        with reading(self.folder, PREPARE_AGAIN):
            stored = self._stored[: self.num_examples]
            return np.array([self._source[int(place)]["label"] for place in stored], np.int32)

    def _image(
        self, example: dict[str, Any], row: int, shape: tuple[int, ...] | None
    ) -> np.ndarray:
        where = f"{self.folder}: image {row} of {self.split}"
        return image_of(example, self.folder, where, self.crop, shape)

    @functools.cached_property
    def _source(self) -> Any:
        builder = opened_builder(self.folder)
        check_num_examples(self.folder, self.split, builder.info)
        decoders = skipped_images(builder.info.features)
        return builder.as_data_source(split=self.split, decoders=decoders)

    @functools.cached_property
    def _stored(self) -> np.ndarray:
        """The place of each row in the files."""
        return np.argsort(original_order(len(self._source), self.split, self.key))

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        return self._image(self._source[int(self._stored[0])], 0, None).shape

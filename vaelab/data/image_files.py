"""Image files that stay in their folders."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import reading
from vaelab.data.image_folder import (
    channels_and_size,
    class_names,
    images_in,
    other_size,
    read_image,
)
from vaelab.streams import Stream
from vaelab.types import Examples
from vaelab.untrusted import check_size

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

    def column(self, name: str) -> np.ndarray | None:
        return self.classes if name == "labels" else None

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        return read_image(self.paths[0], self.size).shape


def read_image_folder(
    folders: Sequence[epath.PathLike], *, size: int | None = None
) -> list[Examples]:
    """What `stream_image_folder` reads, in memory.

    Raises:
      UsageError: no images; images of several sizes; an image that cannot be read. The sentence names it.
    """
    streams = stream_image_folder(folders, size=size)
    for folder, stream in zip(folders, streams, strict=True):
        if not stream.paths:
            raise UsageError(f"{folder} holds no PNG or JPEG files: name a folder with images.")
    num_bytes = sum(stream.num_examples for stream in streams) * streams[0].first.x.nbytes
    with reading(folders[0], "set size, or use fewer images"):
        check_size(num_bytes)
    return [stream.rows(np.arange(stream.num_examples)) for stream in streams]


def stream_image_folder(
    folders: Sequence[epath.PathLike], *, size: int | None = None
) -> list[ImageFiles]:
    """For each folder x [N, height, width, 1 or 3] uint8, and labels if the images lie in sub-folders.

    The sorted names of the sub-folders of all folders are the classes 0, 1, ... Transparency is dropped.
    Grey images become colour images if one image has colours. With `size`, images are resized to size x
    size without regard to their proportions: bilinear, antialiased.
    """
    roots = [epath.Path(folder) for folder in folders]
    paths = [sorted(images_in(root)) for root in roots]
    classes = class_names(roots, paths)
    flat = [path for found in paths for path in found]
    channels = functools.cache(functools.partial(_channels, flat, size))
    streams = []
    for root, found in zip(roots, paths, strict=True):
        names = [path.relative_to(root).parts[0] for path in found] if classes else None
        labels = None if names is None else np.array([classes.index(n) for n in names], np.int32)
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

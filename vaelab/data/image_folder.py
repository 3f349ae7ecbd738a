"""Folders of PNG and JPEG images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.decoding import opened_image
from vaelab.data.files import reading
from vaelab.types import Examples
from vaelab.untrusted import check_memory, printable

_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "PA")


def is_image_folder(folder: epath.Path) -> bool:
    """True for a folder with images in it or in its sub-folders."""
    return folder.is_dir() and any(True for _ in images_in(folder))


def read_image_folder(
    folders: Sequence[epath.PathLike], *, size: int | None = None
) -> list[Examples]:
    """For each folder x [N, height, width, 1 or 3] uint8, and labels if the images lie in sub-folders.

    The sorted names of the sub-folders of all folders are the classes 0, 1, ... Transparency is
    dropped. Grey images become colour images if one image has colours. With `size`, images are resized
    to size x size without regard to their proportions: bilinear, antialiased.

    Raises:
      UsageError: no images; images of several sizes; an image that cannot be read. The sentence names it.
    """
    roots = [epath.Path(folder) for folder in folders]
    paths = [sorted(images_in(root)) for root in roots]
    for root, found in zip(roots, paths, strict=True):
        if not found:
            raise UsageError(f"{root} holds no PNG or JPEG files: name a folder with images.")
    flat: list[np.ndarray] = []
    flat_paths = [path for found in paths for path in found]
    for path in flat_paths:
        image = read_image(path, size)
        flat.append(image)
        if image.shape[:2] != flat[0].shape[:2]:
            raise other_size(path, image.shape, flat_paths[0], flat[0].shape)
        if len(flat) == 1:
            with reading(roots[0], "set size, or use fewer images"):
                check_memory(len(flat_paths) * image.size)
    channels = max(image.shape[-1] for image in flat)
    rest = iter(flat)
    images = [[next(rest) for _ in found] for found in paths]
    classes = class_names(roots, paths)
    parts = []
    for root, found, part in zip(roots, paths, images, strict=True):
        x = np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in part])
        labels = (
            [classes.index(path.relative_to(root).parts[0]) for path in found] if classes else None
        )
        parts.append(Examples(x, None if labels is None else np.array(labels, np.int32)))
    return parts


def images_in(folder: epath.Path) -> Iterator[epath.Path]:
    """The PNG and JPEG files of a folder and of its sub-folders."""
    found = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
    return (path for path in found if path.suffix.lower() in _SUFFIXES)


def class_names(roots: Sequence[epath.Path], paths: Sequence[Sequence[epath.Path]]) -> list[str]:
    """The sorted names of sub-folders with images. None if no image lies in a sub-folder."""
    places = [path.relative_to(root).parts for root, found in zip(roots, paths, strict=True) for path in found]  # fmt: skip
    inside = [len(place) > 1 for place in places]
    if any(inside) and not all(inside):
        alone = places[inside.index(False)][-1]
        raise UsageError(
            f"{roots[0]} holds images both in sub-folders, which are classes, and beside them, such as "
            f"{printable(alone)}: move it into one of them."
        )
    return sorted({place[0] for place in places}) if all(inside) else []


def read_image(path: epath.Path, size: int | None) -> np.ndarray:
    """One image, [height, width, 1 or 3] uint8."""
    with reading(path, "repair or remove it"), path.open("rb") as file:
        return decode_image(file, size)


def decode_image(file: IO[bytes], size: int | None = None) -> np.ndarray:
    """The image of an open PNG or JPEG file, [height, width, 1 or 3] uint8."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(opened_image(file))  # decodes the whole file
    _check_mode(image.mode)
    image = image.convert("L" if image.mode in _GREY else "RGB")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def channels_and_size(path: epath.Path) -> tuple[int, tuple[int, int]]:
    """Number of channels and (height, width) of an image as it is shown, from its header alone."""
    from PIL import ExifTags

    with reading(path, "repair or remove it"), path.open("rb") as file:
        image = opened_image(file)  # reads the header
        _check_mode(image.mode)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4  # by 90 degrees
        width, height = image.size[::-1] if turned else image.size
    return 1 if image.mode in _GREY else 3, (height, width)


def _check_mode(mode: str) -> None:
    if mode not in _GREY + _COLOUR:
        raise ValueError(f"pixels of the kind {mode} are not 8-bit")


def other_size(
    path: epath.Path, size: Sequence[int], first: epath.Path, first_size: Sequence[int]
) -> UsageError:
    """The sentence about an image whose size, (height, width, ...), differs from that of the first."""
    return UsageError(
        f"{path} has the size {size[1]}x{size[0]}, and {first} has {first_size[1]}x{first_size[0]}: set "
        "size to resize all images to one."
    )

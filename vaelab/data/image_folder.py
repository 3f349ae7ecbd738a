"""Folders of PNG and JPEG images."""

from __future__ import annotations

from collections.abc import Sequence

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
    return folder.is_dir() and any(True for _ in _images_in(folder))


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
    paths = [sorted(_images_in(root)) for root in roots]
    for root, found in zip(roots, paths, strict=True):
        if not found:
            raise UsageError(f"{root} holds no PNG or JPEG files: name a folder with images.")
    flat: list[np.ndarray] = []
    flat_paths = [path for found in paths for path in found]
    for path in flat_paths:
        image = _read(path, size)
        flat.append(image)
        if image.shape[:2] != flat[0].shape[:2]:
            raise UsageError(
                f"{path} has the size {_size(image)}, and {flat_paths[0]} has {_size(flat[0])}: set size "
                "to resize all images to one."
            )
        if len(flat) == 1:
            with reading(roots[0], "set size, or use fewer images"):
                check_memory(len(flat_paths) * image.size)
    channels = max(image.shape[-1] for image in flat)
    rest = iter(flat)
    images = [[next(rest) for _ in found] for found in paths]
    classes = _classes(roots, paths)
    parts = []
    for root, found, part in zip(roots, paths, images, strict=True):
        x = np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in part])
        labels = (
            [classes.index(path.relative_to(root).parts[0]) for path in found] if classes else None
        )
        parts.append(Examples(x, None if labels is None else np.array(labels, np.int32)))
    return parts


def _images_in(folder: epath.Path):
    found = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
    return (path for path in found if path.suffix.lower() in _SUFFIXES)


def _classes(roots: Sequence[epath.Path], paths: Sequence[Sequence[epath.Path]]) -> list[str]:
    """The sorted names of sub-folders with images. None of them if no image lies in a sub-folder."""
    places = [path.relative_to(root).parts for root, found in zip(roots, paths, strict=True) for path in found]  # fmt: skip
    inside = [len(place) > 1 for place in places]
    if any(inside) and not all(inside):
        alone = places[inside.index(False)][-1]
        raise UsageError(
            f"{roots[0]} holds images both in sub-folders, which are classes, and beside them, such as "
            f"{printable(alone)}: move it into one of them."
        )
    return sorted({place[0] for place in places}) if all(inside) else []


def _read(path: epath.Path, size: int | None) -> np.ndarray:
    """One image, [height, width, 1 or 3] uint8."""
    from PIL import Image, ImageOps

    with reading(path, "repair or remove it"), path.open("rb") as file:
        image = ImageOps.exif_transpose(opened_image(file))  # decodes the whole file
        if image.mode not in _GREY + _COLOUR:
            raise ValueError(f"pixels of the kind {image.mode} are not 8-bit")
        image = image.convert("L" if image.mode in _GREY else "RGB")
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _size(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    return f"{width}x{height}"

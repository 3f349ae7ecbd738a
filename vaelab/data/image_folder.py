"""PNG and JPEG files, alone and in folders. They are decoded only if their size is one of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import reading
from vaelab.untrusted import printable

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "PA")
_LARGEST_IMAGE = 2**26  # pixels; a file of some kilobytes may claim any number


def is_image_folder(folder: epath.Path) -> bool:
    """True for a folder with images in it or in its sub-folders."""
    return folder.is_dir() and any(True for _ in images_in(folder))


def images_in(folder: epath.Path) -> Iterator[epath.Path]:
    """The PNG and JPEG files of a folder and of its sub-folders."""
    found = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
    return (path for path in found if path.suffix.lower() in _SUFFIXES)


def class_names(roots: Sequence[epath.Path], paths: Sequence[Sequence[epath.Path]]) -> list[str]:
    """The sorted names of sub-folders with images. None at all if no image lies in a sub-folder."""
    places = [path.relative_to(root).parts for root, found in zip(roots, paths, strict=True) for path in found]  # fmt: skip
    inside = [len(place) > 1 for place in places]
    if any(inside) and not all(inside):
        alone = places[inside.index(False)][-1]
        raise UsageError(
            f"{roots[0]} holds images both in sub-folders, which are classes, and beside them, such as "
            f"{printable(alone)}: move it into one of them."
        )
    return sorted({place[0] for place in places}) if all(inside) else []


def opened_image(file: IO[bytes]) -> Image.Image:
    """The image of a PNG or JPEG file. Its pixels are not decoded yet.

    Other formats are refused whatever the file's name: Pillow starts another program for some of them.

    Raises:
      ValueError: the file is of another format, or the image has too many pixels.
      Exception: errors of many kinds, of Pillow.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(file, formats=("PNG", "JPEG"))
    except UnidentifiedImageError:
        raise ValueError("it is no PNG or JPEG image") from None
    width, height = image.size
    if width * height > _LARGEST_IMAGE:
        raise ValueError(
            f"{width}x{height} pixels are more than the {_LARGEST_IMAGE} that are read"
        )
    return image


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

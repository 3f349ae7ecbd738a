"""Images of PNG and JPEG files, decoded only if their size is one of an image."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

LARGEST_IMAGE = 2**26  # pixels; a file of some kilobytes may claim any number


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
    if width * height > LARGEST_IMAGE:
        raise ValueError(f"{width}x{height} pixels are more than the {LARGEST_IMAGE} that are read")
    return image

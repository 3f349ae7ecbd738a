"""The overlapping square windows of images, which local constraints compare."""

from __future__ import annotations

import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.types import Array


def windows(x: Array, *, size: int, stride: int) -> Array:
    """Square windows of images. [..., h, w, c] -> [..., rows, columns, size, size, c].

    Windows start at every `stride`-th pixel. The last window of each row and column ends with the image, so
    that every pixel lies in a window. Windows are copied and not summed by box filters: in float32 the
    variance E[x²] − E[x]² of a nearly constant window has no digits. Memory and time are about
    (size / stride)² times those of the image.

    Raises:
      UsageError: x holds no images, or the windows are larger than the images.

    >>> windows(jnp.arange(5.0).reshape(1, 5, 1), size=1, stride=1).ravel()
    Array([0., 1., 2., 3., 4.], dtype=float32...)
    >>> windows(jnp.zeros((7, 28, 28, 3)), size=8, stride=4).shape
    (7, 6, 6, 8, 8, 3)
    """
    if x.ndim < 3:
        raise UsageError(
            f"windows need images [..., height, width, channels], got an array of {x.shape}: choose "
            "features that need no images."
        )
    height, width = x.shape[-3:-1]
    if size > min(height, width):
        raise UsageError(
            f"a window of {size}x{size} pixels is larger than images of {height}x{width}: choose one "
            f"of at most {min(height, width)}."
        )
    rows = [x[..., start : start + size, :, :] for start in _starts(height, size, stride)]
    bands = jnp.stack(rows, axis=-4)  # [..., rows, size, w, c]
    columns = [bands[..., start : start + size, :] for start in _starts(width, size, stride)]
    return jnp.stack(columns, axis=-4)


def check_windows(size_name: str, size: int, stride: int) -> None:
    """Raises unless windows of this size and stride exist and cover an image."""
    check_at_least_one(**{size_name: size})
    if not 1 <= stride <= size:
        raise UsageError(
            f"stride must lie in [1, {size}], the {size_name}, so that every pixel counts, got {stride}."
        )


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = length - size
    return [*range(0, last, stride), last]

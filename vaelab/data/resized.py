"""The images of any data set at another size."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vaelab.checks import UsageError, check_at_least_one, check_values
from vaelab.data.dataset import Binarisation, DataSet, GreyImages, LabelMeaning
from vaelab.data.given import as_data_set
from vaelab.data.show import Shown
from vaelab.data.treatments import to_8_bits
from vaelab.types import Array, Examples, Splits


@dataclasses.dataclass(frozen=True)
class Resized(GreyImages):
    """Images of another data set at size x size, grey or in colour. Context images are resized as well.

    Interpolation is bilinear, antialiased if it shrinks, and rounded to 8 bits. Binarisation follows
    the resizing: the source's own binarisation is ignored. `Resized` can be the source of made
    data sets: `MNISTSum(source=Resized(MNIST(), 16))`.

    Raises:
      UsageError: a size below 1, or a source that treats its batches: resize first, then treat.
    """

    binarisation: Binarisation = dataclasses.field(default="none", kw_only=True)
    source: DataSet
    """Data set of images, or anything that `as_data_set` takes, such as an array."""
    size: int
    """Height and width of the images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", as_data_set(self.source))
        check_at_least_one(size=self.size)
        self.source.check_resizable()

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning

    def pinned(self, data_dir: str | None = None) -> DataSet:
        return dataclasses.replace(self, source=self.source.pinned(data_dir))

    def grey(self, data_dir: str | None = None) -> Splits:
        splits = self.source.untreated(data_dir)
        for name, part in splits.parts.items():
            _check_images(f"Resized: {name}.x", part.x)
        return splits.map(self._resize)

    def show(self, x: npt.ArrayLike) -> Shown | None:
        return self.source.show(x)

    def _resize(self, split: Examples) -> Examples:
        context = split.context
        return split._replace(
            x=_resize(split.x, self.size),
            context=None if context is None else _resize(context, self.size),
        )


def _check_images(name: str, images: np.ndarray) -> None:
    """Raises unless these are images with values in [0, 1], which 8 bits can hold."""
    if images.ndim != 4:
        raise UsageError(
            f"{name} must be images [N, height, width, channels], got the shape {images.shape}: choose "
            "a source of images."
        )
    check_values(name, images, 0.0, 1.0)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    return jax.device_get(_resize_images(jnp.asarray(images), size))


@partial(jax.jit, static_argnames="size")
def _resize_images(images: Array, size: int) -> Array:
    shape = (len(images), size, size, images.shape[-1])
    return to_8_bits(jax.image.resize(images, shape, "linear"))

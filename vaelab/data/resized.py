"""The images of any data set at another size."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from vaelab.checks import check_at_least_one
from vaelab.data.dataset import Binarisation, DataSet, GreyImages
from vaelab.data.treatments import to_8_bits
from vaelab.types import Array, Examples, Splits


@dataclasses.dataclass(frozen=True)
class Resized(GreyImages):
    """Images of another data set at size x size, in colour too; context images likewise.

    Bilinear, antialiased where it shrinks, and rounded to 8 bits. The source's grey images are resized,
    whatever its own binarisation, and then binarised as this data set defines. It can be the source of
    made data sets: `MNISTSum(source=Resized(MNIST(), 16))`.

    Raises:
      UsageError: a size below 1, or a source that treats its batches: resize first, then treat.
    """

    binarisation: Binarisation = dataclasses.field(default="none", kw_only=True)
    source: DataSet
    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(size=self.size)
        self.source.check_resizable()

    def grey(self, data_dir: str | None = None) -> Splits:
        return self.source.untreated(data_dir).map(self._resize)

    def show(self, x: npt.ArrayLike) -> np.ndarray | None:
        return self.source.show(x)

    def _resize(self, split: Examples) -> Examples:
        context = split.context
        return split._replace(
            x=_resize(split.x, self.size),
            context=None if context is None else _resize(context, self.size),
        )


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    return jax.device_get(_resize_images(jnp.asarray(images), size))


@partial(jax.jit, static_argnames="size")
def _resize_images(images: Array, size: int) -> Array:
    shape = (len(images), size, size, images.shape[-1])
    return to_8_bits(jax.image.resize(images, shape, "linear"))

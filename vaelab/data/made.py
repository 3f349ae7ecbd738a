"""Data sets made of the digits of another data set: their source, sizes and seed."""

from __future__ import annotations

import abc
import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_values, classes_of
from vaelab.data.dataset import Binarisation, DataSet, GreyImages
from vaelab.data.given import as_data_set
from vaelab.data.mnist import MNIST
from vaelab.types import Array, Examples, PRNGKey, Splits

NUM_DIGITS = 10  # the labels are 0 to 9
GREY_MNIST = MNIST(binarisation="none")

SEED = 0  # of every made data set; each split has a key of its own


@dataclasses.dataclass(frozen=True)
class MadeOfDigits(GreyImages):
    """A data set made of the digits of a source. Each split is made of the same split of the source.

    The source's own binarisation is ignored: x is binarised as this data set defines, and the context
    stays grey.

    Raises:
      UsageError: an empty split; a source whose images are not grey, or that lacks a digit.
    """

    binarisation: Binarisation = dataclasses.field(default="none", kw_only=True)
    source: DataSet = GREY_MNIST
    """Data set of grey images with labels 0 to 9, or anything that `as_data_set` takes."""
    num_train: int = 50_000
    num_validation: int = 10_000
    num_test: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", as_data_set(self.source))
        names = ("num_train", "num_validation", "num_test")
        check_at_least_one(**dict(zip(names, self._sizes(), strict=True)))

    @property
    def num_levels(self) -> int | None:
        return self.source.num_levels

    @abc.abstractmethod
    def make(self, images: Array, labels: Array, key: PRNGKey, *, num_examples: int) -> Examples:
        """Examples made of images [N, height, width, 1] and labels [N]."""

    def pinned(self, data_dir: str | None = None) -> DataSet:
        return dataclasses.replace(self, source=self.source.pinned(data_dir))

    def grey(self, data_dir: str | None = None) -> Splits:
        parts = []
        for index, (name, split) in enumerate(self.source.untreated(data_dir).parts.items()):
            check_digits(f"{type(self).__name__}: {name}", split)
            images, labels = jnp.asarray(split.x), jnp.asarray(split.labels)
            key = jax.random.fold_in(jax.random.key(SEED), index)
            made = self.make(images, labels, key, num_examples=self._sizes()[index])
            parts.append(jax.device_get(made))
        return Splits(*parts)

    def _sizes(self) -> tuple[int, int, int]:
        return self.num_train, self.num_validation, self.num_test


def check_digits(name: str, digits: Examples) -> None:
    """Raises unless these are grey images with labels 0 to 9, two or more of each.

    Raises:
      UsageError: one sentence that begins with `name`.
    """
    if digits.x.ndim != 4 or digits.x.shape[-1] != 1:
        raise UsageError(
            f"{name} is made of grey images [N, height, width, 1], and the source's have the shape "
            f"{digits.x.shape}: choose a source of one channel, such as MNIST."
        )
    check_values(f"{name}: the source", digits.x, 0.0, 1.0)
    try:
        labels = classes_of(digits.labels)
    except UsageError as error:
        raise UsageError(
            f"{name} is made of digits, and {error} Choose a source of digits, such as MNIST."
        ) from None
    counts = np.bincount(labels, minlength=NUM_DIGITS)
    if len(counts) != NUM_DIGITS or counts.min() < 2:
        raise UsageError(
            f"{name} needs the labels 0 to 9 and two images or more of each, and the source has "
            f"{len(counts)} labels, the rarest with {counts.min()} images: choose a source of digits, "
            "such as MNIST."
        )


def assert_digits(images: Array, labels: Array) -> None:
    """Asserts images [N, height, width, 1] and labels [N]."""
    chex.assert_rank([images, labels], [4, 1])
    chex.assert_axis_dimension(images, 3, 1)
    chex.assert_equal_shape_prefix([images, labels], 1)

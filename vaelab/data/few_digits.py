"""Micro-MNIST: so few digits that a plot can show every posterior."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one
from vaelab.data.dataset import Binarisation, DataSet, GreyImages, LabelMeaning
from vaelab.data.given import as_data_set
from vaelab.data.made import GREY_MNIST, SEED, assert_digits, check_digits
from vaelab.types import Array, Examples, PRNGKey, Splits


@partial(jax.jit, static_argnames="num_examples")
def micro_mnist(images: Array, labels: Array, key: PRNGKey, *, num_examples: int = 7) -> Examples:
    """Micro-MNIST: a few different random images and their labels. Rezende & Viola, 2018, appendix E.1.

    images [N, height, width, 1], labels [N] -> x [num_examples, height, width, 1].

    >>> images, labels = jnp.ones((10, 8, 8, 1)), jnp.arange(10)
    >>> micro_mnist(images, labels, jax.random.key(0)).x.shape
    (7, 8, 8, 1)
    """
    assert_digits(images, labels)
    rows = jax.random.choice(key, len(labels), (num_examples,), replace=False)
    return Examples(images[rows], labels[rows])


@dataclasses.dataclass(frozen=True)
class MicroMNIST(GreyImages):
    """Micro-MNIST, 28x28: 7 training images of the source, also used for validation and test."""

    binarisation: Binarisation = dataclasses.field(default="none", kw_only=True)
    source: DataSet = GREY_MNIST
    """Data set of grey images with labels 0 to 9, or anything that `as_data_set` takes."""
    num_examples: int = 7
    """Number of images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", as_data_set(self.source))
        check_at_least_one(num_examples=self.num_examples)

    @property
    def label_meaning(self) -> LabelMeaning:
        return self.source.label_meaning

    def pinned(self, data_dir: str | None = None) -> DataSet:
        return dataclasses.replace(self, source=self.source.pinned(data_dir))

    def grey(self, data_dir: str | None = None) -> Splits:
        train = self.source.untreated(data_dir).train
        check_digits("MicroMNIST", train)
        if self.num_examples > len(train.x):
            raise UsageError(
                f"num_examples must be at most {len(train.x)}, the source's training images, got "
                f"{self.num_examples}."
            )
        images, labels = jnp.asarray(train.x), jnp.asarray(train.labels)
        few = micro_mnist(images, labels, jax.random.key(SEED), num_examples=self.num_examples)
        few = jax.device_get(few)
        return Splits(few, few, few)

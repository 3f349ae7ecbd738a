"""Splits that stay in their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from etils import epath

from vaelab.data.conversion import as_floats
from vaelab.data.parts import PARTS, Fractions, rows_of_parts
from vaelab.data.readers import read_npy
from vaelab.streams import ArrayStream, Stream
from vaelab.types import Examples, Scaling, Splits


class StreamedSplits(NamedTuple):
    """The three parts of a data set, none of them in memory."""

    train: Stream
    validation: Stream
    test: Stream
    scaling: Scaling | None = None  # as in `Splits`
    conversions: tuple[str, ...] = ()  # as in `Splits`

    def map(self, function: Callable[[Examples], Examples]) -> StreamedSplits:
        """The splits with `function` applied to the examples of each part."""
        train, validation, test = (
            part.map(function) for part in (self.train, self.validation, self.test)
        )
        return self._replace(train=train, validation=validation, test=test)

    def read(self) -> Splits:
        """All examples in memory."""
        train, validation, test = (part.read() for part in self[:3])
        return Splits(train, validation, test, self.scaling, self.conversions)

    def sampled(self, num_bytes: int) -> Splits:
        """Validation and test in memory, at most `num_bytes` of each, and a random subset of train."""
        sentences: list[str] = []
        parts = {}
        for name, stream in (("validation", self.validation), ("test", self.test)):
            parts[name] = part = stream.sample(num_bytes)
            if part.num_examples < stream.num_examples:
                sentences.append(
                    f"{name} is a random subset of {part.num_examples:,} of {stream.num_examples:,} examples, "
                    f"which fills {num_bytes / 2**30:.3g} GiB of memory."
                )
        return Splits(
            self.train.sample(), **parts, scaling=self.scaling,
            conversions=(*self.conversions, *sentences),
        )  # fmt: skip


def streamed_splits(
    parts: Mapping[str, Stream], fractions: Fractions, seed: int, conversions: tuple[str, ...] = ()
) -> StreamedSplits:
    """The three parts. Those that are missing are cut from `train`, with the rows that `Arrays` cuts.

    >>> stream = ArrayStream(Examples(np.zeros((20, 3), np.float32)))
    >>> [part.num_examples for part in streamed_splits({"train": stream}, (0.8, 0.1, 0.1), 0)[:3]]
    [16, 2, 2]
    """
    train = parts["train"]
    shares = {
        name: share
        for name, share in zip(PARTS, fractions, strict=True)
        if name == "train" or name not in parts
    }
    if len(shares) > 1:
        rows = rows_of_parts(train.num_examples, shares, seed)
        parts = {**parts, **{name: train.take(each) for name, each in rows.items()}}
    return StreamedSplits(
        parts["train"], parts["validation"], parts["test"], conversions=conversions
    )


def map_npy(path: epath.Path) -> dict[str, Stream] | None:
    """The training part of an npy file, mapped into the memory. None if the file cannot be mapped."""
    if not os.path.isfile(path):
        return None  # in an object store
    x = read_npy(path, mapped=True)
    if x.ndim < 2 or not x.size:
        return None  # `load` raises the error

    def convert(rows: np.ndarray) -> np.ndarray:
        return rows if rows.dtype == np.uint8 else as_floats(f"{path}: x", rows)[0]

    return {"train": ArrayStream(Examples(x), convert)}

"""Splits that stay in their files."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from etils import epath

from vaelab.data.conversion import as_floats
from vaelab.data.parts import Fractions, rows_of_parts
from vaelab.data.readers import read_npy
from vaelab.streams import ArrayStream, Stream, StreamedSplits
from vaelab.types import Examples

_PARTS = ("train", "validation", "test")


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
        for name, share in zip(_PARTS, fractions, strict=True)
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
        return None  # `load` says what is wrong

    def convert(rows: np.ndarray) -> np.ndarray:
        return rows if rows.dtype == np.uint8 else as_floats(f"{path}: x", rows)[0]

    return {"train": ArrayStream(Examples(x), convert)}

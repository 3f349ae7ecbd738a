"""Random cuts of examples into train, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vaelab.checks import UsageError, check_not_negative
from vaelab.types import Examples

PARTS = ("train", "validation", "test")
Fractions = tuple[float, float, float]


def check_cut(fractions: Sequence[float], seed: int) -> None:
    """Raises unless the fractions are three shares that sum to 1 and the seed is not negative.

    >>> check_cut((0.8, 0.1, 0.2), seed=0)
    Traceback (most recent call last):
    vaelab.UsageError: fractions must be three positive shares of train, validation and test that sum to 1, got ...
    """
    if (
        len(fractions) != 3
        or not all(0 < share < 1 for share in fractions)
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        raise UsageError(
            "fractions must be three positive shares of train, validation and test that sum to 1, got "
            f"{tuple(fractions)}."
        )
    check_not_negative(seed=seed)


def cut(examples: Examples, shares: dict[str, float], seed: int) -> dict[str, Examples]:
    """A random part of the examples for each name. The parts are disjoint and have about their shares.

    The shares are relative to their sum. The cut ignores groups. A single part keeps the order.

    Raises:
      UsageError: a part would be empty.

    >>> parts = cut(Examples(np.arange(10.0)[:, None]), {"train": 0.8, "test": 0.2}, seed=0)
    >>> {name: len(part.x) for name, part in parts.items()}
    {'train': 8, 'test': 2}
    """
    if len(shares) == 1:
        return dict.fromkeys(shares, examples)
    rows = rows_of_parts(len(examples.x), shares, seed)
    return {name: examples.take(part) for name, part in rows.items()}


def rows_of_parts(num_examples: int, shares: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    """The rows that `cut` takes for each part.

    Raises:
      UsageError: a part would be empty.
    """
    ends = np.rint(num_examples * np.cumsum(list(shares.values())) / sum(shares.values()))
    order = np.random.default_rng(seed).permutation(num_examples)
    rows = dict(zip(shares, np.split(order, ends[:-1].astype(int)), strict=True))
    for name, part in rows.items():
        if not len(part):
            raise UsageError(
                f"fractions leave {name} empty, with {shares[name]:g} of {num_examples} examples: give "
                "more examples, or a larger fraction."
            )
    return rows

"""Cuts examples into train, validation and test, at random and by fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vaelab.checks import UsageError
from vaelab.types import Examples

Fractions = tuple[float, float, float]


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises unless these are three shares that sum to 1.

    >>> check_fractions((0.8, 0.1, 0.2))
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


def cut(examples: Examples, shares: dict[str, float], seed: int) -> dict[str, Examples]:
    """A random part of the examples for each name, without overlap, of about its share of all.

    The shares are relative to their sum. Rows are drawn one by one, whatever their group. A share of 1
    keeps the examples in their order.

    Raises:
      UsageError: a part would be empty.

    >>> parts = cut(Examples(np.arange(10.0)[:, None]), {"train": 0.8, "test": 0.2}, seed=0)
    >>> {name: len(part.x) for name, part in parts.items()}
    {'train': 8, 'test': 2}
    """
    num_examples = len(examples.x)
    if len(shares) == 1:
        return dict.fromkeys(shares, examples)
    ends = np.rint(num_examples * np.cumsum(list(shares.values())) / sum(shares.values()))
    order = np.random.default_rng(seed).permutation(num_examples)
    rows = dict(zip(shares, np.split(order, ends[:-1].astype(int)), strict=True))
    for name, part in rows.items():
        if not len(part):
            raise UsageError(
                f"fractions leave {name} empty, with {shares[name]:g} of {num_examples} examples: give "
                "more examples, or a larger fraction."
            )
    return {name: examples.take(part) for name, part in rows.items()}

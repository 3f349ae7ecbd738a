"""Rows of the benchmark's table: ratios with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table
from scipy import stats


class Row(NamedTuple):
    """A ratio of times: median over rounds, and 95 % t interval of the mean."""

    name: str
    ratio: float
    low: float
    high: float
    goal: str = ""
    milliseconds: float = float("nan")  # of the divisor, median
    detail: str = ""

    def with_parts(
        self,
        times: Sequence[float],
        products: Sequence[float],
        flops: float,
        per_byte: Sequence[float],
        num_bytes: float,
    ) -> Row:
        """The row with the parts of its limit in words."""
        product, bandwidth = float(np.median(products)), 1e-9 / float(np.median(per_byte))
        moved = num_bytes * float(np.median(per_byte))
        share = product / float(np.median(times))
        return self._replace(
            detail=f"products {1e3 * product:.2f} ms ({flops / product / 1e9:.0f} GFLOP/s), "
            f"{num_bytes / 1e6:.0f} MB {1e3 * moved:.2f} ms ({bandwidth:.1f} GB/s); products / step {share:.2f}"
        )  # fmt: skip


def row(name: str, first: Sequence[float], second: Sequence[float], goal: str = "") -> Row:
    """Time of the first divided by the time of the second, round by round.

    >>> row("twice", [2.0, 4.0], [1.0, 2.0]).ratio
    2.0
    """
    values = np.divide(first, second)
    half = 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    mean = float(values.mean())
    milliseconds = 1e3 * float(np.median(second))
    return Row(name, float(np.median(values)), mean - half, mean + half, goal, milliseconds)


def table(rows: Sequence[Row]) -> Table:
    """A line for each ratio."""
    shown = Table("", "ratio", "low", "high", "goal", "ms", "limit", title="Ratios of times")
    for each in rows:
        numbers = (f"{number:.2f}" for number in each[1:4])
        shown.add_row(each.name, *numbers, each.goal, f"{each.milliseconds:.2f}", each.detail)
    shown.caption = "Medians over rounds, and 95 % intervals of the mean. ms: time of the divisor."
    return shown

"""The error of a sampled prior over its number of inner samples."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.figure import one_panel, width_of
from vaelab.plotting.style import INK, PALETTE, set_style


def inner_samples(
    num_samples: Sequence[int],
    excess: npt.ArrayLike,
    standard_error: npt.ArrayLike,
    *,
    ax: Axes | None = None,
) -> Figure:
    """The excess of the estimated rate of a sampled prior, over its number of inner samples.

    What to see: curves that fall to 0, the rate with the most samples. Their height at the left is
    the error of the prior's own encoder.

    Args:
      num_samples: [J] inner samples, ascending.
      excess: [M, J], nats, of M runs: rate minus the rate with the most inner samples.
      standard_error: [M, J], of the excess.
      ax: the axes to draw into. None makes a figure.

    Raises:
      UsageError: shapes do not fit.

    >>> figure = inner_samples([1, 4], [[0.3, 0.0]], [[0.01, 0.0]])
    >>> figure.axes[0].get_xlabel()
    'inner samples K'
    """
    excess, error = np.asarray(excess, float), np.asarray(standard_error, float)
    if excess.shape != error.shape or excess.ndim != 2 or excess.shape[1] != len(num_samples):
        raise UsageError(
            f"excess and standard_error must be [M, {len(num_samples)}], got {excess.shape} and "
            f"{error.shape}."
        )
    figure, axes = one_panel(ax, (5.2, 3.4))
    set_style(axes)
    for run, (values, errors) in enumerate(zip(excess, error, strict=True)):
        # Side by side, or the bars would hide each other.
        shift = 1.04 ** (run - (len(excess) - 1) / 2)
        axes.errorbar(
            np.asarray(num_samples) * shift, values, yerr=errors, label=f"seed {run}", marker="o",
            markersize=4, linewidth=1.4, capsize=2.5, color=PALETTE[1::2][run % 5],
        )  # fmt: skip
    axes.axhline(0, color=INK, linestyle="--", linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.set_xticks(num_samples, [str(count) for count in num_samples])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("inner samples K", fontsize=9, color=INK)
    axes.set_ylabel(f"rate(K) − rate({num_samples[-1]}), nats", fontsize=9, color=INK)
    lines = (
        "Rate under the hierarchical prior, same models, test images",
        "bars: standard error of the difference, over images",
    )
    width = 5.2 if ax is None else width_of(ax)
    wrapped = [part for line in lines for part in textwrap.wrap(line, max(20, int(14 * width)))]
    axes.set_title("\n".join(wrapped), loc="left", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure

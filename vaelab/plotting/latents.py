"""The latents of the data, over the mass of the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import UsageError
from vaelab.plotting.figure import one_panel, width_of
from vaelab.plotting.labels import class_names, mark_turn, value_colours
from vaelab.plotting.projection import principal_plane
from vaelab.plotting.style import GREY, INDIGO, INK, PALETTE, PRIOR, set_style

MASSES = {
    0.95: "#f0f0f0",
    0.75: "#dcdcdc",
    0.5: "#c6c6c6",
    0.25: "#aeaeae",
}  # mass of the prior: shade

_OUTSIDE: dict[str, Any] = {
    "loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0, "frameon": False,
    "fontsize": 9, "title_fontsize": 9,
}  # fmt: skip
_INSIDE: dict[str, Any] = {
    "loc": "best", "framealpha": 0.7, "edgecolor": "none", "fontsize": 7.5, "title_fontsize": 7.5,
    "labelspacing": 0.25, "markerscale": 0.8, "handlelength": 0.8, "borderpad": 0.1,
    "borderaxespad": 0.1, "columnspacing": 0.6,
}  # fmt: skip


def latent_space(
    latents: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    log_density: npt.ArrayLike | None = None,
    extent: tuple[float, float, float, float] | None = None,
    prior_samples: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    label: str = "label",
    period: float | None = None,
    level: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Where the data are in the latent space, and where the prior has its mass.

    What to see: points in the shaded regions of the prior, and no region without points. Shade
    without points is a hole: samples from there are odd. Points without shade cost rate. The code
    tells classes apart if their points are apart.

    The shaded regions are the smallest that hold 25, 50, 75 and 95 % of the prior's mass within
    `extent`. With more than two dimensions, `latents` and `prior_samples` (the grey dots) are
    projected to the first two principal axes of `latents`, by a singular value decomposition of the
    centred latents. The largest loading of each axis is positive.

    Args:
      latents: [N, D], D ≥ 2, for example the means of the encoder.
      labels: [N], or None. Up to ten classes get a colour each. More classes, and real-valued
        labels, are values on a scale.
      log_density: [G, G'], the log density of the prior on a grid, for D = 2: rows along z_2 from
        bottom to top, columns along z_1 from left to right. Its constant does not matter.
      extent: (left, right, bottom, top), the coordinates of the outermost points of the grid.
      prior_samples: [M, D].
      names: names of the classes 0, 1, ... for the legend. Empty: the numbers.
      label: the name of the labels.
      period: the period of real-valued labels, such as 2π for angles, whose colours then close a
        circle.
      level: the number of the level, for the title; 0 is the top. None for a model with one level.
      ax: the axes to draw into. Their legend is inside the panel. None makes a figure.

    Raises:
      UsageError: shapes do not fit, latents are not finite, `log_density` has no `extent` or D > 2,
        more than ten labels are not numbers, a class has no name, or the period is not positive.

    >>> z = np.array([[3, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])
    >>> latent_space(z).axes[0].get_xlabel()
    'principal axis 1 (90 % of variance)'
    """
    z = np.asarray(latents, float)
    if z.ndim != 2 or z.shape[0] < 2 or z.shape[1] < 2:
        raise UsageError(f"latents must be [N, D] with N ≥ 2 and D ≥ 2, got {z.shape}.")
    num_dims = z.shape[1]
    prior = np.empty((0, num_dims)) if prior_samples is None else np.asarray(prior_samples, float)
    if prior.ndim != 2 or prior.shape[1] != num_dims:
        raise UsageError(f"prior_samples must be [M, {num_dims}] like latents, got {prior.shape}.")
    if log_density is not None and (extent is None or num_dims != 2):
        raise UsageError(
            f"log_density needs an extent and two latent dimensions, got extent {extent} and "
            f"{num_dims} dimensions; pass prior_samples instead."
        )
    if not (np.isfinite(z).all() and np.isfinite(prior).all()):
        raise UsageError("latents and prior_samples must be finite, got NaN or infinity.")
    plane = principal_plane(z)
    z, prior = plane.project(z), plane.project(prior)

    figure, axes = one_panel(ax, (6.4, 5.2))
    set_style(axes)
    axes.grid(False)
    handles = []
    if log_density is not None and extent is not None:
        handles += draw_contours(axes, np.asarray(log_density, float), extent)
    if len(prior):
        axes.scatter(
            prior[:, 0], prior[:, 1], s=10, color=PRIOR, linewidths=0, zorder=1, rasterized=True
        )
        handles.append(marker_handle(PRIOR, "samples of the prior"))
    classes, scale = _coloured_scatter(
        axes, z, None if labels is None else np.asarray(labels), names, period
    )
    axes.set_aspect("equal", adjustable="datalim")
    if classes or handles:
        axes.legend(
            handles=classes + handles, title=label if classes else None, alignment="left",
            labelcolor=INK, handletextpad=0.4, **(_OUTSIDE if ax is None else _INSIDE),
        )  # fmt: skip
    if scale is not None:
        share = min(0.8 / width_of(axes), 0.6)
        if ax is not None:
            # The colour bar is inside the panel, in a column without points.
            box = axes.dataLim
            axes.update_datalim([(box.x0 + box.width / (1 - share), box.y0)])
            axes.autoscale_view()
        left = 1.04 if ax is None else 1 - share + 0.03
        bar = axes.inset_axes((left, 0, 0.04, 0.6))  # below the legend
        figure.colorbar(scale, cax=bar).set_label(label, fontsize=9, color=INK)
        mark_turn(bar.yaxis, period)
        bar.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    axes.set_xlabel(plane.names[0], fontsize=10, color=INK)
    axes.set_ylabel(plane.names[1], fontsize=10, color=INK)
    of_level = "" if level is None else f", level {level}{'' if level else ' (top)'},"
    title = f"Latent space{of_level} of {len(z):,} data points"
    if num_dims > 2:
        title += f", {num_dims} dimensions projected to 2"
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    return figure


def draw_contours(
    axes: Axes, log_density: np.ndarray, extent: tuple[float, float, float, float]
) -> list[Line2D]:
    """Shades the highest-density regions and returns the handles of their legend."""
    if log_density.ndim != 2 or min(log_density.shape) < 2 or np.any(np.isnan(log_density)):
        raise UsageError(
            f"log_density must be a grid [G, G'] without NaN, got shape {log_density.shape}."
        )
    levels = highest_density_levels(log_density)
    levels, first = np.unique(levels, return_index=True)  # a plateau may hold several levels
    shades = list(MASSES.values())
    z = np.maximum(log_density, levels[0] - 20)  # −inf would make the contours NaN
    x = np.linspace(*extent[:2], z.shape[1])
    y = np.linspace(*extent[2:], z.shape[0])
    edges = [*levels, max(z.max(), levels[-1]) + 1]
    axes.contourf(x, y, z, levels=edges, colors=[shades[i] for i in first], zorder=0)
    lines: dict[str, Any] = {"colors": GREY, "linewidths": 0.7, "linestyles": "solid"}
    axes.contour(x, y, z, levels=levels, zorder=4, **lines)
    return [
        marker_handle(shade, f"{100 * mass:.0f} % of the prior", marker="s", markeredgecolor=GREY)
        for mass, shade in MASSES.items()
    ]


def highest_density_levels(log_density: np.ndarray) -> np.ndarray:
    """The log densities above which the grid has `MASSES` of its mass, ascending."""
    descending = np.sort(log_density, axis=None)[::-1]
    mass = np.cumsum(np.exp(descending - descending[0]))
    return descending[np.searchsorted(mass, np.array(list(MASSES)) * mass[-1])]


def _coloured_scatter(
    axes: Axes,
    z: np.ndarray,
    labels: np.ndarray | None,
    names: Sequence[str],
    period: float | None,
) -> tuple[list[Line2D], PathCollection | None]:
    """Points in the colours of their labels. Returns the handles of classes, and the points on a scale."""
    style: dict[str, Any] = {"linewidths": 0, "alpha": 0.8, "rasterized": True, "zorder": 2}
    style["s"] = np.clip(16000 / len(z), 5, 22)
    if labels is None:
        axes.scatter(z[:, 0], z[:, 1], color=INDIGO, **style)
        return [], None
    if labels.shape != (len(z),):
        raise UsageError(f"labels must be [{len(z)}] like latents, got {labels.shape}.")
    values, indices = np.unique(labels, return_inverse=True)
    # In random order, or the last class would cover the others.
    order = np.random.default_rng(0).permutation(len(z))
    x, y = z[order].T
    if len(values) <= len(PALETTE) and labels.dtype.kind != "f":
        axes.scatter(x, y, c=np.array(PALETTE)[indices[order]].tolist(), **style)
        shown = class_names(values, names)
        return [marker_handle(PALETTE[i], name) for i, name in enumerate(shown)], None
    if not np.issubdtype(labels.dtype, np.number):
        raise UsageError(f"labels must be at most ten names, or numbers, got {len(values)} names.")
    colours = value_colours(values, period)
    shown_labels = labels[order] % period if period else labels[order]
    style |= {"cmap": colours.cmap, "norm": colours.norm}
    return [], axes.scatter(x, y, c=shown_labels, **style)


def marker_handle(colour: str, label: str, **style: Any) -> Line2D:
    """The entry of a legend for markers of one colour."""
    shape: dict[str, Any] = {"marker": "o", "markersize": 7, "markeredgewidth": 0.7} | style
    return Line2D([], [], linestyle="none", color=colour, label=label, **shape)

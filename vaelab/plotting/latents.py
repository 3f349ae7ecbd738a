"""The data's latents over the prior's mass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.checks import UsageError
from vaelab.plotting.layout import new_figure
from vaelab.plotting.style import GREY, INDIGO, INK, PALETTE, PRIOR, set_style

MASSES = {0.95: "#f0f0f0", 0.75: "#dcdcdc", 0.5: "#c6c6c6", 0.25: "#aeaeae"}  # of prior, and shade


def latent_space(
    latents: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    log_density: npt.ArrayLike | None = None,
    extent: tuple[float, float, float, float] | None = None,
    prior_samples: npt.ArrayLike | None = None,
    level: int | None = None,
) -> Figure:
    """Where the data lie in the latent space, and whether the prior lies there too.

    What to see: points in the prior's shaded regions, and no region without points. Shade without
    points is a hole, from which odd samples come; points without shade cost rate. Classes that
    keep apart are told apart by the code.

    The shaded regions are the smallest that hold 25, 50, 75 and 95 % of the prior's mass within
    `extent`. More than two dimensions are projected to the first two principal axes of `latents`
    (centred, by a singular value decomposition, each axis's largest loading positive), and
    `prior_samples`, the grey dots, with them.

    Args:
      latents: [N, D], D ≥ 2, for example the encoder's means.
      labels: [N], or None. Up to ten classes get a colour each; more, and real-valued labels, are
        values on a scale.
      log_density: [G, G'], the prior's log density on a grid, for D = 2: rows along z_2 from
        bottom to top, columns along z_1 from left to right. It need not be normalised.
      level: the model's level, for the title; None where there is one.
      extent: (left, right, bottom, top), the coordinates of the grid's outermost points.
      prior_samples: [M, D].

    Raises:
      UsageError: shapes do not fit, latents are not finite, `log_density` comes without `extent`
        or with D > 2, or more than ten labels are not numbers.

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
    axis_names = ["$z_1$", "$z_2$"]
    if num_dims > 2:
        centre = z.mean(0)
        _, singular_values, axes_t = np.linalg.svd(z - centre, full_matrices=False)
        shares = singular_values**2 / max(np.sum(singular_values**2), np.finfo(float).tiny)
        axis_names = [
            f"principal axis {i} ({100 * share:.0f} % of variance)"
            for i, share in enumerate(shares[:2], 1)
        ]
        largest = np.take_along_axis(axes_t, np.abs(axes_t).argmax(1, keepdims=True), axis=1)
        projection = (axes_t * np.where(largest < 0, -1, 1))[:2].T
        z, prior = (z - centre) @ projection, (prior - centre) @ projection

    figure = new_figure((6.4, 5.2))
    axes = figure.subplots()
    set_style(axes)
    axes.grid(False)
    handles = []
    if log_density is not None and extent is not None:
        handles += draw_contours(axes, np.asarray(log_density, float), extent)
    if len(prior):
        axes.scatter(
            prior[:, 0], prior[:, 1], s=10, color=PRIOR, linewidths=0, zorder=1, rasterized=True
        )
        handles.append(marker_handle(PRIOR, "prior's samples"))
    classes = _coloured_scatter(axes, z, None if labels is None else np.asarray(labels))
    axes.set_aspect("equal", adjustable="datalim")
    if classes or handles:
        axes.legend(
            handles=classes + handles, title="label" if classes else None, alignment="left",
            loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False,
            fontsize=9, title_fontsize=9, labelcolor=INK, handletextpad=0.4,
        )  # fmt: skip
    axes.set_xlabel(axis_names[0], fontsize=10, color=INK)
    axes.set_ylabel(axis_names[1], fontsize=10, color=INK)
    of_level = "" if level is None else f", level {level},"
    title = f"Latent space{of_level} of {len(z):,} data points"
    if num_dims > 2:
        title += f", {num_dims} dimensions projected to 2"
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    return figure


def draw_contours(
    axes: Axes, log_density: np.ndarray, extent: tuple[float, float, float, float]
) -> list[Line2D]:
    """Shades the highest-density regions; returns their legend."""
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
    """Log densities above which the grid holds `MASSES` of its mass, ascending."""
    descending = np.sort(log_density, axis=None)[::-1]
    mass = np.cumsum(np.exp(descending - descending[0]))
    return descending[np.searchsorted(mass, np.array(list(MASSES)) * mass[-1])]


def _coloured_scatter(axes: Axes, z: np.ndarray, labels: np.ndarray | None) -> list[Line2D]:
    """Points coloured by label; returns their legend, or draws a colour bar for a scale."""
    style: dict[str, Any] = {"linewidths": 0, "alpha": 0.8, "rasterized": True, "zorder": 2}
    style["s"] = np.clip(16000 / len(z), 5, 22)
    if labels is None:
        axes.scatter(z[:, 0], z[:, 1], color=INDIGO, **style)
        return []
    if labels.shape != (len(z),):
        raise UsageError(f"labels must be [{len(z)}] like latents, got {labels.shape}.")
    values, indices = np.unique(labels, return_inverse=True)
    # In random order, or the last class would cover the others.
    order = np.random.default_rng(0).permutation(len(z))
    x, y = z[order].T
    if len(values) <= len(PALETTE) and labels.dtype.kind != "f":
        axes.scatter(x, y, c=np.array(PALETTE)[indices[order]].tolist(), **style)
        return [marker_handle(PALETTE[i], str(value)) for i, value in enumerate(values)]
    if not np.issubdtype(labels.dtype, np.number):
        raise UsageError(f"labels must be at most ten names, or numbers, got {len(values)} names.")
    points = axes.scatter(x, y, c=labels[order], cmap="viridis", **style)
    bar = axes.inset_axes((1.04, 0, 0.04, 0.6))  # below the legend
    axes.figure.colorbar(points, cax=bar).set_label("label", fontsize=9, color=INK)
    bar.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    return []


def marker_handle(colour: str, label: str, **style: Any) -> Line2D:
    shape: dict[str, Any] = {"marker": "o", "markersize": 7, "markeredgewidth": 0.7} | style
    return Line2D([], [], linestyle="none", color=colour, label=label, **shape)

"""The posteriors of a few examples in a two-dimensional latent space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vaelab.checks import UsageError
from vaelab.plotting.canvas import checked_images
from vaelab.plotting.densities import shared_window
from vaelab.plotting.figure import DPI, new_figure
from vaelab.plotting.style import INK, PALETTE, PRIOR, set_style


def posterior_scatter(
    samples: Mapping[str, npt.ArrayLike],
    images: npt.ArrayLike,
    *,
    prior_samples: npt.ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """The posterior of each example in a two-dimensional latent space, one panel for each model.

    What to see: tiles. Colours that are apart are examples that the model tells apart. Colours that
    overlap are examples that the constraint does not distinguish. White in the grey area of the
    prior is a hole. Rezende & Viola, 2018, figure 8.

    Args:
      samples: {model: [I, S, 2]}, S samples of q(z|x_i) for each of I ≤ 10 examples.
      images: [I, height, width, C] in [0, 1], the examples. Each has a frame in its colour.
      prior_samples: [M, 2], the grey dots, or None.
      title: a line above all panels.

    Raises:
      UsageError: there are no models or more than ten examples, shapes do not fit, or samples are
        not finite.

    >>> z = np.random.default_rng(0).normal(size=(3, 20, 2))
    >>> figure = posterior_scatter({"ELBO": z, "RE": z / 2}, np.zeros((3, 8, 8, 1)))
    >>> [axes.get_title("left") for axes in figure.axes[:2]]
    ['ELBO', 'RE']
    """
    if not samples:
        raise UsageError("samples must hold at least one model, got none.")
    shown = checked_images("images", images)
    num = len(shown.rgb)
    if num > len(PALETTE):
        raise UsageError(f"images must be at most {len(PALETTE)}, one for each colour, got {num}.")
    prior = np.empty((0, 2)) if prior_samples is None else np.asarray(prior_samples, float)
    if prior.ndim != 2 or prior.shape[1] != 2 or not np.isfinite(prior).all():
        raise UsageError(f"prior_samples must be [M, 2] and finite, got {prior.shape}.")
    latents = {name: np.asarray(z, float) for name, z in samples.items()}
    for name, z in latents.items():
        if z.ndim != 3 or len(z) != num or z.shape[2] != 2 or not z.size:
            raise UsageError(f"samples of {name!r} must be [{num}, S, 2], got {z.shape}.")
        if not np.isfinite(z).all():
            raise UsageError(f"samples of {name!r} must be finite, got NaN or infinity.")

    columns = min(len(latents), 4)
    num_rows = -(-len(latents) // columns)
    strip = 0.8 + 0.3 * bool(title)
    notes = [*(["grey: prior"] if len(prior) else []), *shown.notes]
    # On whole dots, the same number for each pixel.
    scale = max(1, round(75 / max(shown.rgb.shape[1:3]))) / DPI
    height, width = shown.rgb.shape[1] * scale, shown.rgb.shape[2] * scale
    strip_width = 0.6 + num * (width + 0.18) + 0.08 * max(map(len, notes), default=0)
    size = (max(3.0 * columns, strip_width), 3.3 * num_rows + strip)
    layout = ConstrainedLayoutEngine(compress=True, rect=(0, 0, 1, 1 - strip / size[1]))
    figure = new_figure(size, layout)
    windows = {
        name: _square(np.concatenate([z.reshape(-1, 2), prior])) for name, z in latents.items()
    }
    shared = shared_window(list(windows.values()))
    grid = figure.subplots(num_rows, columns, squeeze=False)
    for axes in grid.flat[len(latents) :]:
        axes.remove()
    for axes, (name, z) in zip(grid.flat, latents.items(), strict=False):
        set_style(axes)
        axes.grid(False)
        axes.scatter(*prior.T, s=5, color=PRIOR, linewidths=0, zorder=1, rasterized=True)
        # In random order, or the last example would cover the others.
        order = np.random.default_rng(0).permutation(z.shape[0] * z.shape[1])
        colours = np.repeat(PALETTE[:num], z.shape[1])[order]
        axes.scatter(*z.reshape(-1, 2)[order].T, s=7, c=colours.tolist(), linewidths=0, alpha=0.8,
                     zorder=2, rasterized=True)  # fmt: skip
        left, right, bottom, top = shared or windows[name]
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.set_xlabel("$z_1$", fontsize=9, color=INK)
        axes.set_title(name, loc="left", fontsize=9.5, color=INK)
    for axes in grid[:, 0]:
        axes.set_ylabel("$z_2$", fontsize=9, color=INK)

    if title:
        figure.text(0.1 / size[0], 1 - 0.1 / size[1], title, va="top", fontsize=11, color=INK)
    y = round((size[1] - strip + 0.1) * DPI) / DPI
    for index, (image, colour) in enumerate(zip(shown.rgb, PALETTE, strict=False)):
        x = round((0.5 + index * (width + 0.18)) * DPI) / DPI
        axes = figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=colour, linewidth=3)
    if notes:
        x, y = 0.5 + num * (width + 0.18), y + height / 2
        text = "\n".join(notes)
        figure.text(x / size[0], y / size[1], text, va="center", fontsize=9, color=INK)
    return figure


def _square(points: np.ndarray) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of the smallest square that holds the points, with a margin of 5 %."""
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, 0.55 * max(*(high - low), 1e-6)
    return (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)

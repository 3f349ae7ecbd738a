"""Images beside images: reconstructions beneath their inputs, and samples in a grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.checks import UsageError
from vaelab.plotting.style import INK


def reconstructions(x: npt.ArrayLike, mean: npt.ArrayLike, *, note: str = "") -> Figure:
    """Inputs, and beneath each its reconstruction: what the code kept, and what it lost.

    What to see: the same object in the same place. Blur is distortion; a sharp image of something
    else is a code that forgot what it saw.

    Args:
      x: [N, height, width, C] inputs in [0, 1], C = 1 (grey) or 3 (colour).
      mean: the decoder's means for them, shaped like x. Values outside [0, 1] are clipped,
        NaN is red.
      note: a sentence below the title.

    Raises:
      UsageError: the shapes differ, there are no images, or they are integers.

    >>> x = np.zeros((3, 8, 8, 1))
    >>> reconstructions(x, x + 0.5).axes[0].images[0].get_array().shape
    (17, 26, 3)
    """
    x, mean = checked_images("x", x), checked_images("mean", mean)
    if x.shape != mean.shape:
        raise UsageError(f"x and mean must have one shape, got {x.shape} and {mean.shape}.")
    num_pairs = -(-len(x) // 10)
    columns = -(-len(x) // num_pairs)
    gap = gap_of(x)
    canvas: list[np.ndarray] = []
    ticks = []
    for start in range(0, len(x), columns):
        if canvas:  # Pairs stand further apart than their two rows.
            canvas.append(np.ones((3 * gap, canvas[0].shape[1], 3)))
        for name, images in (("input", x), ("reconstruction", mean)):
            ticks.append((sum(map(len, canvas)) + x.shape[1] / 2 - 0.5, name))
            row = tile(images[start : start + columns], columns)
            canvas += [row] if name == "reconstruction" else [row, np.ones((gap, row.shape[1], 3))]
    figure, axes = _image_figure(np.concatenate(canvas), x.shape[1], left=1.05, note=note)
    axes.set_title(
        _with("Inputs and their reconstructions", note), loc="left", fontsize=10, color=INK
    )
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=9, color=INK)
    return figure


def samples(images: npt.ArrayLike, *, note: str = "") -> Figure:
    """What the model makes up: a grid of images decoded from samples of the prior.

    What to see: images that could be data, and as varied as data. Odd or empty ones come from
    places where the prior has mass and the aggregated posterior has none.

    Args:
      images: [N, height, width, C] in [0, 1], C = 1 (grey) or 3 (colour). Values outside are
        clipped, NaN is red.
      note: a sentence below the title.

    Raises:
      UsageError: there are no images, or they are integers.

    >>> samples(np.zeros((9, 8, 8, 3))).axes[0].images[0].get_array().shape
    (26, 26, 3)
    """
    images = checked_images("images", images)
    canvas = tile(images, int(np.ceil(np.sqrt(len(images)))))
    figure, axes = _image_figure(canvas, images.shape[1], left=0.1, note=note)
    count = "a sample" if len(images) == 1 else f"{len(images)} samples"
    axes.set_title(
        _with(f"Decoded from {count} of the prior", note), loc="left", fontsize=10, color=INK
    )
    axes.set_yticks([])
    return figure


def checked_images(name: str, images: npt.ArrayLike) -> np.ndarray:
    """Checked images as float RGB in [0, 1], [N, height, width, 3]."""
    array = np.asarray(images)
    if array.ndim != 4 or not len(array) or array.shape[-1] not in (1, 3):
        raise UsageError(f"{name} must be [N, height, width, 1 or 3], N ≥ 1, got {array.shape}.")
    if array.dtype.kind in "iu":
        raise UsageError(f"{name} must be in [0, 1], got {array.dtype}; divide bytes by 255.")
    rgb = np.repeat(np.clip(array.astype(float), 0, 1), 3 // array.shape[-1], axis=-1)
    rgb[np.isnan(rgb).any(-1)] = (1, 0, 0)
    return rgb


def gap_of(images: np.ndarray) -> int:
    return max(1, images.shape[1] // 14)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, height, width, 3] -> one image, row by row, with white gaps."""
    gap = gap_of(images)
    num, height, width, _ = images.shape
    rows = -(-num // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _with(title: str, note: str) -> str:
    return f"{title}\n{note}" if note else title


def _image_figure(
    canvas: np.ndarray, pixels: int, *, left: float, note: str
) -> tuple[Figure, Axes]:
    """A figure of the canvas, a whole number of dots to each pixel.

    `pixels` is the height of one image, `left` the margin in inches.
    """
    dpi, top, rest = 150, 0.55 if note else 0.35, 0.1
    height, width = canvas.shape[:2]
    scale = max(1, min(round(900 / max(width, height)), 150 // pixels)) / dpi
    # Wide enough for the title and the note over a single image.
    total = (
        max(left + width * scale + rest, left + 2.7, left + 0.075 * len(note)),
        rest + height * scale + top,
    )
    figure = Figure(figsize=total, dpi=dpi, facecolor="white")
    axes = figure.add_axes(
        (left / total[0], rest / total[1], width * scale / total[0], height * scale / total[1])
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    return figure, axes

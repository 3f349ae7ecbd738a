"""Every picture an experiment leaves in its workdir, as functions of arrays.

Each function takes numpy or jax arrays and returns a matplotlib `Figure`, made without pyplot and
without touching any global setting; the caller saves it (`figure.savefig(path)`) or shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

# Colours that remain apart under colour blindness: Tol, 2021, "Colour schemes", muted, and black.
# Greys are left to the prior.
ROSE, INDIGO, SAND, GREEN, CYAN = "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE"
WINE, TEAL, OLIVE, PURPLE, BLACK = "#882255", "#44AA99", "#999933", "#AA4499", "#000000"
PALETTE = (ROSE, INDIGO, SAND, GREEN, CYAN, WINE, TEAL, OLIVE, PURPLE, BLACK)
INK, GREY, PRIOR = "#222222", "#6b6b6b", "#c0c0c0"
MASSES = {0.95: "#f3f3f3", 0.75: "#e6e6e6", 0.5: "#d6d6d6", 0.25: "#c4c4c4"}  # of prior, and shade

Rows = Sequence[Mapping[str, Any]]


def training_curves(
    rows: Rows, *, thresholds: Mapping[str, tuple[str, float]] | None = None
) -> Figure:
    """Whether a run converged, what it traded for what, and what its multipliers did.

    What to see: (1) the ELBO rises and validation follows training; (2) distortion comes down to
    its threshold while the rate pays for it; (3) the moving average of each constraint falls to 0
    and stays there; (4) λ settles, under REWO at max(1, λ_KKT). With a constraint in nats λ = 1 is
    the ELBO's own weight on the distortion, and a λ above it says that the constraint costs ELBO.
    λ = 0 leaves the log axis through the bottom. Panels 3 and 4 need constraints.

    The first steps' huge values do not set the scale: panels 1 and 2 show the 5th to the 95th
    percentile and a quarter of that span beyond, and say above the panel what they leave out;
    panel 3 is linear around 0, on the scale of the second half of the run, and logarithmic beyond
    (asinh). Values that are not finite leave a gap, which panels 1 and 2 report.

    Args:
      rows: the rows of `metrics.jsonl`, each with "step" and any of "elbo", "validation/elbo",
        "rate", "distortion" (nats), "constraint/c" (batch mean), "average/c", "multiplier/c" for
        each constraint c, and "feasible_once".
      thresholds: {constraint: (curve, value)}, the value at which to draw the constraint's
        threshold on "elbo", "rate" or "distortion"; ("distortion", D κ) for an NLL constraint.

    Raises:
      ValueError: there are no rows, or a threshold is for a curve that is not drawn.

    >>> rows = [{"step": s, "elbo": -100.0, "rate": 20.0, "distortion": 80.0} for s in (0, 100)]
    >>> figure = training_curves(rows, thresholds={"nll": ("distortion", 78.4)})
    >>> [axes.get_title("left") for axes in figure.axes]
    ['ELBO', 'Rate and distortion']
    """
    if not rows:
        raise ValueError("rows must hold at least one logged step, got none.")
    thresholds = dict(thresholds or {})
    for name, (curve, _) in thresholds.items():
        if curve not in ("elbo", "rate", "distortion"):
            raise ValueError(
                f"the threshold of {name} must be for elbo, rate or distortion, got {curve}."
            )
    kinds = ("constraint/", "average/", "multiplier/")
    keys = (key for row in rows for key in row if key.startswith(kinds))
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in keys))

    num_rows = 2 if names else 1
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.03, hspace=0.04)
    figure = Figure(figsize=(10, 3.5 * num_rows), dpi=150, facecolor="white", layout=layout)
    panels = figure.subplots(num_rows, 2, sharex=True, squeeze=False)
    for axes in panels.flat:
        _style(axes)
    curves = {"elbo": ("train", INDIGO), "validation/elbo": ("validation", ROSE)}
    _nats_panel(panels[0, 0], "ELBO", rows, curves, thresholds)
    curves = {"rate": ("rate", TEAL), "distortion": ("distortion", WINE)}
    _nats_panel(panels[0, 1], "Rate and distortion", rows, curves, thresholds)
    if names:
        steps, feasible = _curve(rows, "feasible_once")
        met = steps[feasible > 0]
        colours = {name: (WINE, TEAL, INDIGO, OLIVE)[i % 4] for i, name in enumerate(names)}
        title = "Constraint" + (", not met yet" if steps.size and not met.size else "")
        _constraint_panel(panels[1, 0], title, rows, colours)
        _multiplier_panel(panels[1, 1], rows, colours)
        for axes in panels[1] if met.size else ():
            label = f"first met at step {met[0]:,.0f}"
            axes.axvline(met[0], color=INK, linewidth=1, linestyle=":", label=label, zorder=1)
    logged = [row["step"] for row in rows]
    if min(logged) == max(logged):
        panels[0, 0].set_xlim(logged[0] - 0.5, logged[0] + 0.5)
    for axes in panels.flat:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: f"{step:,.0f}"))
        if axes.get_legend_handles_labels()[0]:
            # Above the panel, where no curve can run through it.
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, borderpad=0.2, ncols=5,
                frameon=False, fontsize=8.5, handlelength=1.5, columnspacing=1, labelcolor=INK,
            )  # fmt: skip
    for axes in panels[-1]:
        axes.set_xlabel("training step", fontsize=9, color=INK)
    return figure


def reconstructions(x: npt.ArrayLike, mean: npt.ArrayLike) -> Figure:
    """Inputs, and beneath each its reconstruction: what the code kept, and what it lost.

    What to see: the same object in the same place. Blur is distortion; a sharp image of something
    else is a code that forgot what it saw.

    Args:
      x: [N, height, width, C] inputs in [0, 1], C = 1 (grey) or 3 (colour).
      mean: the decoder's means for them, shaped like x. Values outside [0, 1] are clipped, NaN is red.

    Raises:
      ValueError: the shapes differ, there are no images, or they are integers.

    >>> x = np.zeros((3, 8, 8, 1))
    >>> reconstructions(x, x + 0.5).axes[0].images[0].get_array().shape
    (17, 26, 3)
    """
    x, mean = _images("x", x), _images("mean", mean)
    if x.shape != mean.shape:
        raise ValueError(f"x and mean must have one shape, got {x.shape} and {mean.shape}.")
    num_pairs = -(-len(x) // 10)
    columns = -(-len(x) // num_pairs)
    gap = _gap(x)
    canvas: list[np.ndarray] = []
    ticks = []
    for start in range(0, len(x), columns):
        if canvas:  # Pairs stand further apart than their two rows.
            canvas.append(np.ones((3 * gap, canvas[0].shape[1], 3)))
        for name, images in (("input", x), ("reconstruction", mean)):
            ticks.append((sum(map(len, canvas)) + x.shape[1] / 2 - 0.5, name))
            row = _tile(images[start : start + columns], columns)
            canvas += [row] if name == "reconstruction" else [row, np.ones((gap, row.shape[1], 3))]
    figure, axes = _image_figure(np.concatenate(canvas), x.shape[1], left=1.05)
    axes.set_title("Inputs and their reconstructions", loc="left", fontsize=10, color=INK)
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=9, color=INK)
    return figure


def samples(images: npt.ArrayLike) -> Figure:
    """What the model makes up: a grid of images decoded from samples of the prior.

    What to see: images that could be data, and as varied as data. Odd or empty ones come from
    places where the prior has mass and the aggregated posterior has none.

    Args:
      images: [N, height, width, C] in [0, 1], C = 1 (grey) or 3 (colour). Values outside are
        clipped, NaN is red.

    Raises:
      ValueError: there are no images, or they are integers.

    >>> samples(np.zeros((9, 8, 8, 3))).axes[0].images[0].get_array().shape
    (26, 26, 3)
    """
    images = _images("images", images)
    canvas = _tile(images, int(np.ceil(np.sqrt(len(images)))))
    figure, axes = _image_figure(canvas, images.shape[1], left=0.1)
    count = "a sample" if len(images) == 1 else f"{len(images)} samples"
    axes.set_title(f"Decoded from {count} of the prior", loc="left", fontsize=10, color=INK)
    axes.set_yticks([])
    return figure


def latent_space(
    latents: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    log_density: npt.ArrayLike | None = None,
    extent: tuple[float, float, float, float] | None = None,
    explained: tuple[float, float] | None = None,
    prior_samples: npt.ArrayLike | None = None,
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
      labels: [N], or None. Up to ten distinct labels get a colour each; more are taken for values
        on a scale.
      log_density: [G, G'], the prior's log density on a grid, for D = 2: rows along z_2 from
        bottom to top, columns along z_1 from left to right. It need not be normalised.
      extent: (left, right, bottom, top), the coordinates of the grid's outermost points.
      explained: the two shares of variance in [0, 1], where the caller did the projection (D = 2).
      prior_samples: [M, D].

    Raises:
      ValueError: shapes do not fit, latents are not finite, `log_density` comes without `extent` or with D > 2, or more
        than ten labels are not numbers.

    >>> z = np.array([[3, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])
    >>> latent_space(z).axes[0].get_xlabel()
    'principal axis 1 (90 % of variance)'
    """
    z = np.asarray(latents, float)
    if z.ndim != 2 or z.shape[0] < 2 or z.shape[1] < 2:
        raise ValueError(f"latents must be [N, D] with N ≥ 2 and D ≥ 2, got {z.shape}.")
    num_dims = z.shape[1]
    prior = np.empty((0, num_dims)) if prior_samples is None else np.asarray(prior_samples, float)
    if prior.ndim != 2 or prior.shape[1] != num_dims:
        raise ValueError(f"prior_samples must be [M, {num_dims}] like latents, got {prior.shape}.")
    if log_density is not None and (extent is None or num_dims != 2):
        raise ValueError(
            f"log_density needs an extent and two latent dimensions, got extent {extent} and "
            f"{num_dims} dimensions; pass prior_samples instead."
        )
    if not (np.isfinite(z).all() and np.isfinite(prior).all()):
        raise ValueError("latents and prior_samples must be finite, got NaN or infinity.")
    if num_dims > 2:
        centre = z.mean(0)
        _, singular_values, axes_t = np.linalg.svd(z - centre, full_matrices=False)
        shares = singular_values**2 / max(np.sum(singular_values**2), np.finfo(float).tiny)
        explained = (float(shares[0]), float(shares[1]))
        largest = np.take_along_axis(axes_t, np.abs(axes_t).argmax(1, keepdims=True), axis=1)
        projection = (axes_t * np.where(largest < 0, -1, 1))[:2].T
        z, prior = (z - centre) @ projection, (prior - centre) @ projection

    figure = Figure(figsize=(6.4, 5.2), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    _style(axes)
    axes.grid(False)
    handles = []
    if log_density is not None and extent is not None:
        handles += _contours(axes, np.asarray(log_density, float), extent)
    if len(prior):
        axes.scatter(
            prior[:, 0], prior[:, 1], s=10, color=PRIOR, linewidths=0, zorder=1, rasterized=True
        )
        handles.append(_marker(PRIOR, "prior's samples"))
    classes = _coloured_scatter(axes, z, None if labels is None else np.asarray(labels))
    axes.set_aspect("equal", adjustable="datalim")
    if classes or handles:
        axes.legend(
            handles=classes + handles, title="label" if classes else None, alignment="left",
            loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False,
            fontsize=9, title_fontsize=9, labelcolor=INK, handletextpad=0.4,
        )  # fmt: skip
    axis_names = ["$z_1$", "$z_2$"]
    if explained is not None:
        axis_names = [
            f"principal axis {i} ({100 * share:.0f} % of variance)"
            for i, share in enumerate(explained, 1)
        ]
    axes.set_xlabel(axis_names[0], fontsize=10, color=INK)
    axes.set_ylabel(axis_names[1], fontsize=10, color=INK)
    title = f"Latent space of {len(z):,} data points"
    if num_dims > 2:
        title += f", {num_dims} dimensions projected to 2"
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    return figure


def _curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that log `key`; a null, as JSON may write NaN, is NaN."""
    found = [(row["step"], np.nan if row[key] is None else row[key]) for row in rows if key in row]
    steps, values = np.asarray(found, float).reshape(-1, 2).T
    return steps, values


def _draw(axes: Axes, steps: np.ndarray, values: np.ndarray, **style: Any) -> None:
    if steps.size:
        if steps.size == 1:  # a line of one point is invisible
            style |= {"marker": "o", "markersize": 4}
        axes.plot(steps, values, **({"linewidth": 1.6} | style))


def _nats_panel(
    axes: Axes,
    title: str,
    rows: Rows,
    curves: Mapping[str, tuple[str, str]],
    thresholds: Mapping[str, tuple[str, float]],
) -> None:
    """Curves {key: (label, colour)} in nats, on limits that the first steps do not set."""
    shown, logged, notes = [], [], []
    for key, (label, colour) in curves.items():
        steps, values = _curve(rows, key)
        dots = {"marker": "o", "markersize": 3} if "/" in key else {}
        _draw(axes, steps, values, color=colour, label=label, **dots)
        finite = np.isfinite(values)
        if not finite.all():
            notes.append(f"{label} not finite at step {steps[~finite][0]:,.0f}")
        if finite.any():
            values = values[finite]
            low, high = np.percentile(values, [5, 95])
            fence = 0.25 * (high - low)
            logged += values.tolist()
            shown += values[(values >= low - fence) & (values <= high + fence)].tolist()
            shown.append(values[-1])
    for name, (key, value) in thresholds.items():
        if key in curves:
            label, colour = f"threshold of {name}, {value:,.1f}", curves[key][1]
            axes.axhline(value, color=colour, linestyle="--", linewidth=1, label=label)
            shown.append(value)
    if shown:
        low, high = min(shown), max(shown)
        margin = 0.05 * (high - low) or max(1.0, 0.05 * abs(high))
        axes.set_ylim(low - margin, high + margin)
        outside = [
            value for value in logged if abs(2 * value - low - high) > high - low + 2 * margin
        ]
        if outside:
            furthest = max(outside, key=lambda value: abs(2 * value - low - high))
            count = "1 value" if len(outside) == 1 else f"{len(outside)} values"
            notes.append(f"{count} off the axis, to {_number(furthest)}")
    _title(axes, title, "\n".join(notes))
    axes.set_ylabel("nats", fontsize=9, color=INK)


def _constraint_panel(axes: Axes, title: str, rows: Rows, colours: Mapping[str, str]) -> None:
    """Moving averages of the constraints over their faint batch values, on an asinh axis."""
    settled, largest = [], []
    for name, colour in colours.items():
        steps, batch = _curve(rows, f"constraint/{name}")
        _draw(axes, steps, batch, color=colour, linewidth=0.8, alpha=0.35)
        _draw(axes, *_curve(rows, f"average/{name}"), color=colour, label=name)
        size = np.abs(np.where(np.isfinite(batch), batch, 0))
        late = size[len(size) // 2 :]
        if late.any():
            settled.append(np.percentile(late[late > 0], 75))
            largest.append(size.max())
    settled_size, reach = min(settled, default=1.0), max(largest, default=1.0)
    # A power of ten that the axis reaches, so that numbers stand on it.
    linear = 10.0 ** min(np.round(np.log10(settled_size)), np.floor(np.log10(reach)))
    # Unlike a symlog scale it has no kink, which would read as an event in the run.
    axes.set_yscale("asinh", linear_width=linear)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _number(value)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    low, high = axes.get_ylim()
    low, high = min(1.1 * low, -0.5 * linear), max(1.1 * high, 0.5 * linear)
    axes.axhspan(low, 0, color="#e9f2ea", linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linestyle="--", linewidth=1, label="threshold 0", zorder=1)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(ticker.FixedLocator(_asinh_ticks(low, high, linear)))
    scale = f"linear within ±{_number(linear)}, log beyond"
    _title(axes, title, f"bold: moving average, faint: batches\n{scale}")
    unit = "nats" if set(colours) == {"nll"} else "each in its own unit"
    axes.set_ylabel(f"C(x, z), {unit}\n(met where shaded)", fontsize=9, color=INK)


def _asinh_ticks(low: float, high: float, linear: float) -> list[float]:
    """0 and, from the linear part's edges outwards, 1, 2, 5, 10, ... or powers of ten alone."""
    span = np.arcsinh(high / linear) - np.arcsinh(low / linear)
    first, step = int(span > 12), 1 if span < 25 else 2
    decades = np.arange(first, np.log10(max(high, -low) / linear) + 1, step)
    sizes = [linear * m * 10**k for k in decades for m in ((1, 2, 5) if span < 6.5 else (1,))]
    ticks = [-size for size in reversed(sizes)] + [0.0] + sizes
    return [tick for tick in ticks if low <= tick <= high]


def _multiplier_panel(axes: Axes, rows: Rows, colours: Mapping[str, str]) -> None:
    """The multipliers on a log axis of at least a decade, with the line λ = 1."""
    shown = [1.0]
    for name, colour in colours.items():
        steps, values = _curve(rows, f"multiplier/{name}")
        _draw(axes, steps, values, color=colour, label=name)
        shown += values[np.isfinite(values) & (values > 0)].tolist()
    axes.set_yscale("log")
    low, high = min(shown) / 1.5, max(shown) * 1.5
    stretch = max(1.0, np.sqrt(10 * low / high))
    axes.set_ylim(low / stretch, high * stretch)
    axes.axhline(1, color=INK, linestyle="--", linewidth=1, label="λ = 1", zorder=1)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _number(value)))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    _title(axes, "Multiplier", "log scale")
    axes.set_ylabel("λ", fontsize=9, color=INK)


def _title(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=20)
    axes.set_title(note, loc="right", fontsize=8, color=GREY, pad=20)


def _style(axes: Axes) -> None:
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(which="both", labelsize=8.5, color=GREY, labelcolor=INK)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _number(value: float) -> str:
    """12000 -> 12,000; 0.001 -> 0.001; 1e6 and more in powers of ten."""
    text = f"{value:,.0f}" if 10 <= abs(value) < 1e6 else f"{value:g}"
    return text.replace("-", "−")


def _images(name: str, images: npt.ArrayLike) -> np.ndarray:
    """Checked images as float RGB in [0, 1], [N, height, width, 3]."""
    array = np.asarray(images)
    if array.ndim != 4 or not len(array) or array.shape[-1] not in (1, 3):
        raise ValueError(f"{name} must be [N, height, width, 1 or 3], N ≥ 1, got {array.shape}.")
    if array.dtype.kind in "iu":
        raise ValueError(f"{name} must be in [0, 1], got {array.dtype}; divide bytes by 255.")
    rgb = np.repeat(np.clip(array.astype(float), 0, 1), 3 // array.shape[-1], axis=-1)
    rgb[np.isnan(rgb).any(-1)] = (1, 0, 0)
    return rgb


def _gap(images: np.ndarray) -> int:
    return max(1, images.shape[1] // 14)


def _tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, height, width, 3] -> one image, row by row, with white gaps."""
    gap = _gap(images)
    num, height, width, _ = images.shape
    rows = -(-num // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _image_figure(canvas: np.ndarray, pixels: int, *, left: float) -> tuple[Figure, Axes]:
    """A figure of the canvas, a whole number of dots to each pixel.

    `pixels` is the height of one image, `left` the margin in inches.
    """
    dpi, top, rest = 150, 0.35, 0.1
    height, width = canvas.shape[:2]
    scale = max(1, min(round(900 / max(width, height)), 150 // pixels)) / dpi
    # Wide enough for the caption over a single image.
    total = max(left + width * scale + rest, left + 2.7), rest + height * scale + top
    figure = Figure(figsize=total, dpi=dpi, facecolor="white")
    axes = figure.add_axes(
        (left / total[0], rest / total[1], width * scale / total[0], height * scale / total[1])
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    return figure, axes


def _contours(
    axes: Axes, log_density: np.ndarray, extent: tuple[float, float, float, float]
) -> list[Line2D]:
    """Shades the highest-density regions; returns their legend."""
    if log_density.ndim != 2 or min(log_density.shape) < 2 or np.any(np.isnan(log_density)):
        raise ValueError(
            f"log_density must be a grid [G, G'] without NaN, got shape {log_density.shape}."
        )
    levels = _highest_density_levels(log_density)
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
        _marker(shade, f"{100 * mass:.0f} % of the prior", marker="s", markeredgecolor=GREY)
        for mass, shade in MASSES.items()
    ]


def _highest_density_levels(log_density: np.ndarray) -> np.ndarray:
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
        raise ValueError(f"labels must be [{len(z)}] like latents, got {labels.shape}.")
    values, indices = np.unique(labels, return_inverse=True)
    # In random order, or the last class would cover the others.
    order = np.random.default_rng(0).permutation(len(z))
    x, y = z[order].T
    if len(values) <= len(PALETTE):
        axes.scatter(x, y, c=np.array(PALETTE)[indices[order]].tolist(), **style)
        return [_marker(PALETTE[i], str(value)) for i, value in enumerate(values)]
    if not np.issubdtype(labels.dtype, np.number):
        raise ValueError(f"labels must be at most ten names, or numbers, got {len(values)} names.")
    points = axes.scatter(x, y, c=labels[order], cmap="viridis", **style)
    bar = axes.inset_axes((1.04, 0, 0.04, 0.6))  # below the legend
    axes.figure.colorbar(points, cax=bar).set_label("label", fontsize=9, color=INK)
    bar.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    return []


def _marker(colour: str, label: str, **style: Any) -> Line2D:
    shape: dict[str, Any] = {"marker": "o", "markersize": 7, "markeredgewidth": 0.7} | style
    return Line2D([], [], linestyle="none", color=colour, label=label, **shape)

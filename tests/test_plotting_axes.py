"""Plots draw into the axes given, and a notebook shows the plots that made their own."""

import io
from functools import partial

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from test_plotting_densities import panel
from test_plotting_multipliers import settling
from test_plotting_taming import DIMS, KAPPA, made_plane, made_run, made_seed

from vaelab import plotting
from vaelab.plotting.figure import Plot

IMAGES = np.random.default_rng(0).uniform(size=(20, 8, 8, 1))
LATENTS = np.random.default_rng(1).normal(size=(200, 2))
GRID = np.linspace(-4, 4, 30)
LOG_NORMAL = -0.5 * (GRID**2 + GRID[:, None] ** 2)
CONSTRAINED = [row | {"elbo": -row["rate"]} for row in made_run() if "rate" in row]
FREE = [{"step": step, "elbo": -1.0, "rate": 2.0, "distortion": 3.0} for step in range(9)]

ONE_PANEL = {
    "latent_space": partial(
        plotting.latent_space,
        LATENTS,
        np.repeat(np.arange(10), 20),
        log_density=LOG_NORMAL,
        extent=(-4, 4, -4, 4),
    ),
    "latent_space_with_a_scale": partial(plotting.latent_space, LATENTS, LATENTS[:, 0]),
    "reconstructions": partial(plotting.reconstructions, IMAGES, IMAGES, note="A note."),
    "samples": partial(plotting.samples, IMAGES, note="A note."),
    "prior_density": partial(plotting.prior_density, panel()),
    "information_plane": partial(plotting.information_plane, made_plane()),
    "growth": partial(
        plotting.growth, {"a": {5: [1.0], 10: [2.0, 3.0]}}, size="levels", cost="s", title="A title"
    ),
}
SEVERAL_PANELS = {
    "training_curves": (partial(plotting.training_curves, CONSTRAINED), 4),
    "training_curves_without_constraints": (partial(plotting.training_curves, FREE), 2),
    "saddle_trajectory": (
        partial(
            plotting.saddle_trajectory, made_run(), kappa=KAPPA, constraint="re", num_dims=DIMS
        ),
        3,
    ),
    "equal_distortion": (
        partial(plotting.equal_distortion, {"GECO": [made_seed(900, 0)]}, dims=100, target=0.4),
        2,
    ),
    "paired_differences": (
        partial(
            plotting.paired_differences,
            ("a", "b"),
            [3.0, 5.0, np.nan],
            [1.0, 2.0, 3.0],
            ["0", "1", "2"],
            "KL, nats",
        ),
        2,
    ),
    "level_bars": (
        partial(
            plotting.level_bars,
            [
                plotting.LevelQuantity(n, {"a": [1.0, 2.0]}, {"a": [0.1, 0.1]})
                for n in ("KL", "flips")
            ],
        ),
        2,
    ),
    "settling": (partial(plotting.settling, [settling(), settling("CLA ≥ 0.8")]), 3),
}
DRAW = {name: (lambda axes, draw=draw: draw(ax=axes[0]), 1) for name, draw in ONE_PANEL.items()}
DRAW |= {
    name: (lambda axes, draw=draw: draw(axes=axes), num)
    for name, (draw, num) in SEVERAL_PANELS.items()
}


def kept(figure, other):
    """All that a plot in other axes of the figure must not change."""
    return (
        [id(axes) for axes in figure.axes],
        [id(artist) for artist in figure.get_children()],
        [type(artist) for artist in other.get_children()],
        figure.get_size_inches().tolist(),
        figure.dpi,
        figure.get_layout_engine(),
        other.get_subplotspec(),
        other.get_title(),
        other.get_xlim(),
    )


@pytest.mark.parametrize("name", DRAW)
def test_plots_draw_into_the_axes_given_and_leave_the_figure(name):
    draw, num = DRAW[name]
    figure = Figure(figsize=(4 * (num + 1), 4), layout="constrained")
    *axes, other = figure.subplots(1, num + 1)
    before = kept(figure, other)
    assert draw(axes) is figure
    assert kept(figure, other) == before
    for each in axes:
        assert each.has_data()
    # No panel reaches into another, and all text is inside the figure.
    figure.draw_without_rendering()
    boxes = [each.get_tightbbox() for each in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)


@pytest.mark.parametrize("name", DRAW)
def test_plots_draw_into_a_part_of_a_figure(name):
    draw, num = DRAW[name]
    figure = Figure(figsize=(4 * num, 8), layout="constrained")
    axes = figure.subfigures(2, 1)[0].subplots(1, num, squeeze=False)[0]
    assert draw(axes) is figure
    assert figure.axes == list(axes)


@pytest.mark.parametrize("name", SEVERAL_PANELS)
def test_another_number_of_axes_is_refused(name):
    draw, num = SEVERAL_PANELS[name]
    axes = Figure().subplots(1, num + 1)
    with pytest.raises(ValueError, match=f"axes must be {num}, one for each panel, got {num + 1}"):
        draw(axes=axes)


def test_arrays_of_axes_are_taken_row_by_row():
    axes = Figure().subplots(2, 2)
    plotting.training_curves(CONSTRAINED, axes=axes)
    titles = [each.get_title("left") for each in axes.ravel()]
    assert titles == ["ELBO", "Rate and distortion", "Constraint", "Multiplier"]


def test_the_legend_in_given_axes_is_inside_and_keeps_the_data_large():
    """It is transparent, and takes the emptiest corner."""
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    ONE_PANEL["latent_space"](ax=axes)
    figure.draw_without_rendering()
    box = axes.get_legend().get_tightbbox()
    assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
    assert axes.get_legend().get_frame().get_alpha() < 1
    alone = Figure(figsize=(4, 4)).subplots()
    alone.scatter(*LATENTS[:, :2].T)
    assert np.ptp(axes.get_xlim()) <= 2 * np.ptp(alone.get_xlim())


def test_the_colour_bar_in_given_axes_covers_no_points():
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    ONE_PANEL["latent_space_with_a_scale"](ax=axes)
    figure.draw_without_rendering()
    beside = axes.child_axes[0]
    points = axes.collections[-1].get_offsets()
    assert len(points) == len(LATENTS)
    right = axes.transData.transform(points)[:, 0].max()
    box = beside.get_tightbbox()
    assert right < box.x0
    assert box.x1 <= axes.bbox.x1 + 1


def test_a_notebook_shows_a_plot_by_itself():
    figure = ONE_PANEL["samples"]()
    png, metadata = figure._repr_png_()
    pixels = matplotlib.image.imread(io.BytesIO(png))
    size = figure.get_size_inches()
    np.testing.assert_allclose(pixels.shape[1::-1], size * figure.dpi, atol=1)
    assert metadata == {"width": round(96 * size[0])}
    assert np.ptp(pixels) > 0.5


@pytest.mark.parametrize(
    "draw", [*ONE_PANEL.values(), *(draw for draw, _ in SEVERAL_PANELS.values())]
)
def test_every_plot_that_makes_its_figure_can_show_itself(draw):
    assert isinstance(draw(), Plot)

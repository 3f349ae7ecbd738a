"""Plots show the values that they are given: positions of lines, scales, levels, axes and pixels."""

import os
import subprocess
import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.contour import ContourSet
from scipy import stats
from sklearn.decomposition import PCA

from vaelab import plotting

FIRST_MET, KAPPA_NATS = 27_000, 78.4


def made_run(num_rows=200):
    """A REWO run: C̄ from +400 to just below 0, λ held at 1000 until it is met, then falling to 1."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(num_rows):
        step = 500 * i
        average = 400 * np.exp(-i / 12) - 6 * (1 - np.exp(-i / 60)) if step < FIRST_MET else -2.0
        multiplier = max(1.0, 1000 * np.exp(-max(0, step - FIRST_MET) / 7000))
        batch = average * (1 + 0.05 * rng.normal()) + 2.5 * rng.normal()
        distortion, rate = KAPPA_NATS + batch, 24 - 18 * np.exp(-i / 15)
        row = {
            "step": step,
            "elbo": -(distortion + rate),
            "rate": rate,
            "distortion": distortion,
            "loss": rate + multiplier * batch,
            "constraint/nll": batch,
            "average/nll": average,
            "multiplier/nll": multiplier,
            "feasible_once": float(step >= FIRST_MET),
        }
        if i % 10 == 0:
            row["validation/elbo"] = row["elbo"] - 2
        rows.append(row)
    return rows


def without_constraints(rows):
    kept = ("step", "elbo", "rate", "distortion", "loss", "validation/elbo")
    return [{key: row[key] for key in kept if key in row} for row in rows]


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title("left") == title]
    return found


def drawn(figure, tmp_path):
    """The pixels of the figure in its file."""
    figure.savefig(tmp_path / "figure.png")
    return matplotlib.image.imread(tmp_path / "figure.png")


@pytest.fixture
def run_figure():
    return plotting.training_curves(made_run(), thresholds={"nll": KAPPA_NATS})


def test_curves_show_the_logged_values(run_figure):
    rows = made_run()
    for title, label, key in (
        ("ELBO", "train", "elbo"),
        ("ELBO", "validation", "validation/elbo"),
        ("Rate and distortion", "rate", "rate"),
        ("Rate and distortion", "distortion", "distortion"),
        ("Constraint", "nll", "average/nll"),
        ("Multiplier", "nll", "multiplier/nll"),
    ):
        expected = np.array([(row["step"], row[key]) for row in rows if key in row])
        np.testing.assert_array_equal(line(panel(run_figure, title), label).get_xydata(), expected)
    # The batches are there too, fainter and thinner than their average.
    average = line(panel(run_figure, "Constraint"), "nll")
    (batches,) = [
        other
        for other in panel(run_figure, "Constraint").get_lines()
        if len(other.get_xdata()) == len(rows) and other is not average
    ]
    np.testing.assert_array_equal(batches.get_ydata(), [row["constraint/nll"] for row in rows])
    assert batches.get_alpha() < 0.5
    assert batches.get_linewidth() < average.get_linewidth()
    run_figure.draw_without_rendering()


def test_thresholds_are_lines_at_their_values(run_figure):
    threshold = line(panel(run_figure, "Rate and distortion"), "threshold of nll, 78.4")
    assert set(threshold.get_ydata()) == {KAPPA_NATS}
    assert threshold.get_color() == line(threshold.axes, "distortion").get_color()
    assert set(line(panel(run_figure, "Constraint"), "threshold 0").get_ydata()) == {0}
    assert set(line(panel(run_figure, "Multiplier"), "λ = 1").get_ydata()) == {1}


def test_the_multiplier_has_a_log_axis_that_shows_all_values(run_figure):
    axes = panel(run_figure, "Multiplier")
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log"
    assert low < 1
    assert high > 1000


@pytest.mark.parametrize("title", ["Constraint", "Multiplier"])
def test_the_step_where_constraints_were_first_met_is_marked(run_figure, title):
    mark = line(panel(run_figure, title), "first met at step 27,000")
    assert set(mark.get_xdata()) == {FIRST_MET}


def test_a_constraint_never_met_has_no_mark_and_its_title_says_so():
    figure = plotting.training_curves(made_run()[:20])
    axes = panel(figure, "Constraint, not met yet")
    assert not any("first met" in line.get_label() for line in axes.get_lines())
    figure.draw_without_rendering()


def test_the_first_steps_do_not_set_the_scale(run_figure):
    elbo = np.array([row["elbo"] for row in made_run()])
    axes = panel(run_figure, "ELBO")
    low, high = axes.get_ylim()
    assert high - low < 0.6 * np.ptp(elbo)
    assert np.all((elbo[20:] > low) & (elbo[20:] < high))  # the last nine tenths are shown
    pooled = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    count = np.sum((pooled < low) | (pooled > high))
    assert count > 0
    assert axes.get_title("right") == f"{count} values off the axis, to −{-pooled.min():.0f}"
    assert panel(run_figure, "Constraint").get_yscale() == "asinh"


def test_ordinary_curves_are_shown_whole():
    rows = [
        {"step": i, "elbo": -100 + np.sin(i), "rate": 5.0, "distortion": 95.0} for i in range(9)
    ]
    axes = panel(plotting.training_curves(rows), "ELBO")
    assert axes.get_ylim()[0] < min(row["elbo"] for row in rows)
    assert axes.get_ylim()[1] > max(row["elbo"] for row in rows)
    assert axes.get_title("right") == ""


def test_a_run_without_constraints_has_only_the_first_panels():
    assert len(plotting.training_curves(made_run()).axes) == 4
    figure = plotting.training_curves(without_constraints(made_run()))
    assert [axes.get_title("left") for axes in figure.axes] == ["ELBO", "Rate and distortion"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["nats", "nats"]
    figure.draw_without_rendering()


def test_two_constraints_have_a_colour_each_and_their_own_units():
    rows = [
        row | {"constraint/cla": 0.1, "average/cla": 0.05, "multiplier/cla": 0.0}
        for row in made_run()
    ]
    figure = plotting.training_curves(rows)
    for title in ("Constraint", "Multiplier"):
        axes = panel(figure, title)
        assert line(axes, "nll").get_color() != line(axes, "cla").get_color()
    assert "each in its own unit" in panel(figure, "Constraint").get_ylabel()
    assert "nats" in panel(plotting.training_curves(made_run()), "Constraint").get_ylabel()
    figure.draw_without_rendering()  # λ = 0 on a log axis


@pytest.mark.parametrize("size", [400.0, 8.0, 0.03])
def test_the_axis_of_a_constraint_shows_its_threshold_and_another_number(size):
    rows = [{"step": i, "constraint/nll": size, "average/nll": size / 2} for i in range(3)]
    axes = panel(plotting.training_curves(rows), "Constraint")
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 0 in ticks
    assert len(ticks) > 1
    assert low < 0 < size <= high


@pytest.mark.parametrize("rows", [made_run(1), made_run(3), without_constraints(made_run(1))])
def test_short_runs_are_drawn(rows):
    plotting.training_curves(rows).draw_without_rendering()


def test_values_that_are_not_finite_leave_a_gap_and_a_note():
    rows = made_run()
    rows[150]["elbo"] = float("nan")
    rows[160]["distortion"] = None
    rows[170]["constraint/nll"] = rows[171]["average/nll"] = rows[172]["multiplier/nll"] = np.inf
    figure = plotting.training_curves(rows)
    assert "train not finite at step 75,000" in panel(figure, "ELBO").get_title("right")
    assert "distortion not finite at step 80,000" in figure.axes[1].get_title("right")
    assert all(np.isfinite(axes.get_ylim()).all() for axes in figure.axes)
    figure.draw_without_rendering()


def test_rows_may_hold_jax_scalars():
    rows = [{key: jnp.asarray(value) for key, value in row.items()} for row in made_run(4)]
    figure = plotting.training_curves(rows)
    np.testing.assert_allclose(
        line(figure.axes[0], "train").get_ydata(), [row["elbo"] for row in made_run(4)], rtol=1e-6
    )


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match=r"at least one logged step"):
        plotting.training_curves([])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num", [1, 8, 13])
def test_reconstructions_are_below_their_inputs(channels, num):
    rng = np.random.default_rng(0)
    x, mean = rng.uniform(size=(2, num, 14, 14, channels)).astype(np.float32)
    figure = plotting.reconstructions(jnp.asarray(x), mean)
    canvas = figure.axes[0].images[0].get_array()
    columns = 7 if num == 13 else num
    for index in range(num):
        pair, column = divmod(index, columns)
        top, left = pair * (2 * 14 + 1 + 3), column * (14 + 1)
        for image, offset in ((x, 0), (mean, 15)):
            tile = canvas[top + offset : top + offset + 14, left : left + 14]
            np.testing.assert_array_equal(tile, np.broadcast_to(image[index], tile.shape))
    captions = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert captions == ["input", "reconstruction"] * (2 if num == 13 else 1)
    figure.draw_without_rendering()


def test_every_pixel_of_an_image_has_the_same_whole_number_of_dots(tmp_path):
    checks = np.indices((28, 28)).sum(0) % 2
    pixels = drawn(plotting.samples(np.full((9, 28, 28, 1), checks[..., None], float)), tmp_path)
    row = pixels[pixels.shape[0] // 2, :, 0]
    runs = np.diff(np.flatnonzero(np.diff(row) != 0))
    assert len(runs) > 60
    assert set(runs) <= {
        runs.min(),
        2 * runs.min(),
        3 * runs.min(),
    }  # white beside the gap is wider


def test_samples_fill_a_square_grid_row_by_row():
    images = np.linspace(0, 1, 10)[:, None, None, None] * np.ones((10, 5, 6, 1))
    figure = plotting.samples(images)
    canvas = figure.axes[0].images[0].get_array()
    assert canvas.shape == (3 * 5 + 2, 4 * 6 + 3, 3)
    np.testing.assert_allclose(canvas[2, 2::7, 0], np.linspace(0, 1, 10)[:4])
    np.testing.assert_allclose(canvas[14, 2::7, 0], [8 / 9, 1, 1, 1])
    assert "10 samples" in figure.axes[0].get_title("left")
    figure.draw_without_rendering()


def test_clipped_values_and_nan_are_said_below_the_images():
    images = np.array([-0.5, 1.5, np.nan]).reshape(1, 1, 3, 1)
    (axes,) = plotting.samples(images, note="Grey levels.").axes
    canvas = axes.images[0].get_array()
    np.testing.assert_array_equal(canvas[0], [[0, 0, 0], [1, 1, 1], [1, 0, 0]])
    lines = ["Grey levels.", "Values outside [0, 1] are clipped.", "Red: not a number."]
    assert axes.get_xlabel().split("\n") == lines


def test_images_within_the_range_have_no_note():
    edges = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    assert plotting.samples(edges).axes[0].get_xlabel() == ""
    assert plotting.reconstructions(edges, edges).axes[0].get_xlabel() == ""
    clipped = plotting.reconstructions(edges, edges + 1e-6)
    assert clipped.axes[0].get_xlabel() == "Values outside [0, 1] are clipped."


@pytest.mark.parametrize("num_channels", [2, 4])
def test_other_numbers_of_channels_are_side_by_side(num_channels):
    images = np.random.default_rng(0).uniform(size=(4, 5, 6, num_channels))
    (axes,) = plotting.samples(images).axes
    canvas = np.asarray(axes.images[0].get_array())
    for index in range(4):
        top, left = (index // 2) * 6, (index % 2) * (6 * num_channels + 1)
        for channel in range(num_channels):
            tile = canvas[top : top + 5, left + 6 * channel : left + 6 * (channel + 1)]
            np.testing.assert_array_equal(
                tile, np.repeat(images[index, ..., [channel]].transpose(1, 2, 0), 3, -1)
            )
    assert axes.get_xlabel() == f"{num_channels} channels are side by side."


def test_the_note_is_below_the_images_and_inside_the_figure():
    for num in (1, 20):
        figure = plotting.samples(
            np.zeros((num, 8, 8, 1)), note="A long note about the values. " * 6
        )
        figure.draw_without_rendering()
        (axes,) = figure.axes
        note = axes.xaxis.label.get_window_extent()
        assert note.y1 <= axes.bbox.y0
        assert note.y0 >= 0
        assert note.x1 <= figure.bbox.x1


def test_images_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match=r"uint8; divide bytes by 255"):
        plotting.samples(np.zeros((1, 4, 4, 1), np.uint8))
    with pytest.raises(ValueError, match=r"images must be \[N, height, width, channels\]"):
        plotting.samples(np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match=r"x and mean must have one shape"):
        plotting.reconstructions(np.zeros((2, 4, 4, 1)), np.zeros((3, 4, 4, 1)))


def gaussian_grid(mean, covariance, extent, shape):
    left, right, bottom, top = extent
    grid = np.meshgrid(np.linspace(left, right, shape[1]), np.linspace(bottom, top, shape[0]))
    return stats.multivariate_normal(mean, covariance).logpdf(np.stack(grid, -1))


def contour_lines(figure):
    (contours,) = [
        c for c in figure.axes[0].collections if isinstance(c, ContourSet) and not c.filled
    ]
    return contours


def test_highest_density_contours_are_a_gaussians_ellipses():
    """The region of mass m is Mahalanobis distance² ≤ −2 log(1 − m), a χ² of two degrees."""
    mean, covariance = np.array([1.0, -0.5]), np.array([[1.0, 0.3], [0.3, 0.5]])
    extent = (-6.0, 8.0, -5.5, 4.5)
    log_density = gaussian_grid(mean, covariance, extent, (401, 561))
    z = np.random.default_rng(0).multivariate_normal(mean, covariance, 200)
    # An unnormalised density has the same regions.
    figure = plotting.latent_space(z, log_density=log_density + 7.0, extent=extent)
    contours = contour_lines(figure)
    for mass, path in zip((0.95, 0.75, 0.5, 0.25), contours.get_paths(), strict=True):
        deviation = path.vertices - mean
        distance = np.einsum("nd,de,ne->n", deviation, np.linalg.inv(covariance), deviation)
        np.testing.assert_allclose(distance, stats.chi2(2).ppf(mass), rtol=0.01)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [f"{mass} % of the prior" for mass in (95, 75, 50, 25)]
    figure.draw_without_rendering()


def test_density_without_tails_and_with_plateaus_is_drawn():
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-2, 2, 81)))
    disc = np.where(np.sum(grid**2, 0) <= 1, 0.0, -np.inf)
    figure = plotting.latent_space(np.eye(2), log_density=jnp.asarray(disc), extent=(-2, 2, -2, 2))
    radius = np.linalg.norm(contour_lines(figure).get_paths()[0].vertices, axis=1)
    np.testing.assert_allclose(radius, 1, atol=0.05)
    figure.draw_without_rendering()


def scatters(figure):
    return [c for c in figure.axes[0].collections if not isinstance(c, ContourSet)]


def test_more_dimensions_are_projected_to_the_principal_axes():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 10)) @ rng.normal(size=(10, 10)) + 5
    prior = rng.normal(size=(50, 10))
    figure = plotting.latent_space(jnp.asarray(z), None, prior_samples=prior)
    prior_dots, dots = scatters(figure)
    pca = PCA(2).fit(np.float64(np.float32(z)))
    sign = np.sign(pca.components_[np.arange(2), np.abs(pca.components_).argmax(1)])
    np.testing.assert_allclose(dots.get_offsets(), pca.transform(z) * sign, atol=1e-4)
    np.testing.assert_allclose(prior_dots.get_offsets(), pca.transform(prior) * sign, atol=1e-4)
    first, second = 100 * pca.explained_variance_ratio_
    assert figure.axes[0].get_xlabel() == f"principal axis 1 ({first:.0f} % of variance)"
    assert figure.axes[0].get_ylabel() == f"principal axis 2 ({second:.0f} % of variance)"
    figure.draw_without_rendering()


@pytest.mark.parametrize("num_dims", [2, 10])
def test_labels_colour_the_points_and_name_the_colours(num_dims):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    z = 10 * labels[:, None] + rng.normal(size=(200, num_dims))
    figure = plotting.latent_space(z, labels)
    legend = figure.axes[0].get_legend()
    named = {
        int(text.get_text()): to_rgba(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert len(set(named.values())) == 10
    (dots,) = scatters(figure)
    # The first axis sorts the well separated classes.
    in_order = dots.get_facecolors()[np.argsort(np.asarray(dots.get_offsets())[:, 0])]
    expected = np.array([named[label] for label in labels])
    np.testing.assert_allclose(in_order[:, :3], expected[:, :3])
    figure.draw_without_rendering()


def test_two_dimensions_are_drawn_as_they_are():
    z = np.random.default_rng(0).normal(size=(30, 2))
    figure = plotting.latent_space(z)
    axes = figure.axes[0]
    np.testing.assert_array_equal(scatters(figure)[0].get_offsets(), z)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")
    assert axes.get_legend() is None
    assert axes.get_aspect() == 1
    figure.draw_without_rendering()


def test_labels_with_many_values_have_a_scale():
    angles = np.linspace(0, 360, 100)
    z = np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], 1)
    figure = plotting.latent_space(z, angles)
    dots = scatters(figure)[0]
    offsets = np.asarray(dots.get_offsets())
    np.testing.assert_allclose(np.cos(np.deg2rad(dots.get_array())), offsets[:, 0], atol=1e-12)
    assert figure.axes[0].child_axes[0].get_ylabel() == "label"
    figure.draw_without_rendering()


def test_classes_have_their_names_and_the_legend_has_that_of_the_labels():
    labels = np.array([2, 0, 2, 0])
    figure = plotting.latent_space(
        np.eye(4)[:, :2], labels, names=("walk", "run", "punch"), label="movement"
    )
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["walk", "punch"]
    assert legend.get_title().get_text() == "movement"


def test_colours_of_labels_with_a_period_close_a_circle():
    angles = np.array([0.0, np.pi, 2 * np.pi, -np.pi])
    z = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    figure = plotting.latent_space(z, angles, label="angle", period=2 * np.pi)
    figure.draw_without_rendering()
    (dots,) = scatters(figure)
    shades = dots.get_facecolors()[np.argsort(np.asarray(dots.get_offsets())[:, 0])]
    np.testing.assert_allclose(shades[0], shades[2], atol=0.02)
    np.testing.assert_allclose(shades[1], shades[3], atol=0.02)
    assert np.abs(shades[0] - shades[1]).max() > 0.2
    (bar,) = figure.axes[0].child_axes
    assert bar.get_ylabel() == "angle"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "π/2", "π", "3π/2", "2π"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latents": np.zeros((3, 1))}, "latents must be"),
        ({"latents": np.full((3, 2), np.nan)}, "must be finite"),
        ({"prior_samples": np.zeros((3, 4))}, "prior_samples must be"),
        ({"labels": np.zeros(4)}, "labels must be"),
        ({"labels": np.arange(3), "names": ("walk",)}, "names must name the classes 0 to 2, got 1"),
        ({"labels": np.array([0.0, 0.5, 1.0]), "period": 0.0}, "period must be positive"),
        ({"log_density": np.zeros((3, 3))}, "needs an extent"),
        ({"log_density": np.zeros(3), "extent": (0, 1, 0, 1)}, "must be a grid"),
        (
            {"latents": np.eye(3), "log_density": np.zeros((3, 3)), "extent": (0, 1, 0, 1)},
            "pass prior_samples",
        ),
        ({"latents": np.ones((12, 2)), "labels": np.array(list("abcdefghijkl"))}, "at most ten"),
    ],
)
def test_latent_space_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.latent_space(**({"latents": np.zeros((3, 2))} | arguments))


def test_plots_leave_matplotlib_unchanged_and_need_no_display(tmp_path):
    script = (
        "import matplotlib, numpy as np, sys; before = dict(matplotlib.rcParams.copy())\n"
        "from vaelab import plotting\n"
        "plotting.latent_space(np.eye(3)).savefig(sys.argv[1])\n"
        "plotting.training_curves([{'step': 0, 'elbo': -1.0}]).savefig(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams.copy()) == before\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "figure.png")]
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    subprocess.run(command, check=True, env=environment)

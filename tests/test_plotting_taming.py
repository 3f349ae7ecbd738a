"""The plots of constrained training: positions, scales, notes, intervals and pixels."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from vaelab.plotting.blocks import Block, sample_blocks
from vaelab.plotting.comparison import equal_distortion, paired_differences
from vaelab.plotting.plane import PlaneSeries, information_plane
from vaelab.plotting.posteriors import posterior_scatter
from vaelab.plotting.style import PALETTE
from vaelab.plotting.trajectory import saddle_trajectory

KAPPA, DIMS, SCALE, MET = 0.1, 50, 50.0, 300


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def boxes(texts):
    return [text.get_window_extent() for text in texts]


def made_plane():
    rng = np.random.default_rng(0)
    rate = np.array([[4000.0], [900.0], [70.0]]) * rng.uniform(0.9, 1.1, size=(3, 4))
    distortion = np.array([[-1.5], [-1.0], [-0.4]]) + rng.uniform(-0.05, 0.05, size=(3, 4))
    rate[1, 2], distortion[2, 0] = np.inf, np.nan
    geco = PlaneSeries("GECO", distortion, jnp.asarray(rate), ("κ 0.06", "κ 0.1", "κ 0.2"), True)
    elbo = PlaneSeries("ELBO", [[-1.7, -1.72]], [[7000.0, 7100.0]])
    return geco, elbo


def test_the_plane_shows_means_over_the_seeds_that_did_not_diverge():
    geco, elbo = made_plane()
    figure = information_plane([geco, elbo])
    (axes,) = figure.axes
    x, y = np.asarray(geco.distortion), np.asarray(geco.rate)
    finite = np.isfinite(x) & np.isfinite(y)
    expected = [(x[i, ok].mean(), y[i, ok].mean()) for i, ok in enumerate(finite)]
    np.testing.assert_allclose(line(axes, "GECO").get_xydata(), expected, rtol=1e-6)
    assert line(axes, "GECO").get_linestyle() == "-"
    assert line(axes, "ELBO").get_linestyle() == "None"
    np.testing.assert_allclose(line(axes, "ELBO").get_xydata(), [[-1.71, 7050.0]])
    (seeds,) = [one for one in axes.get_lines() if len(one.get_xdata()) == finite.sum()]
    np.testing.assert_allclose(seeds.get_xydata(), np.stack([x[finite], y[finite]], -1))
    assert seeds.get_markersize() < line(axes, "GECO").get_markersize()
    assert seeds.get_color() == line(axes, "GECO").get_color()
    assert "diverged, not shown: GECO 2 of 12" in axes.get_title("right")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    figure.draw_without_rendering()


def test_a_setting_without_finite_seeds_breaks_the_line():
    geco, _ = made_plane()
    rate = np.array(geco.rate)
    rate[1] = np.nan
    figure = information_plane([geco._replace(rate=rate)])
    assert np.isnan(line(figure.axes[0], "GECO").get_xydata()).all(1).tolist() == [0, 1, 0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["κ 0.06", "κ 0.2"]
    figure.draw_without_rendering()


def test_a_span_within_a_decade_is_linear_and_single_runs_have_no_note():
    (axes,) = information_plane([PlaneSeries("ELBO", [[90.0], [99.0]], [[20.0], [4.0]])]).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_title("right") == ""
    negative = PlaneSeries("ELBO", [[90.0], [99.0]], [[20.0], [-0.1]])
    assert information_plane([negative]).axes[0].get_yscale() == "linear"


def test_tags_are_beside_their_own_markers_and_apart():
    shift = np.array([[0.0], [1.0], [2.0], [4.5], [9.0]])
    tags = [f"κ {kappa:g}" for kappa in (0.06, 0.08, 0.1, 0.125, 0.175)]
    first = PlaneSeries("RE", 95 + shift, 24 - 0.65 * shift, tags, True)
    second = PlaneSeries("NLL", 95.5 + shift, 24.1 - 0.65 * shift, tags, True)
    figure = information_plane([first, second])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    found = boxes(axes.texts)
    for i, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[:i])
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
    means = np.concatenate([line(axes, name).get_xydata() for name in ("RE", "NLL")])
    centres = np.array([(box.min + box.max) / 2 for box in found])
    distances = np.linalg.norm(axes.transData.transform(means) - centres[:, None], axis=-1)
    np.testing.assert_array_equal(distances.argmin(1), np.arange(10))


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "one to 8 objectives, got 0"),
        ([PlaneSeries("a", [[1.0]], [[1.0, 2.0]])], r"of 'a' must be \[P, S\]"),
        ([PlaneSeries("a", [1.0], [1.0])], r"of 'a' must be \[P, S\]"),
        ([PlaneSeries("a", [[1.0]], [[1.0]], ("x", "y"))], "tags of 'a' must be none or 1"),
        ([PlaneSeries("a", [[1.0]], [[np.nan]])], "a run that is finite"),
    ],
)
def test_the_plane_refuses_arrays_that_do_not_fit(series, message):
    with pytest.raises(ValueError, match=message):
        information_plane(series)


def made_run(num_rows=60):
    """A GECO run: RMSE falls to κ at step 300, λ rises until then and falls after it."""
    rows = []
    for step in range(10, 10 * num_rows + 1, 10):
        error = max(KAPPA**2 - 1e-4, KAPPA**2 * (MET / step)) if step < MET else KAPPA**2 - 1e-4
        rows += [
            {
                "step": step,
                "rate": 40.0 + min(step, MET) / 3,
                "distortion": DIMS * (50 * error - 1.4),
                "average/re": SCALE * (error - KAPPA**2),
                "constraint/re": SCALE * (error * 0.98 - KAPPA**2),
                "multiplier/re": 1.0 + min(step, MET) - max(0, step - MET) / 4,
            },
            {"step": step, "validation/elbo": -1.0},
        ]
    return rows


def coloured(axes):
    """Positions and colour values of the panel's points."""
    (points,) = [c for c in axes.collections if c.get_offsets().size > 2]
    return np.asarray(points.get_offsets()), np.asarray(points.get_array()), points


def test_the_trajectory_shows_the_logged_values_on_one_scale_of_colours():
    rows = made_run()
    figure = saddle_trajectory(rows, kappa=KAPPA, constraint="re", num_dims=DIMS)
    plane, lambdas, bounded = figure.axes
    logged = [row for row in rows if "rate" in row]
    steps = np.array([row["step"] for row in logged])
    rmse = np.sqrt([row["average/re"] / SCALE + KAPPA**2 for row in logged])
    for axes, x, y in (
        (plane, [row["distortion"] / DIMS for row in logged], [row["rate"] for row in logged]),
        (lambdas, steps, [row["multiplier/re"] for row in logged]),
        (bounded, steps, rmse),
    ):
        offsets, values, points = coloured(axes)
        np.testing.assert_allclose(offsets, np.stack([x, y], -1), rtol=1e-12)
        np.testing.assert_array_equal(values, steps)
        assert (points.norm.vmin, points.norm.vmax) == (0, 600)
    assert lambdas.get_yscale() == "log"
    assert set(line(bounded, f"κ = {KAPPA:g}").get_ydata()) == {KAPPA}
    assert set(line(lambdas, f"met at step {MET}").get_xdata()) == {MET}
    ring = line(plane, "constraint first met").get_xydata()
    np.testing.assert_allclose(ring, [[50 * (KAPPA**2 - 1e-4) - 1.4, 140.0]])


def test_the_trajectory_has_the_units_of_any_constraint():
    options = {"kappa": 0.9, "constraint": "re", "num_dims": DIMS, "quantity": "accuracy"}
    figure = saddle_trajectory(
        made_run(8), **options, achieved=lambda average: 0.9 - average / SCALE
    )
    offsets, _, _ = coloured(figure.axes[2])
    average = [row["average/re"] for row in made_run(8) if "rate" in row]
    np.testing.assert_allclose(offsets[:, 1], 0.9 - np.array(average) / SCALE)
    assert figure.axes[2].get_ylabel() == "accuracy"


@pytest.mark.parametrize("num_rows", [1, 12])
def test_the_title_says_that_a_constraint_is_never_met_and_short_runs_are_drawn(num_rows):
    rows = made_run(num_rows)
    rows[-2]["rate"] = None
    figure = saddle_trajectory(rows, kappa=KAPPA, constraint="re", num_dims=DIMS)
    assert figure.axes[1].get_title("right") == "constraint never met"
    figure.draw_without_rendering()


def test_the_trajectory_refuses_rows_that_do_not_fit():
    with pytest.raises(ValueError, match="must log 'average/fre'"):
        saddle_trajectory(made_run(3), kappa=1, constraint="fre", num_dims=DIMS)
    with pytest.raises(ValueError, match="num_dims must be at least 1, got 0"):
        saddle_trajectory(made_run(3), kappa=1, constraint="re", num_dims=0)


def made_seed(final, seed):
    steps = np.arange(100, 5001, 100)
    noise = np.random.default_rng(seed).normal(size=len(steps))
    return [
        {"step": int(s), "rate": final - 800 * np.exp(-s / 500) + e, "distortion": 20 + 9e4 / s + e}
        for s, e in zip(steps, noise, strict=True)
    ]


def test_equal_distortion_shows_seeds_medians_and_the_target():
    curves = {
        "ELBO": [made_seed(1300, seed) for seed in range(3)],
        "GECO": [made_seed(900, seed) for seed in range(3, 8)],
    }
    curves["GECO"][4][-1] |= {"rate": None, "distortion": float("nan")}  # diverged
    figure = equal_distortion(curves, dims=100, target=0.4)
    for axes, key, scale in zip(figure.axes, ("rate", "distortion"), (1, 100), strict=True):
        for name, seeds in curves.items():
            values = np.array([[row[key] for row in rows] for rows in seeds], float) / scale
            expected = np.nanmedian(values, axis=0)
            (bold,) = [x for x in axes.get_lines() if x.get_label().startswith(f"{name}: ")]
            np.testing.assert_allclose(bold.get_ydata(), expected)
            faint = [
                x for x in axes.get_lines() if x.get_color() == bold.get_color() and x is not bold
            ]
            assert len(faint) == len(seeds)
            low, high = axes.get_ylim()
            assert low < expected[-1] < high
    assert set(line(figure.axes[1], "target: 0.400").get_ydata()) == {0.4}
    assert "median of 3/5 seeds" in figure.axes[0].get_title("right")
    figure.draw_without_rendering()


def test_equal_distortion_takes_another_error():
    rows = [row | {"mse": 2.0 / row["step"]} for row in made_seed(900, 0)]
    figure = equal_distortion(
        {"GECO": [rows]}, dims=100, target=4e-4, error=lambda row: row["mse"], error_label="MSE"
    )
    assert legend(figure.axes[1]) == ["GECO: 0.000400", "target: 0.000400"]
    assert figure.axes[1].get_ylabel() == "MSE"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curves": {}}, "one to 8 objectives"),
        ({"dims": 0}, "dims must be at least 1"),
        ({"curves": {"GECO": []}}, "each seed of 'GECO'"),
        ({"curves": {"GECO": [[{"step": 1, "elbo": 2.0}]]}}, "each seed of 'GECO'"),
    ],
)
def test_equal_distortion_refuses_curves_that_do_not_fit(changes, message):
    arguments = {"curves": {"GECO": [made_seed(900, 0)]}, "dims": 100, "target": 0.4}
    with pytest.raises(ValueError, match=message):
        equal_distortion(**(arguments | changes))


def test_paired_differences_show_students_interval():
    rng = np.random.default_rng(0)
    first = rng.normal(180, 15, size=6)
    second = first - rng.normal(120, 20, size=6)
    second[2] = np.nan
    labels = [f"seed {i}" for i in range(6)]
    figure = paired_differences(("ELBO", "GECO"), first, second, labels, "marginal KL, nats")
    left, right = figure.axes
    kept = np.isfinite(second)
    test = stats.ttest_rel(second[kept], first[kept])
    interval = test.confidence_interval(0.95)
    (bars,) = right.containers[0].lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], interval, rtol=1e-9)
    low, high = (f"{value:.0f}".replace("-", "−") for value in interval)
    mean = np.mean(second[kept] - first[kept])
    assert right.get_title("left") == (
        f"mean difference −{-mean:.0f} nats\n95 % interval {low} to {high}"
    )
    joined = [one.get_ydata() for one in left.get_lines() if len(one.get_xdata()) == 2]
    np.testing.assert_array_equal(joined, np.stack([first, second], 1)[kept])
    assert {text.get_text() for text in left.texts} == set(labels) - {"seed 2"}
    assert right.get_ylabel() == "GECO − ELBO, nats"
    assert left.get_xlabel() == "1 of 6 pairs left out: a run diverged"
    figure.draw_without_rendering()
    found = boxes(left.texts)
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])


def test_one_pair_has_no_interval():
    figure = paired_differences(("a", "b"), [3.0], [1.0], ["0"], "rate")
    assert figure.axes[1].get_title("left") == "mean difference −2.00\none pair: no interval"
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"second": [1.0]}, r"must be \[S\] of one length, got \(2,\), \(1,\) and 2"),
        ({"labels": ["0"]}, r"must be \[S\] of one length"),
        ({"names": ("a",)}, "names must be two"),
        ({"second": [np.nan, np.inf]}, "a pair that is finite"),
    ],
)
def test_paired_differences_refuse_arrays_that_do_not_fit(changes, message):
    arguments = {
        "names": ("a", "b"), "first": [1.0, 2.0], "second": [1.0, 3.0], "labels": ["0", "1"],
        "quantity": "rate, nats",
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        paired_differences(**(arguments | changes))


def made_blocks(num, channels=3, images=4):
    rng = np.random.default_rng(0)
    return [
        Block(f"model {i}", *rng.uniform(size=(3, images, 14, 12, channels))) for i in range(num)
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_hold_data_reconstructions_and_samples_in_their_rows(channels):
    blocks = made_blocks(3, channels)
    figure = sample_blocks([blocks[0]._replace(data=jnp.asarray(blocks[0].data)), *blocks[1:]])
    assert [axes.get_title("left") for axes in figure.axes] == ["model 0", "model 1", "model 2"]
    for axes, block in zip(figure.axes, blocks, strict=True):
        canvas = axes.images[0].get_array()
        for row, images in enumerate(block[1:]):
            for column, image in enumerate(images):
                top, left = row * (14 + 2), column * (12 + 1)
                tile = canvas[top : top + 14, left : left + 12]
                np.testing.assert_allclose(tile, np.broadcast_to(image, tile.shape), rtol=1e-6)
    captions = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert captions == [["data", "reconstructions", "samples"], [], []]
    np.testing.assert_array_equal(figure.axes[0].get_yticks(), [6.5, 22.5, 38.5])
    figure.draw_without_rendering()


def test_blocks_say_that_values_are_clipped():
    (block,) = made_blocks(1)
    figure = sample_blocks([block._replace(samples=2 * np.asarray(block.samples))], note="Grey.")
    (text,) = figure.texts
    assert text.get_text() == "Grey. Values outside [0, 1] are clipped."
    figure.draw_without_rendering()
    assert text.get_window_extent().y1 <= figure.axes[0].get_tightbbox().y0
    assert not sample_blocks([block]).texts


def test_many_blocks_wrap_and_do_not_overlap():
    blocks = made_blocks(7)
    blocks[3] = blocks[3]._replace(title="a title that is much longer than its block is wide " * 2)
    figure = sample_blocks(blocks, columns=3, title="ConvDRAW")
    figure.draw_without_rendering()
    labelled = [i for i, axes in enumerate(figure.axes) if axes.get_yticklabels()]
    assert labelled == [0, 3, 6]
    found = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 for box in found)


def test_every_pixel_of_a_block_has_the_same_whole_number_of_dots(tmp_path):
    checks = np.broadcast_to((np.indices((28, 28)).sum(0) % 2)[..., None], (3, 28, 28, 1))
    figure = sample_blocks([Block("a", *[checks.astype(float)] * 3)])
    figure.savefig(tmp_path / "figure.png")
    pixels = matplotlib.image.imread(tmp_path / "figure.png")
    box = figure.axes[0].get_window_extent()
    row = pixels[pixels.shape[0] // 2, round(box.x0) : round(box.x1), 0]
    runs = np.diff(np.flatnonzero(np.diff(row) != 0))
    assert len(runs) > 60
    assert set(runs) <= set(runs.min() * np.arange(1, 5))  # the gap is two pixels, and white


@pytest.mark.parametrize(
    ("blocks", "options", "message"),
    [
        ([], {}, "at least one model"),
        (made_blocks(1), {"columns": 0}, "columns must be at least 1, got 0"),
        ([*made_blocks(1), *made_blocks(1, images=5)], {}, "of block 'model 0' must be"),
        ([Block("a", *np.zeros((3, 2, 4, 4, 1), int))], {}, "divide bytes by 255"),
        ([Block("a", *np.zeros((3, 2, 4, 4)))], {}, "data of block 'a' must be"),
    ],
)
def test_blocks_refuse_images_that_do_not_fit(blocks, options, message):
    with pytest.raises(ValueError, match=message):
        sample_blocks(blocks, **options)


def test_posterior_samples_have_the_colour_of_the_frame_of_their_example():
    rng = np.random.default_rng(0)
    z = {name: rng.normal(size=(3, 20, 2)) for name in ("ELBO", "RE")}
    images, prior = rng.uniform(size=(3, 8, 8, 1)), rng.normal(size=(30, 2))
    figure = posterior_scatter(z, images, prior_samples=prior, title="Micro-MNIST")
    panels, frames = figure.axes[:2], figure.axes[2:]
    for axes, samples in zip(panels, z.values(), strict=True):
        grey, points = axes.collections
        np.testing.assert_array_equal(grey.get_offsets(), prior)
        offsets = np.asarray(points.get_offsets())
        shades = np.array([to_hex(shade).upper() for shade in points.get_facecolors()])
        for datum, colour in zip(samples, PALETTE, strict=False):
            mine = offsets[shades == colour.upper()]
            np.testing.assert_allclose(np.sort(mine, 0), np.sort(datum, 0))
        assert axes.get_aspect() == 1
        assert axes.get_xlim() == panels[0].get_xlim()
    for axes, image, colour in zip(frames, images, PALETTE, strict=False):
        np.testing.assert_allclose(axes.images[0].get_array()[..., :1], image)
        assert to_hex(axes.spines["left"].get_edgecolor()).upper() == colour.upper()
    figure.draw_without_rendering()
    found = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": {}}, "at least one model"),
        ({"samples": {"a": np.zeros((2, 5, 3))}}, r"'a' must be \[2, S, 2\]"),
        ({"samples": {"a": np.full((2, 5, 2), np.nan)}}, "'a' must be finite"),
        ({"images": np.zeros((11, 4, 4, 1))}, "at most 10"),
        ({"prior_samples": np.zeros((4, 3))}, r"prior_samples must be \[M, 2\]"),
    ],
)
def test_posterior_scatter_refuses_arrays_that_do_not_fit(changes, message):
    arguments = {"samples": {"a": np.zeros((2, 5, 2))}, "images": np.zeros((2, 4, 4, 1))}
    with pytest.raises(ValueError, match=message):
        posterior_scatter(**(arguments | changes))

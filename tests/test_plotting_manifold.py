"""Plots of graphs, poses and sequences of images: positions, colours, boxes of jumps, and pixels."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaelab import geometry, plotting
from vaelab.checks import UsageError
from vaelab.plotting import LatentGraph
from vaelab.plotting.graph_panels import PATH_COLOURS
from vaelab.plotting.poses import project
from vaelab.plotting.strips import JUMP, jump_spans
from vaelab.plotting.style import PALETTE

RNG = np.random.default_rng(0)
NODES = RNG.normal(size=(30, 2))
EDGES = np.array([(i, j) for i in range(30) for j in range(i + 1, min(i + 4, 30))])
LENGTHS = np.linalg.norm(NODES[EDGES[:, 0]] - NODES[EDGES[:, 1]], axis=1)
CODES, LABELS = RNG.normal(size=(40, 2)), RNG.integers(0, 3, 40)
NAMES = ("walk", "run", "punch")
BONES = np.array([[0, 1], [1, 2], [0, 3]])
POSES = RNG.normal(size=(2, 9, 4, 3))  # two motions of nine frames
JUMPS = np.zeros((2, 8), bool)
JUMPS[1, 3] = True


def graph(**changes) -> LatentGraph:
    parts = dict(title="VHP", nodes=NODES, edges=EDGES, weights=LENGTHS, codes=CODES,
                 labels=LABELS, paths=[NODES[:5], NODES[[7, 9]]])  # fmt: skip
    return LatentGraph(**parts | changes)


def edges_of(axes) -> LineCollection:
    (edges,) = [each for each in axes.collections if isinstance(each, LineCollection)]
    return edges


def boxes_of(axes) -> list[tuple[float, float, float, float]]:
    """(left, right, bottom, top) of the blue boxes."""
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert all(to_hex(box.get_edgecolor()) == JUMP for box in boxes)
    return [(*sorted((box.get_x(), box.get_x() + box.get_width())),
             *sorted((box.get_y(), box.get_y() + box.get_height()))) for box in boxes]  # fmt: skip


def test_edges_join_their_nodes_and_have_the_shade_of_their_weight():
    edges = edges_of(plotting.latent_graph(graph()).axes[0])
    order = np.argsort(LENGTHS)
    np.testing.assert_allclose(edges.get_segments(), NODES[EDGES[order]])
    np.testing.assert_allclose(edges.get_array(), (LENGTHS / np.median(LENGTHS))[order])
    edges.update_scalarmappable()
    lightness = edges.get_colors()[:, :3].sum(1)
    assert np.all(np.diff(lightness) <= 1e-9)  # heavy edges are dark, and above light ones
    assert lightness[0] > lightness[-1] + 0.5


def test_codes_have_the_colours_of_their_movements_in_every_panel():
    some = LABELS > 0
    first, second = graph(), graph(title="IWAE", codes=CODES[some], labels=LABELS[some])
    figure = plotting.latent_graphs([first, second], names=NAMES, label="movement", title="Motion")
    for axes, one in zip(figure.axes, (first, second), strict=False):
        points = next(each for each in axes.collections if not isinstance(each, LineCollection))
        shades = np.array([to_hex(shade).upper() for shade in points.get_facecolors()])
        for label in np.unique(one.labels):
            mine = np.asarray(points.get_offsets())[shades == PALETTE[label].upper()]
            np.testing.assert_allclose(np.sort(mine, 0), np.sort(one.codes[one.labels == label], 0))
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["walk", "run", "punch", "start", "end"]


def test_paths_have_their_points_their_numbers_and_their_ends():
    (axes, *_) = plotting.latent_graph(graph(), straight=True).axes
    lines = [(to_hex(line.get_color()).upper(), line) for line in axes.get_lines()]
    for colour, path in zip(PATH_COLOURS, graph().paths, strict=False):
        mine = [line.get_xydata() for shade, line in lines if shade == colour.upper()]
        assert any(np.array_equal(data, path) for data in mine)
        assert any(np.array_equal(data, path[[0, -1]]) for data in mine)  # the straight line
    places = {(text.get_text(), *text.xy) for text in axes.texts}
    ends = {(str(i + 1), *path[row]) for i, path in enumerate(graph().paths) for row in (0, -1)}
    assert places == ends


def test_outlying_nodes_do_not_make_the_codes_tiny():
    nodes = np.concatenate([NODES, [[200.0, 0.0], [0.0, -300.0]]])
    edges = np.concatenate([EDGES, [[0, 30], [0, 31]]])
    far = graph(nodes=nodes, edges=edges, weights=np.ones(len(edges)))
    figure = plotting.latent_graph(far)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    points = np.concatenate([CODES, *far.paths])
    low, high = points.min(0), points.max(0)
    view = np.array([axes.get_xlim(), axes.get_ylim()]).T
    assert np.all(view[0] < low)
    assert np.all(view[1] > high)
    sides = (high - low) / (view[1] - view[0])
    assert sides.max() == pytest.approx(1 / 1.2)  # a margin of 10 % on each side
    figure = plotting.latent_graph(far._replace(codes=None, labels=None))
    assert figure.axes[0].get_xlim()[1] > 200


def test_more_dimensions_are_projected_alike_for_nodes_codes_and_paths():
    """A rotation of a plane into five dimensions is undone, up to the signs of the axes."""
    spread = [3.0, 1.0]
    basis = np.linalg.qr(RNG.normal(size=(5, 2)))[0].T
    codes = CODES - CODES.mean(0)
    codes = np.linalg.svd(codes, full_matrices=False)[0] * spread
    embedded = graph(nodes=NODES @ basis, codes=codes @ basis, paths=[codes[:4] @ basis])
    axes = plotting.latent_graph(embedded).axes[0]
    drawn = next(line.get_xydata() for line in axes.get_lines() if len(line.get_xydata()) == 4)
    np.testing.assert_allclose(np.abs(drawn), np.abs(codes[:4]), atol=1e-9)
    lengths = np.linalg.norm(np.diff(edges_of(axes).get_segments(), axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(lengths, np.sort(LENGTHS))
    assert axes.get_xlabel() == "principal axis 1 (90 % of variance)"


def test_colours_of_angles_close_a_circle():
    angles = np.array([0.0, np.pi, 2 * np.pi, -np.pi])
    angular = graph(codes=CODES[:4], labels=angles)
    figure = plotting.latent_graph(angular, label="angle", period=2 * np.pi)
    axes = figure.axes[0]
    points = next(each for each in axes.collections if not isinstance(each, LineCollection))
    place = {tuple(xy): shade for xy, shade in
             zip(np.asarray(points.get_offsets()), points.get_facecolors(), strict=True)}  # fmt: skip
    shades = [place[tuple(code)] for code in CODES[:4]]
    np.testing.assert_allclose(shades[0], shades[2], atol=0.02)
    np.testing.assert_allclose(shades[1], shades[3])
    assert np.abs(shades[0] - shades[1]).max() > 0.2
    bars = axes.child_axes
    assert [bar.get_title("left") for bar in bars] == ["edge weight\n/ median", "angle"]
    assert [tick.get_text() for tick in bars[1].get_yticklabels()] == [
        "0",
        "π/2",
        "π",
        "3π/2",
        "2π",
    ]


def test_legend_and_scale_of_a_small_panel_do_not_overlap():
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)[0]
    plotting.latent_graph(graph(), straight=True, ax=axes)
    figure.draw_without_rendering()
    legend, (bar,) = axes.get_legend().get_window_extent(), axes.child_axes
    assert legend.y0 > bar.get_tightbbox().y1
    assert legend.x1 < figure.axes[1].get_tightbbox().x0


def test_graphs_draw_into_given_axes_and_are_drawn_without_codes_and_edges():
    figure = Figure(layout="constrained")
    first, second = figure.subplots(1, 2)
    bare = LatentGraph("bare", NODES, np.empty((0, 2), int), np.empty(0))
    assert plotting.latent_graph(bare, ax=second) is figure
    plotting.latent_graph(graph(labels=None, weights=0 * LENGTHS, paths=()), ax=first)
    figure.draw_without_rendering()
    assert [axes.get_title("left") for axes in (first, second)] == ["VHP", "bare"]


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({"nodes": NODES[:, :1]}, {}, r"nodes of 'VHP' must be \[N, D\] with D ≥ 2, got the shape \(30, 1\)"),
        ({"codes": CODES[:, :1]}, {}, r"codes of 'VHP' must be \[M, 2\], got \(40, 1\)"),
        ({"paths": [NODES[:1]]}, {}, r"paths of 'VHP' must be each \[T ≥ 2, 2\], got \(1, 2\)"),
        ({"paths": [NODES] * 7}, {}, "paths of 'VHP' must be at most 6, one for each colour, got 7"),
        ({"weights": LENGTHS[1:]}, {}, r"edges and weights of 'VHP' must be integers \[E, 2\] and \[E\]"),
        ({"weights": -LENGTHS}, {}, "weights of 'VHP' must not be negative"),
        ({"weights": np.full(len(EDGES), np.inf)}, {}, "all values of 'VHP' must be finite"),
        ({"edges": EDGES + 1}, {}, "edges of 'VHP' must name nodes from 0 to 29, got 1 to 30"),
        ({"labels": LABELS[1:]}, {}, r"labels of 'VHP' must be numbers \[40\] like codes"),
        ({"labels": np.arange(40)}, {}, "labels must be at most 10 classes, got 40"),
        ({}, {"names": ("walk",)}, "names must name the classes 0 to 2, got 1 names"),
        ({}, {"period": 0.0}, "period must be positive"),
    ],
)  # fmt: skip
def test_graphs_that_do_not_fit_are_refused(changes, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.latent_graph(graph(**changes), **options)


def test_a_graph_of_geometry_is_refused_with_the_call_that_draws_it():
    nodes = geometry.neighbour_graph(NODES, 3)
    sentence = (
        r"LatentGraph, got Graph: give LatentGraph\(title, graph\.nodes, graph\.edges, weights\)"
    )
    with pytest.raises(UsageError, match=sentence):
        plotting.latent_graph(nodes)
    with pytest.raises(UsageError, match=r"graph must be a plotting\.LatentGraph, got str"):
        plotting.latent_graphs(graph())
    plotting.latent_graph(LatentGraph("nodes", nodes.nodes, nodes.edges, nodes.lengths))


def test_no_graph_is_refused():
    with pytest.raises(ValueError, match="graphs must hold at least one graph, got none"):
        plotting.latent_graphs([])


def test_the_view_turns_about_the_vertical_axis_through_the_root():
    pose = np.array([[5.0, 1, 7], [5, 2, 8], [6, 1, 7]])  # the root, one joint ahead, one beside
    np.testing.assert_allclose(project(pose, 0, 0).joints, [[0, 1], [0, 2], [1, 1]])
    np.testing.assert_allclose(project(pose, 0, 0).depths, [0, 1, 0])
    np.testing.assert_allclose(project(pose, 90, 0).joints, [[0, 1], [1, 2], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(project(pose, 90, 0).depths, [0, 0, -1], atol=1e-12)
    turned = project(pose, 40)
    distances = np.hypot(*turned.joints[1:].T - turned.joints[0][:, None])
    np.testing.assert_allclose(distances**2 + turned.depths[1:] ** 2, [2, 1])


def test_jumps_become_boxes_around_the_shown_frames():
    jumps = np.zeros(9, bool)
    jumps[[0, 4, 5]] = True
    assert jump_spans(jumps, np.arange(10)) == [(0, 1), (4, 6)]
    assert jump_spans(jumps, np.array([0, 5, 9])) == [(0, 2)]
    assert jump_spans(jumps, np.array([1, 4, 9])) == [(1, 2)]
    assert jump_spans(~jumps[:0], np.array([0])) == []


def test_figures_stand_in_their_cells_with_one_scale():
    """Each figure is the projection of its pose, moved by its column and row alone."""
    (axes,) = plotting.stick_figures(POSES, BONES, columns=5, azimuth=20).axes
    frames = [0, 2, 4, 6, 8]
    flat = project(POSES[:, frames], 20).joints
    width, height = axes.get_xlim()[1] / 5, axes.get_ylim()[1] / 2
    segments = np.array(edges_of(axes).get_segments())
    low = flat.reshape(-1, 2).min(0)
    found = np.sort(segments.reshape(-1, 2), 0)
    rows, columns = np.indices((2, 5))
    place = np.stack([columns * width, (1 - rows) * height], -1)
    moved = (flat - low + place[:, :, None])[:, :, BONES].reshape(-1, 2)
    offset = found - np.sort(moved, 0)  # the margin, which is the same for all
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-9)
    cell = np.floor(segments / [width, height])
    assert np.array_equal(cell[:, 0], cell[:, 1])  # no figure reaches into another cell


def test_the_box_of_a_jump_holds_its_figures_alone():
    (axes,) = plotting.stick_figures(POSES, BONES, jumps=JUMPS, row_labels=["a", "b"]).axes
    width, height = axes.get_xlim()[1] / 9, axes.get_ylim()[1] / 2
    ((left, right, bottom, top),) = boxes_of(axes)
    np.testing.assert_allclose(np.divide([left, right], width), [3, 5], atol=0.05)
    np.testing.assert_allclose(np.divide([bottom, top], height), [0, 1], atol=0.05)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_xlabel() == "A blue box marks neighbours with a jump between them."
    assert not boxes_of(plotting.stick_figures(POSES, BONES).axes[0])


def test_strips_show_each_frame_in_its_place_and_box_its_jumps():
    images = np.broadcast_to((np.arange(18) / 18).reshape(2, 9, 1, 1, 1), (2, 9, 6, 4, 1))
    (axes,) = plotting.image_strips(images, jumps=JUMPS, columns=5, row_labels=["a", "b"]).axes
    canvas = np.asarray(axes.images[0].get_array())[..., 0]
    assert canvas.shape == (2 * 6 + 3, 5 * 4 + 4)
    np.testing.assert_allclose(canvas[::9, ::5], images[:, ::2, 0, 0, 0])
    ((left, right, top, bottom),) = boxes_of(axes)  # jump 3 is between the shown frames 2 and 4
    assert (left, right) == (5 - 1, 3 * 5 - 1)
    assert (top, bottom) == (9 - 1, 9 + 6)


def test_every_pixel_of_a_strip_has_the_same_whole_number_of_dots(tmp_path):
    checks = np.broadcast_to((np.indices((16, 16)).sum(0) % 2)[..., None], (2, 6, 16, 16, 1))
    figure = plotting.image_strips(checks.astype(float), title="a title", row_labels=["a", "b"])
    figure.savefig(tmp_path / "figure.png")
    pixels = matplotlib.image.imread(tmp_path / "figure.png")
    box = figure.axes[0].get_window_extent()
    row = pixels[pixels.shape[0] - round(box.y1) + 3, round(box.x0) : round(box.x1), 0]
    runs = np.diff(np.flatnonzero(np.diff(row) != 0))
    assert len(runs) > 80
    assert set(runs) <= {runs.min(), 2 * runs.min()}  # a gap of one pixel may join a white pixel


@pytest.mark.parametrize("num_rows", [1, 6])
@pytest.mark.parametrize("label", ["decoded path, VHP, REWO", "W" * 60])
def test_long_labels_of_rows_are_not_cut(num_rows, label):
    poses = np.broadcast_to(POSES[:1], (num_rows, 9, 4, 3))
    labels = [label] * num_rows
    for figure in (
        plotting.stick_figures(poses, BONES, row_labels=labels, columns=5),
        plotting.image_strips(np.zeros((num_rows, 9, 16, 16, 1)), row_labels=labels),
    ):
        figure.draw_without_rendering()
        for text in figure.axes[0].get_yticklabels():
            assert text.get_window_extent().x0 >= 0
        assert figure.axes[0].get_window_extent().x1 <= figure.bbox.width + 1


def test_strips_draw_into_given_axes_and_say_what_they_clip():
    figure = Figure(layout="constrained")
    top, bottom = figure.subplots(2)
    assert plotting.stick_figures(POSES, BONES, ax=top) is figure
    assert plotting.image_strips(np.full((1, 3, 4, 4, 1), 2.0), note="Grey.", ax=bottom) is figure
    assert bottom.get_xlabel() == "Grey.\nValues outside [0, 1] are clipped."
    figure.draw_without_rendering()


IMAGES = np.zeros((2, 9, 4, 4, 1))


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: plotting.stick_figures(POSES[0], BONES), r"poses must be \[R, T, J, 3\], got the shape \(9, 4, 3\)"),
        (lambda: plotting.stick_figures(POSES / np.where(np.arange(9) == 5, 0, 1)[:, None, None], BONES),
         "poses must be finite, got NaN or infinity in row 0, frame 5"),
        (lambda: plotting.stick_figures(POSES, [[0, 4]]), "bones must name joints from 0 to 3, got 0 to 4"),
        (lambda: plotting.stick_figures(POSES, [0.5]), r"bones must be pairs of joints, integers \[B, 2\]"),
        (lambda: plotting.stick_figures(POSES, BONES, jumps=JUMPS[:1]), r"jumps must be \[2, 8\], one for each"),
        (lambda: plotting.stick_figures(POSES, BONES, columns=0), "columns must be at least 1, got 0"),
        (lambda: plotting.image_strips(IMAGES[0]), r"images must be \[R, T, height, width, channels\]"),
        (lambda: plotting.image_strips(IMAGES.astype(int)), "divide bytes by 255"),
        (lambda: plotting.image_strips(IMAGES, row_labels=["a"]), "row_labels must be none or 2"),
        (lambda: plotting.animate_images(IMAGES[0]), r"images must be \[R, T, height, width, channels\]"),
        (lambda: plotting.animate_images(IMAGES, jumps=JUMPS.T), r"jumps must be \[2, 8\]"),
        (lambda: plotting.animate_stick_figures(POSES, BONES, columns=0), "columns must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_sequences_that_do_not_fit_are_refused(draw, sentence):
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=sentence):
        draw()


def blue(frames) -> np.ndarray:
    """For each frame, the share of pixels in the blue of jumps, in the left and the right half."""
    shade = np.array([int(JUMP[i : i + 2], 16) for i in (1, 3, 5)])
    is_blue = (np.abs(frames.astype(int) - shade) < 40).all(-1)
    return np.stack([half.mean((1, 2)) for half in np.array_split(is_blue, 2, axis=2)], -1)


def test_an_animation_shows_every_image_and_marks_both_frames_of_a_jump():
    values = np.arange(18).reshape(2, 9) / 18
    images = np.broadcast_to(values[..., None, None, None], (2, 9, 4, 4, 1))
    frames = plotting.animate_images(images, jumps=JUMPS)
    assert frames.dtype == np.uint8
    assert len(frames) == 9
    _, height, width, _ = frames.shape
    for row, column in enumerate((width // 4, 3 * width // 4)):
        np.testing.assert_allclose(frames[:, height // 2, column, 0] / 255, values[row], atol=0.01)
    marked = blue(frames) > 0
    assert np.argwhere(marked).tolist() == [[3, 1], [4, 1]]


def test_an_animation_of_poses_moves_where_the_poses_move():
    still = POSES.copy()
    still[0] = POSES[0, :1]
    frames = plotting.animate_stick_figures(still, BONES, jumps=JUMPS, row_labels=["a", "b"])
    left, right = np.array_split(frames, 2, axis=2)
    assert (left == left[0]).all()
    assert (right[1:] != right[:-1]).any((1, 2, 3)).all()
    assert np.argwhere(blue(frames) > 0).tolist() == [[3, 1], [4, 1]]

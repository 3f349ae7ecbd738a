"""Plots of levels: the values of their bars, the places of their images, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer

from vaelab import plotting
from vaelab.plotting import ChainPanel, LevelBlock, LevelQuantity
from vaelab.plotting.style import PALETTE

SHARES = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])


def grid(rows, columns, side=4):
    """Image (r, c) has the value (r · columns + c) / (rows · columns)."""
    values = np.arange(rows * columns).reshape(rows, columns) / (rows * columns)
    return np.broadcast_to(values[..., None, None, None], (rows, columns, side, side, 1))


def chain(**changes) -> ChainPanel:
    images = np.swapaxes(grid(3, 2), 0, 1)  # [T = 2, M = 3, ...]
    parts = dict(
        title="from data", steps=(0, 10), images=images, shares=SHARES, reference=[0.4, 0.6, 0.0],
        model_shares=[0.1, 0.8, 0.1], total_variation=[0.25, 0.4], errors=[0.01, 0.02],
        distance_to_model=[0.3, 0.2], floor=0.05,
    )  # fmt: skip
    return ChainPanel(**parts | changes)


def test_traversals_place_each_image_in_its_row_and_column():
    figure = plotting.level_traversals(
        [LevelBlock("bottom", grid(2, 3), "a note"), LevelBlock("top", grid(3, 1))], title="model"
    )
    left, right = figure.axes
    canvas = np.asarray(left.images[0].get_array())[..., 0]
    np.testing.assert_allclose(canvas[::5, ::5], grid(2, 3)[..., 0, 0, 0])
    assert [axes.get_title("left") for axes in figure.axes] == ["bottom", "top"]
    assert left.get_xlabel() == "a note"
    assert left.get_position().x1 < right.get_position().x0
    assert left.get_position().y1 == pytest.approx(right.get_position().y1, abs=0.01)


def test_chains_show_images_in_line_with_the_shares_of_their_step():
    figure = plotting.label_chains([chain(), chain(title="from noise")])
    images, _, bars, _, distance, _ = figure.axes
    canvas = np.asarray(images.images[0].get_array())[..., 0]
    np.testing.assert_allclose(canvas[::5, ::5], grid(3, 2)[..., 0, 0, 0])
    left, right, *_ = images.images[0].get_extent()
    assert -0.5 <= left < 0 < 1 < right <= 1.5  # columns around the places 0 and 1
    heights = {
        (round(patch.get_x() + patch.get_width() / 2, 3), to_rgb(patch.get_facecolor())): patch
        for patch in bars.patches
        if patch.get_height()
    }
    assert heights[0, to_rgb(PALETTE[0])].get_height() == pytest.approx(0.5)
    assert heights[0, to_rgb(PALETTE[1])].get_y() == pytest.approx(0.5)
    assert heights[2.5, to_rgb(PALETTE[1])].get_height() == pytest.approx(0.8)  # the model
    assert heights[3.5, to_rgb(PALETTE[1])].get_height() == pytest.approx(0.6)  # the data
    (curve,) = [line for line in distance.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(curve.get_xydata(), [[0, 0.25], [1, 0.4]])
    (dashed,) = [line for line in distance.get_lines() if line.get_marker() == "s"]
    np.testing.assert_allclose(dashed.get_ydata(), [0.3, 0.2])
    assert [tick.get_text() for tick in distance.get_xticklabels()] == ["0", "10", "model", "data"]


@pytest.mark.parametrize("steps", [(0, 1), tuple(range(14))])
def test_images_of_chains_are_not_stretched(steps):
    """Images of 12 × 8 pixels, with one pixel of white between them."""
    num = len(steps)
    images = np.zeros((num, 4, 12, 8, 1))
    figure = plotting.label_chains(
        [chain(steps=steps, images=images, shares=np.tile(SHARES[:1], (num, 1)),
               total_variation=[0.1] * num, errors=[0.0] * num, distance_to_model=[0.1] * num)] * 2,
        title="model", caption="A caption.",
    )  # fmt: skip
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (image,) = axes.images
    box = image.get_window_extent()
    height, width = image.get_array().shape[:2]
    assert box.width / width == pytest.approx(box.height / height, rel=0.05)


def test_bars_of_models_stand_side_by_side_with_two_standard_errors():
    quantity = LevelQuantity(
        "KL, nats", {"a": [3.0, 2.0, 1.0], "b": [5.0, 4.0]}, {"a": [0.1] * 3, "b": [np.nan, 0.2]},
        reference=2.5, reference_label="constant",
    )  # fmt: skip
    (axes,) = plotting.level_bars([quantity]).axes
    bars = [
        [patch.get_height() for patch in each]
        for each in axes.containers
        if isinstance(each, BarContainer)
    ]
    assert [1.0, 2.0, 3.0] in bars
    assert [4.0, 5.0] in bars
    (first,) = [line for line in axes.collections if len(line.get_segments()) == 3]
    np.testing.assert_allclose(first.get_segments()[0][:, 1], [0.8, 1.2])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["bottom", "2", "top"]
    assert [text.get_text() for text in axes.texts] == ["constant"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: plotting.level_traversals([]), "blocks must hold at least one level, got none"),
        (lambda: plotting.level_traversals([LevelBlock("top", np.zeros((2, 4, 4, 1)))]),
         r"images of block 'top' must be \[rows, columns"),
        (lambda: plotting.level_traversals([LevelBlock(n, grid(2, 2, side)) for n, side in (("a", 4), ("b", 5))]),
         r"images of block 'b' must be \[rows, columns, 4, 4, channels\]"),
        (lambda: plotting.label_chains([]), "panels must hold at least one kind of start"),
        (lambda: plotting.label_chains([chain(steps=(0, 1, 2))]), r"must be \[3, M, height"),
        (lambda: plotting.label_chains([chain(shares=SHARES[:, :2])]), "must have the shapes"),
        (lambda: plotting.label_chains([chain(shares=np.zeros((2, 12)), reference=np.zeros(12),
                                             model_shares=np.zeros(12))]),
         "reference must hold 1 to 10 classes"),
        (lambda: plotting.level_bars([]), "quantities must hold at least one quantity"),
        (lambda: plotting.level_bars([LevelQuantity("KL", {}, {})]), "one to 8 models, got 0"),
        (lambda: plotting.level_bars([LevelQuantity("KL", {"a": [1.0]}, {"b": [1.0]})]), "of the models a, got"),
        (lambda: plotting.level_bars([LevelQuantity("KL", {"a": [1.0]}, {"a": [1.0, 2.0]})]), "of one length"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(draw, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw()

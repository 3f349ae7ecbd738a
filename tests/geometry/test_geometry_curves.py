"""Curves of known length, known second differences and known jumps."""

import numpy as np
import pytest

from vaelab import geometry
from vaelab.checks import UsageError


def arc(num_points: int, angle: float = np.pi, radius: float = 2.0) -> np.ndarray:
    t = np.linspace(0, angle, num_points)
    return radius * np.stack([np.cos(t), np.sin(t)], axis=1)


def length(path: np.ndarray) -> float:
    return float(geometry.steps(path).sum())


def test_resampling_a_polyline_at_its_own_corners_keeps_it_and_its_length():
    path = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
    np.testing.assert_allclose(geometry.resample(path, 4), path, atol=1e-15)
    assert length(geometry.resample(path, 31)) == pytest.approx(length(path), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_resampling_keeps_the_ends_and_the_arc_length_between_points(seed):
    path = np.random.default_rng(seed).normal(size=(9, 3))
    position = np.append(0, np.cumsum(geometry.steps(path)))
    points = geometry.resample(path, 50)
    np.testing.assert_allclose(points[[0, -1]], path[[0, -1]], atol=1e-12)
    for t, point in enumerate(points):  # the point at arc length t/49 of the path
        at = t / 49 * position[-1]
        row = min(np.searchsorted(position, at, side="right") - 1, 7)
        part = (at - position[row]) / (position[row + 1] - position[row])
        np.testing.assert_allclose(point, path[row] + part * (path[row + 1] - path[row]), atol=1e-9)
    assert length(points) <= length(path)


def test_the_length_of_a_resampled_arc_converges_to_that_of_the_arc():
    assert length(geometry.resample(arc(2000), 500)) == pytest.approx(2 * np.pi, rel=1e-5)


def test_resampling_twice_changes_a_line_only_once():
    line = np.array([[0.0], [0.1], [5.0]])
    np.testing.assert_allclose(geometry.resample(line, 11)[:, 0], np.linspace(0, 5, 11))
    np.testing.assert_allclose(
        geometry.resample(geometry.resample(line, 7), 11)[:, 0], np.linspace(0, 5, 11)
    )


def test_a_path_of_one_node_or_of_equal_nodes_becomes_equal_points():
    for path in ([[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]]):
        np.testing.assert_array_equal(geometry.resample(path, 3), [[1.0, 2.0]] * 3)


def test_repeated_points_of_a_path_do_not_count():
    path = np.array([[0.0], [0.0], [1.0], [1.0], [1.0], [4.0]])
    np.testing.assert_allclose(geometry.resample(path, 5)[:, 0], [0, 1, 2, 3, 4])


def test_a_straight_line_has_equal_steps_and_no_second_differences():
    line = geometry.straight_line(np.array([1.0, -1.0]), np.array([4.0, 3.0]), 6)
    np.testing.assert_allclose(geometry.steps(line), 1.0)
    np.testing.assert_allclose(geometry.second_differences(line), 0.0, atol=1e-15)
    np.testing.assert_array_equal(geometry.straight_line([2.0], [2.0], 2), [[2.0], [2.0]])


def test_second_differences_of_a_parabola_and_of_a_circle_are_known():
    t = np.arange(6.0)
    np.testing.assert_allclose(
        geometry.second_differences(np.stack([1.5 * t**2, 2 * t**2], axis=1)), 5.0
    )
    step = np.pi / 10  # |e^{i(t+h)} − 2 e^{it} + e^{i(t−h)}| = 2 (1 − cos h)
    np.testing.assert_allclose(
        geometry.second_differences(arc(11, radius=1.0)), 2 * (1 - np.cos(step)), rtol=1e-12
    )


def test_a_stack_of_curves_is_measured_curve_by_curve():
    curves = np.random.default_rng(0).normal(size=(2, 3, 7, 4))
    for function in (
        geometry.steps,
        geometry.second_differences,
        lambda y: geometry.jumps(y, 1.2),
    ):
        together = function(curves)
        assert together.shape[:2] == (2, 3)
        np.testing.assert_array_equal(together[1, 2], function(curves[1, 2]))


def test_a_jump_is_found_at_its_place_whatever_the_scale_of_the_curve():
    y = np.append(np.arange(10.0), np.arange(10.0) + 100)[:, None]  # 18 steps of 1, one of 91
    for scale in (1e-3, 1.0, 1e6):
        (place,) = np.flatnonzero(geometry.jumps(scale * y, 5.0))
        assert place == 9
    mean = (18 + 91) / 19
    assert not geometry.jumps(y, 91 / mean + 1e-9).any()
    assert geometry.jumps(y, 91 / mean - 1e-9).sum() == 1


def test_curves_at_constant_speed_and_curves_that_rest_have_no_jumps():
    assert not geometry.jumps(arc(20), 1.001).any()
    assert not geometry.jumps(np.ones((4, 5, 2)), 3.0).any()


def test_the_jump_threshold_is_the_quantile_of_steps_within_clips():
    rng = np.random.default_rng(1)
    sizes = [rng.exponential(size=400), 7 * rng.exponential(size=200)]
    frames = np.concatenate([100 * i + np.append(0, np.cumsum(s)) for i, s in enumerate(sizes)])
    clips = np.repeat([3, 1], [401, 201])
    relative = np.concatenate([s / s.mean() for s in sizes])
    for quantile in (0.5, 0.999, 1.0):
        assert geometry.jump_threshold(frames[:, None], clips, quantile) == pytest.approx(
            np.quantile(relative, quantile), rel=1e-9
        )


def test_the_jump_threshold_does_not_depend_on_units_or_on_the_speed_of_a_clip():
    rng = np.random.default_rng(2)
    clip = np.cumsum(rng.exponential(size=(300, 2)), axis=0)
    both, clips = np.concatenate([clip, 50 * clip]), np.repeat([0, 1], 300)
    for quantile in (0.5, 1.0):  # the median of each step taken twice is the median
        one = geometry.jump_threshold(clip, quantile=quantile)
        assert geometry.jump_threshold(1000 * clip, quantile=quantile) == pytest.approx(one)
        assert geometry.jump_threshold(both, clips, quantile) == pytest.approx(one)


def test_a_clip_that_rests_and_a_clip_of_one_frame_do_not_change_the_threshold():
    frames = np.array([[0.0], [1.0], [4.0], [9.0], [9.0], [9.0], [70.0]])
    clips = np.array([0, 0, 0, 1, 1, 1, 2])
    assert geometry.jump_threshold(frames, clips, 1.0) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: geometry.resample([[0.0], [1.0]], 1), "num_points must be a whole number and at"),
        (lambda: geometry.resample(None, 3), "path is None, because no path joins its pair: leave"),
        (lambda: geometry.resample([0.0, 1.0], 3), r"path must be an array \[N, D\]"),
        (
            lambda: geometry.resample(np.array([4, 1]), 3),
            r"points \[L, D\], got the shape \(2,\): give graph\.nodes\[numbers\]",
        ),
        (
            lambda: geometry.resample(np.eye(2)[None], 3),
            r"got the shape \(1, 2, 2\): give graph\.nodes",
        ),
        (lambda: geometry.resample([[0.0], [np.nan]], 3), "path holds nan in example 1"),
        (lambda: geometry.resample(np.zeros((0, 2)), 3), "path is empty"),
        (lambda: geometry.straight_line(0.0, [1.0], 3), r"start must be an array \[D\]"),
        (lambda: geometry.straight_line([0.0], [1.0, 2.0], 3), "shape of start = .1,. and shape"),
        (lambda: geometry.steps([[0.0]]), "with T ≥ 2 points, got the shape .1, 1."),
        (lambda: geometry.second_differences(np.zeros((2, 3))), "with T ≥ 3 points"),
        (lambda: geometry.steps([[0.0], [np.inf]]), "y holds inf"),
        (lambda: geometry.jumps(np.zeros((3, 1)), 0.0), "threshold must be positive and finite"),
        (lambda: geometry.jump_threshold(np.zeros((3, 1))), "frames do not move within any clip"),
        (
            lambda: geometry.jump_threshold(np.arange(3.0)[:, None], [0, 1, 2]),
            "frames do not move within any clip",
        ),
        (
            lambda: geometry.jump_threshold(np.arange(3.0)[:, None], [0, 1]),
            "shape of clips = .2,. and shape of rows = .3,.",
        ),
        (
            lambda: geometry.jump_threshold(np.arange(3.0)[:, None], quantile=99.9),
            r"quantile must lie in \(0, 1\], got 99.9",
        ),
    ],
)
def test_a_mistake_with_curves_is_one_sentence(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()

"""The ring is found on circles and on nothing else."""

import sys

import numpy as np
import pytest

from vaelab import geometry
from vaelab.checks import MissingPackageError, UsageError


def circle(rng, num_points: int, noise: float = 0.0, dim: int = 2) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, num_points)
    points = noise * rng.normal(size=(num_points, dim))
    points[:, :2] += np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points


def disk(rng, num_points: int) -> np.ndarray:
    return circle(rng, num_points) * np.sqrt(rng.uniform(size=(num_points, 1)))


def eight(rng, num_points: int) -> np.ndarray:
    return circle(rng, num_points, 0.02) + rng.choice([-1.0, 1.0], (num_points, 1)) * [1.0, 0.0]


SETS = {
    "circle with noise": (lambda rng: circle(rng, 2000, 0.1), True),
    "circle with much noise": (lambda rng: circle(rng, 2000, 0.2), True),
    "circle in 8 dimensions": (lambda rng: circle(rng, 2000, 0.05, 8), True),
    "disk": (lambda rng: disk(rng, 2000), False),
    "normal distribution": (lambda rng: rng.normal(size=(2000, 2)), False),
    "normal distribution in 8 dimensions": (lambda rng: rng.normal(size=(2000, 8)), False),
    "line": (lambda rng: np.outer(rng.uniform(size=500), [1.0, 2.0]), False),
    "one dimension": (lambda rng: rng.normal(size=(500, 1)), False),
    "eight": (lambda rng: eight(rng, 1000), False),
    "equal points": (lambda rng: np.ones((20, 2)), False),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SETS)
def test_the_ring_is_found_on_circles_alone(name, seed):
    points, is_ring = SETS[name]
    found = geometry.loops(points(np.random.default_rng(seed)))
    assert geometry.has_loop(found) == is_ring
    assert np.isfinite(found.births).all()
    assert np.isfinite(found.deaths).all()
    assert (np.diff(found.persistence) <= 0).all()


@pytest.mark.parametrize(("num_corners", "radius"), [(12, 1.0), (60, 3.0)])
def test_the_loop_of_a_regular_polygon_has_known_birth_and_death(num_corners, radius):
    """It is born at the side. It dies with the equilateral triangle, for corners divisible by 3."""
    angle = 2 * np.pi * np.arange(num_corners) / num_corners
    found = geometry.loops(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    assert found.births == pytest.approx([2 * radius * np.sin(np.pi / num_corners)])
    assert found.deaths == pytest.approx([radius * np.sqrt(3)])
    assert found.dominance == np.inf
    assert geometry.has_loop(found)


def test_the_ring_is_found_among_stray_points_once_the_densest_points_are_chosen():
    rng = np.random.default_rng(0)
    ring, stray = circle(rng, 1900, 0.03), disk(rng, 100)
    points = np.concatenate([ring, stray])
    assert not geometry.has_loop(geometry.loops(points))
    dense = geometry.densest_points(points, 0.9)
    assert len(dense) == 1800
    assert geometry.has_loop(geometry.loops(points[dense]))


def test_the_densest_points_are_those_with_the_nearest_neighbours():
    points = np.random.default_rng(0).normal(size=(100, 2))
    radius = np.sort(np.linalg.norm(points[:, None] - points, axis=-1), axis=1)[:, 5]
    expected = np.sort(np.argsort(radius)[:30])
    np.testing.assert_array_equal(geometry.densest_points(points, 0.3, 5), expected)


def test_an_arc_that_does_not_close_is_no_ring():
    angle = np.linspace(0, 1.2 * np.pi, 80)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert not geometry.has_loop(geometry.loops(arc))


def test_two_triangles_of_points_have_no_loop_and_an_eight_has_two_alike():
    assert geometry.loops(np.eye(3)).dominance == 0
    found = geometry.loops(eight(np.random.default_rng(0), 1000))
    assert found.dominance == pytest.approx(1, abs=0.1)
    assert found.persistence[1] > 10 * found.persistence[2:].max(initial=0)


def test_farthest_points_cover_the_set_within_their_own_spacing():
    points = np.random.default_rng(0).normal(size=(400, 3))
    chosen = geometry.farthest_points(points, 40)
    assert len(set(chosen.tolist())) == 40
    uncovered = geometry.nearest_distances(points[chosen], points).max()
    spacing = min(
        geometry.nearest_distances(np.delete(points[chosen], i, axis=0), points[chosen][[i]])[0]
        for i in range(40)
    )
    assert uncovered <= spacing  # Gonzalez' certificate of the factor 2
    np.testing.assert_array_equal(geometry.farthest_points(points, 20), chosen[:20])
    assert len(geometry.farthest_points(points[:5], 40)) == 5


def test_a_mistake_with_loops_is_one_sentence(monkeypatch):
    with pytest.raises(UsageError, match="points holds nan in example 1"):
        geometry.loops([[0.0], [np.nan]])
    with pytest.raises(UsageError, match=r"ndarray: write has_loop\(loops\(points\)\)"):
        geometry.has_loop(np.eye(3))
    with pytest.raises(
        UsageError, match=r"^points must be .* Graph .*, such as the nodes of a graph"
    ):
        geometry.loops(geometry.neighbour_graph(np.eye(3), 1))
    with pytest.raises(UsageError, match="num_points must be at least 1, got 0"):
        geometry.loops([[0.0], [1.0]], num_points=0)
    with pytest.raises(UsageError, match=r"share must lie in \(0, 1\] and keep at least one of 2"):
        geometry.densest_points([[0.0], [1.0]], 0.1, 1)
    with pytest.raises(
        UsageError, match="num_neighbours is 2, but there are 2 points: choose at most 1"
    ):
        geometry.densest_points([[0.0], [1.0]], 0.5, 2)
    monkeypatch.setitem(sys.modules, "gudhi", None)
    with pytest.raises(
        MissingPackageError, match=r"vaelab\.geometry\.loops needs the package gudhi"
    ):
        geometry.loops([[0.0], [1.0]])

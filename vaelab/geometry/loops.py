"""Is a set of points a ring? Persistent homology of its loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vaelab.checks import MissingPackageError, UsageError, check_at_least_one
from vaelab.geometry.neighbours import finite, others


class Loops(NamedTuple):
    """The loops (classes of H1) of a growing neighbourhood of points, the most persistent first."""

    births: np.ndarray  # [L], the smallest edge length at which the loop is closed
    deaths: np.ndarray  # [L], the edge length at which triangles fill it

    @property
    def persistence(self) -> np.ndarray:
        """death − birth, [L], falling."""
        return self.deaths - self.births

    @property
    def dominance(self) -> float:
        """Persistence of the first loop over that of the second: ∞ if there is one only, 0 if there is none."""
        if not len(self.births):
            return 0.0
        return float(self.persistence[0] / self.persistence[1]) if len(self.births) > 1 else np.inf


def loops(points: Any, num_points: int = 200) -> Loops:
    """Birth and death of each loop in the Vietoris–Rips filtration of the points. [N, D] -> Loops.

    At edge length r, all pairs within r are joined, and all triangles whose sides are joined are filled. A
    circle of radius R has one long loop: it is born at the largest gap between neighbours, and dies at √3 R.
    Edelsbrunner and Harer, 2010, Computational topology, chapter VII; Adamaszek and Adams, 2017.

    Args:
      points: [N, D], such as codes or prior samples. A single point in the middle of a circle lets its loop
        die at R: `densest_points` finds those to keep.
      num_points: at most this many points are used, chosen by `farthest_points`. Time grows with their cube.

    Raises:
      UsageError: points are not finite or not [N, D]; num_points is below 1.
      MissingPackageError: gudhi is not installed.

    >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> loops(corners)  # the sides close the loop, the diagonals fill it
    Loops(births=array([1.]), deaths=array([1.41421356]))
    """
    (points,) = finite(points=points)
    chosen = points[farthest_points(points, num_points)].astype(np.float64)
    try:
        from gudhi import RipsComplex
    except ModuleNotFoundError as error:
        raise MissingPackageError.of(error, "vaelab.geometry.loops") from error
    tree = RipsComplex(points=chosen).create_simplex_tree(max_dimension=1)
    tree.collapse_edges()  # fewer edges of the same homology
    tree.expansion(2)
    tree.compute_persistence()
    found = np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)
    births, deaths = found[np.argsort(found[:, 0] - found[:, 1], kind="stable")].T
    return Loops(births, deaths)


def has_loop(found: Loops, *, dominance: float = 3.0, growth: float = 2.5) -> bool:
    """True for one loop that stands out: the set is a ring.

    The first loop must be much more persistent than the second one, and its death must be well above its birth.
    Both numbers are free of units. A filled disk has many loops of about one gap between points. Two
    rings, or a figure eight, have two loops of similar persistence, and the answer is False.

    Args:
      found: of `loops`.
      dominance: least ratio of the first persistence to the second.
      growth: least ratio of the first loop's death to its birth.

    Raises:
      UsageError: found is something else, such as the points.

    >>> angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    >>> has_loop(loops(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    True
    """
    if not isinstance(found, Loops):
        raise UsageError(
            "has_loop takes the result of loops, and found is of the type "
            f"{type(found).__name__}: write has_loop(loops(points))."
        )
    if not len(found.births):
        return False
    return bool(found.dominance >= dominance and found.deaths[0] >= growth * found.births[0])


def densest_points(points: Any, share: float = 0.9, num_neighbours: int = 16) -> np.ndarray:
    """Numbers of the points in the densest regions, in their order. [N, D] -> [round(share N)] int64.

    Dense means near to the k-th nearest other point. Carlsson et al., 2008, On the local behavior of spaces
    of natural images.

    Raises:
      UsageError: points are not finite or not [N, D]; k is below 1, or not below N; the share lies outside
        (0, 1], or keeps no point.

    >>> densest_points(np.array([[0.0], [9.0], [1.0], [2.0]]), share=0.75, num_neighbours=1)
    array([0, 2, 3])
    """
    (points,) = finite(points=points)
    if not (0 < share <= 1 and round(share * len(points))):
        raise UsageError(
            f"share must lie in (0, 1] and keep at least one of {len(points)} points, got {share}."
        )
    near = others(points, num_neighbours, method="exact")[:, -1]
    radius = np.linalg.norm(points.astype(np.float64) - points[near], axis=1)
    return np.sort(np.argsort(radius, kind="stable")[: round(share * len(points))])


def farthest_points(points: Any, num_points: int) -> np.ndarray:
    """Numbers of points that cover the set evenly. [N, D] -> [min(num_points, N)] int64.

    It starts at the point that is farthest from the mean. Each next one is farthest from those chosen before.
    Their covering radius is at most twice the least possible one. Gonzalez, 1985.

    Raises:
      UsageError: points are not finite or not [N, D]; num_points is below 1.

    >>> farthest_points(np.array([[0.0], [1.0], [2.0], [8.0]]), 3)
    array([3, 0, 2])
    """
    check_at_least_one(num_points=num_points)
    (points,) = finite(points=points)
    points = points.astype(np.float64)
    chosen = np.empty(min(num_points, len(points)), np.int64)
    chosen[0] = np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1))
    distances = np.full(len(points), np.inf)
    for row in range(1, len(chosen)):
        last = points[chosen[row - 1]]
        distances = np.minimum(distances, np.linalg.norm(points - last, axis=1))
        chosen[row] = np.argmax(distances)
    return chosen

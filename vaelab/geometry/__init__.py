"""The geometry of a latent space: nearest-neighbour graphs of points, and shortest paths through them."""

from vaelab.geometry.curves import (
    jump_threshold,
    jumps,
    resample,
    second_differences,
    steps,
    straight_line,
)
from vaelab.geometry.graph import Graph, components, neighbour_graph, prune
from vaelab.geometry.joining import attach, connect
from vaelab.geometry.loops import Loops, densest_points, farthest_points, has_loop, loops
from vaelab.geometry.neighbours import nearest, nearest_distances
from vaelab.geometry.paths import Paths, heuristic_scale, shortest_paths
from vaelab.geometry.separation import neighbour_purity, share_below, share_far
from vaelab.geometry.weights import decoded_lengths, density_weights, points_along

__all__ = [
    "Graph",
    "Loops",
    "Paths",
    "attach",
    "components",
    "connect",
    "decoded_lengths",
    "densest_points",
    "density_weights",
    "farthest_points",
    "has_loop",
    "heuristic_scale",
    "jump_threshold",
    "jumps",
    "loops",
    "nearest",
    "nearest_distances",
    "neighbour_graph",
    "neighbour_purity",
    "points_along",
    "prune",
    "resample",
    "second_differences",
    "share_below",
    "share_far",
    "shortest_paths",
    "steps",
    "straight_line",
]

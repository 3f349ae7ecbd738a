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
from vaelab.geometry.neighbours import nearest, nearest_distances
from vaelab.geometry.paths import Paths, heuristic_scale, shortest_paths

__all__ = [
    "Graph",
    "Paths",
    "attach",
    "components",
    "connect",
    "heuristic_scale",
    "jump_threshold",
    "jumps",
    "nearest",
    "nearest_distances",
    "neighbour_graph",
    "prune",
    "resample",
    "second_differences",
    "shortest_paths",
    "steps",
    "straight_line",
]

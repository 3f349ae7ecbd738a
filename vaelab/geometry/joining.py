"""Joining what a graph keeps apart: its components, and points that are no nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaelab.geometry.graph import Graph, components, extend
from vaelab.geometry.neighbours import Method, finite, nearest, nearest_distances


def connect(graph: Graph) -> Graph:
    """The graph with the shortest bridges between its components. It is connected afterwards.

    The bridges are the edges of the Euclidean minimum spanning tree between the components (Borůvka,
    1926): each component but the largest is joined to its nearest node outside, until one is left. A graph of
    c components gets c − 1 bridges, and `Graph.bridges` tells which they are. One round costs c searches.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = connect(neighbour_graph(np.array([[0.0], [1.0], [8.0], [9.0]]), 1))
    >>> graph.edges[graph.bridges]
    array([[1, 2]], dtype=int32)
    """
    label = components(graph)
    bridges: list[tuple[int, int]] = []
    while label.max() > 0:
        sizes = np.bincount(label)
        joined = np.arange(len(sizes))
        others = [c for c in range(len(sizes)) if c != np.argmax(sizes)]
        for _, i, j in sorted(_shortest_bridge(graph.nodes, label == c) for c in others):
            low, high = sorted((joined[label[i]], joined[label[j]]))
            if low != high:  # bridges of the same length could close a ring
                joined[joined == high] = low
                bridges.append((min(i, j), max(i, j)))
        label = np.unique(joined, return_inverse=True)[1][label]
    return extend(graph, np.array(bridges, np.int32).reshape(-1, 2), bridges=True)


def attach(
    graph: Graph, points: Any, num_neighbours: int = 16, *, method: Method = "auto"
) -> Graph:
    """The graph with P more nodes, each joined to its nearest old nodes. Their numbers are N to N + P − 1.

    End points of interpolations, such as codes of examples, become nodes that way. New nodes are not
    joined to each other.

    Args:
      graph: N nodes [N, D].
      points: [P, D].
      num_neighbours: k ≤ N.
      method: of `nearest`.

    Raises:
      UsageError: points are not finite or not [P, D]; k is below 1 or above N; the method is unknown.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> attach(graph, np.array([[2.5]]), 1).edges
    array([[0, 1],
           [1, 2],
           [2, 3]], dtype=int32)
    """
    nodes, points = finite(nodes=graph.nodes, points=points)
    near = nearest(nodes, points, num_neighbours, method=method)
    new = np.repeat(np.arange(len(points)) + len(nodes), num_neighbours)
    larger = graph._replace(nodes=np.concatenate([nodes, points.astype(nodes.dtype)]))
    return extend(larger, np.stack([near.ravel(), new], axis=1), bridges=False)


def _shortest_bridge(nodes: np.ndarray, inside: np.ndarray) -> tuple[float, int, int]:
    """The length and ends of the shortest edge from the nodes inside to one outside."""
    within, outside = np.flatnonzero(inside), np.flatnonzero(~inside)
    distances = nearest_distances(nodes[outside], nodes[within])
    i = within[np.argmin(distances)]
    j = outside[nearest(nodes[outside], nodes[[i]], 1, method="exact")[0, 0]]
    return float(distances.min()), int(i), int(j)

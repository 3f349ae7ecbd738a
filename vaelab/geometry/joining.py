"""Joining what a graph keeps apart: its components, and points that are no nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaelab.geometry.graph import Graph, check_graph, components, edge_lengths, extend
from vaelab.geometry.neighbours import Method, finite, nearest

_SMALL = 64  # nodes: smaller components share one search of a round, and each larger one has a search of its own


def connect(graph: Graph) -> Graph:
    """The graph with the shortest bridges between its components. It is connected afterwards.

    The bridges are the edges of the Euclidean minimum spanning tree between the components. Each component
    but the largest is joined to its nearest node outside, until one component is left (Borůvka, 1926). A graph
    of c components gets c − 1 bridges, and `Graph.bridges` marks them.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = connect(neighbour_graph(np.array([[0.0], [1.0], [8.0], [9.0]]), 1))
    >>> graph.edges[graph.bridges]
    array([[1, 2]], dtype=int32)
    """
    label = components(graph)
    bridges: list[tuple[int, int]] = []
    while label.max() > 0:
        joined = np.arange(label.max() + 1)
        for i, j in _shortest_bridges(graph.nodes, label).tolist():
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
    joined to each other. But a path between two old nodes may pass through a new one: a point between two
    components joins them.

    Args:
      graph: N nodes [N, D].
      points: [P, D].
      num_neighbours: k ≤ N.
      method: of `nearest`.

    Raises:
      UsageError: graph is not a Graph; points are not finite or not [P, D]; k is below 1 or above N; the method is unknown.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> attach(graph, np.array([[2.5]]), 1).edges
    array([[0, 1],
           [1, 2],
           [2, 3]], dtype=int32)
    """
    check_graph(graph)
    nodes, points = finite(nodes=graph.nodes, points=points)
    near = nearest(nodes, points, num_neighbours, method=method)
    new = np.repeat(np.arange(len(points)) + len(nodes), num_neighbours)
    larger = graph._replace(nodes=np.concatenate([nodes, points.astype(nodes.dtype)]))
    return extend(larger, np.stack([near.ravel(), new], axis=1), bridges=False)


def _shortest_bridges(nodes: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The shortest edge (i, j) out of each component but the largest, the shortest of them first, [c − 1, 2]."""
    sizes = np.bincount(label)
    largest = np.argmax(sizes)
    edges = []
    rows = np.flatnonzero((sizes[label] <= _SMALL) & (label != largest))
    if len(rows):
        # Among n + 1 nearest nodes, one at least lies outside a component of n nodes.
        near = nearest(nodes, nodes[rows], min(_SMALL + 1, len(nodes)), method="exact")
        first = np.argmax(label[near] != label[rows, None], axis=1)
        edges.append(np.stack([rows, near[np.arange(len(rows)), first]], axis=1))
    for component in np.flatnonzero(sizes > _SMALL):
        if component != largest:
            inside, outside = np.flatnonzero(label == component), np.flatnonzero(label != component)
            near = nearest(nodes[outside], nodes[inside], 1, method="exact")[:, 0]
            edges.append(np.stack([inside, outside[near]], axis=1))
    candidates = np.concatenate(edges)
    order = np.argsort(edge_lengths(nodes, candidates), kind="stable")
    _, shortest = np.unique(label[candidates[order, 0]], return_index=True)
    return candidates[order[np.sort(shortest)]]

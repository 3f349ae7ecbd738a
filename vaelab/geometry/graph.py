"""The nearest-neighbour graph of points in a latent space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vaelab.checks import UsageError, check_equal
from vaelab.geometry.neighbours import Method, finite, others

_EDGES = 2**18  # of one chunk, whose differences are float64


class Graph(NamedTuple):
    """An undirected graph of N points with E edges. Each edge joins two different nodes and occurs once.

    `plotting.latent_graph` draws it as `plotting.LatentGraph(title, graph.nodes, graph.edges, weights)`, with weights
    such as `graph.lengths`.
    """

    nodes: np.ndarray  # [N, D]
    edges: np.ndarray  # [E, 2] int32, i < j
    lengths: np.ndarray  # [E] float64, Euclidean
    bridges: np.ndarray  # [E] bool, True for the edges that `connect` has added


def check_graph(graph: Any) -> None:
    """Raises one sentence if something else is given in the place of a graph.

    >>> check_graph(np.zeros((5, 2)))
    Traceback (most recent call last):
    vaelab.UsageError: graph must be a Graph, got ndarray: give neighbour_graph(points).
    """
    if not isinstance(graph, Graph):
        raise UsageError(
            f"graph must be a Graph, got {type(graph).__name__}: give neighbour_graph(points)."
        )


def neighbour_graph(nodes: Any, num_neighbours: int = 16, *, method: Method = "auto") -> Graph:
    """The graph that joins each node to its nearest other nodes. [N, D] -> Graph.

    i and j are joined if i is one of the k nearest of j, or j one of the k nearest of i (union). So every
    node has at least k edges. Nodes are samples of a prior, or codes of examples. Klushyn et al., 2019, Learning hierarchical
    priors in VAEs; Chen et al., 2019, Fast approximate geodesics for deep generative models.

    Args:
      nodes: [N, D], N > k.
      num_neighbours: k.
      method: of `nearest`.

    Raises:
      UsageError: nodes are not finite or not [N, D]; k is below 1, or not below N; the method is unknown.

    >>> neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1).edges
    array([[0, 1],
           [1, 2]], dtype=int32)
    """
    (nodes,) = finite(nodes=nodes)
    ends = others(nodes, num_neighbours, method=method).ravel()
    starts = np.repeat(np.arange(len(nodes), dtype=np.int32), num_neighbours)
    edges = unique_edges(starts, ends, len(nodes))
    return Graph(nodes, edges, edge_lengths(nodes, edges), np.zeros(len(edges), bool))


def unique_edges(starts: np.ndarray, ends: np.ndarray, num_nodes: int) -> np.ndarray:
    """Each pair of nodes once, as (i, j) with i < j, in lexical order. [M], [M] -> [E, 2] int32.

    >>> unique_edges(np.array([2, 0, 1]), np.array([0, 2, 2]), 3)
    array([[0, 2],
           [1, 2]], dtype=int32)
    """
    code = np.minimum(starts, ends).astype(np.int64) * num_nodes + np.maximum(starts, ends)
    code.sort()  # np.unique builds a hash table, which takes longer
    code = code[np.append(True, code[1:] != code[:-1])]
    return np.stack(np.divmod(code, num_nodes), axis=1).astype(np.int32)


def edge_lengths(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """‖x_i − x_j‖ of each edge (i, j). [N, D], [E, 2] -> [E] float64.

    >>> edge_lengths(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0, 1]]))
    array([5.])
    """
    lengths = np.empty(len(edges))
    for start in range(0, len(edges), _EDGES):
        i, j = edges[start : start + _EDGES].T
        difference = points[i].astype(np.float64) - points[j]
        lengths[start : start + _EDGES] = np.sqrt(np.einsum("ed,ed->e", difference, difference))
    return lengths


def components(graph: Graph) -> np.ndarray:
    """The component of each node: nodes with the same number can be joined. Graph -> [N] int32.

    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [8.0], [9.0]]), 1)
    >>> components(graph)
    array([0, 0, 1, 1], dtype=int32)
    """
    check_graph(graph)
    i, j = graph.edges.T
    shape = (len(graph.nodes), len(graph.nodes))
    matrix = coo_array((np.ones(len(i), np.int8), (i, j)), shape=shape)
    return connected_components(matrix, directed=False)[1].astype(np.int32)


def prune(graph: Graph, keep: Any) -> Graph:
    """The graph with these edges only. The nodes stay. keep [E] bool -> Graph.

    Use it to remove long edges, or edges through regions of low density. `components` shows if the graph
    is still connected.

    Raises:
      UsageError: graph is not a Graph; keep is not of the type bool, or not of the shape [E].

    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> prune(graph, graph.lengths <= np.quantile(graph.lengths, 0.5)).edges
    array([[0, 1]], dtype=int32)
    """
    check_graph(graph)
    keep = np.asarray(keep)
    check_equal(shape_of_keep=keep.shape, shape_of_lengths=graph.lengths.shape)
    if keep.dtype != bool:
        raise UsageError(f"keep must be of the type bool, one value per edge, got {keep.dtype}.")
    return Graph(graph.nodes, graph.edges[keep], graph.lengths[keep], graph.bridges[keep])


def extend(graph: Graph, edges: np.ndarray, *, bridges: bool) -> Graph:
    """The graph with further edges [E', 2], i < j, none of which it has yet.

    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> extend(graph, np.array([[0, 2]]), bridges=True).bridges
    array([False, False,  True])
    """
    return Graph(
        graph.nodes,
        np.concatenate([graph.edges, edges.astype(np.int32)]),
        np.concatenate([graph.lengths, edge_lengths(graph.nodes, edges)]),
        np.concatenate([graph.bridges, np.full(len(edges), bridges)]),
    )

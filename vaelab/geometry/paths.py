"""Shortest paths through a graph, by A*."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import rustworkx

from vaelab.checks import UsageError, check_equal
from vaelab.geometry.graph import Graph, check_graph, components, edge_lengths
from vaelab.geometry.neighbours import finite

_BLOCK = 2**15  # numbers
_ROUNDING = 1 - 1e-9  # the triangle inequality of rounded distances


class Paths(NamedTuple):
    """Shortest paths of P pairs of nodes."""

    nodes: tuple[np.ndarray | None, ...]  # per pair [L] int32, start to goal; None if not joined
    cost: np.ndarray  # [P] float64, the sum of weights, ∞ if no path joins the pair
    components: np.ndarray  # [P, 2] int32, of start and goal; they differ if no path joins the pair

    @property
    def joined(self) -> np.ndarray:
        """True for pairs that a path joins, [P]."""
        return self.components[:, 0] == self.components[:, 1]

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each pair that no path joins."""
        return tuple(
            f"pair {pair} has no path: its ends lie in the components {start} and {goal}."
            for pair, (start, goal) in enumerate(self.components)
            if start != goal
        )


def heuristic_scale(graph: Graph, weights: Any, embedding: Any = None) -> float:
    """The largest c for which h(i) = c ‖y_i − y_goal‖ is consistent, `c = min_e w_e / ‖y_i − y_j‖`.

    The minimum is over edges e = (i, j) of different y. Consistent means h(i) ≤ w_ij + h(j) for all edges,
    and h(goal) = 0. Proof: h(i) − h(j) ≤ c ‖y_i − y_j‖ ≤ w_ij, by the triangle inequality and by the
    choice of c. If y_i = y_j, the left side is 0. Along a path the inequalities add up to h(i) ≤ its cost, so h
    is admissible, and A* is exact and expands no node twice. Any larger c breaks an edge that attains
    the minimum, if its end is the goal. Hart, Nilsson and Raphael, 1968, theorem 1 and lemma 2.

    Args:
      graph: N nodes, E edges.
      weights: [E] ≥ 0.
      embedding: y [N, F]. The nodes by default. Decoded nodes suit weights that are lengths of decoded edges.

    Raises:
      UsageError: as `shortest_paths`.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> heuristic_scale(graph, graph.lengths), heuristic_scale(graph, [3.0, 4.0])
    (1.0, 2.0)
    """
    weights, embedding = _checked(graph, weights, embedding)
    distances = edge_lengths(embedding, graph.edges)
    apart = distances > 0
    return float(np.min(weights[apart] / distances[apart])) if apart.any() else 0.0


def shortest_paths(graph: Graph, weights: Any, pairs: Any, embedding: Any = None) -> Paths:
    """The path of least total weight between the nodes of each pair, by A* of rustworkx.

    The heuristic is that of `heuristic_scale`, so a path is as short as Dijkstra's. A pair in different
    components has no path: its nodes are None, and `Paths.sentences` reports it.

    Args:
      graph: N nodes, E edges.
      weights: [E] ≥ 0 and finite, for example `graph.lengths`, or those of `weights.py`.
      pairs: [P, 2] integers, start and goal.
      embedding: [N, F], points whose distances guide the search. The nodes by default.

    Raises:
      UsageError: graph is not a Graph; weights are not [E], finite and ≥ 0; pairs are not [P, 2] nodes of the graph; the
        embedding is not finite, or does not have N rows.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0], [9.0], [10.0]]), 1)
    >>> paths = shortest_paths(graph, graph.lengths, [[0, 2], [0, 4]])
    >>> paths.nodes[0], paths.cost
    (array([0, 1, 2], dtype=int32), array([ 3., inf]))
    >>> paths.sentences
    ('pair 1 has no path: its ends lie in the components 0 and 1.',)
    """
    weights, embedding = _checked(graph, weights, embedding)
    pairs = _checked_pairs(pairs, len(graph.nodes))
    scale = heuristic_scale(graph, weights, embedding) * _ROUNDING
    ends = components(graph)[pairs]
    search = rustworkx.PyGraph(multigraph=False)
    search.add_nodes_from(range(len(graph.nodes)))
    starts, goals = graph.edges.T.tolist()
    search.add_edges_from(list(zip(starts, goals, weights.tolist(), strict=True)))
    nodes: list[np.ndarray | None] = []
    cost = np.full(len(pairs), np.inf)
    for pair, (start, goal) in enumerate(pairs.tolist()):
        if ends[pair, 0] != ends[pair, 1]:
            nodes.append(None)
            continue
        # Methods of built-in objects: Python functions would take most of the time.
        to_goal = (scale * _distances(embedding, goal)).data
        path = rustworkx.graph_astar_shortest_path(
            search, start, goal.__eq__, float, to_goal.__getitem__
        )
        nodes.append(np.array(path, np.int32))
        cost[pair] = sum(search.get_edge_data(i, j) for i, j in pairwise(path))
    return Paths(tuple(nodes), cost, ends)


def _checked(graph: Graph, weights: Any, embedding: Any) -> tuple[np.ndarray, np.ndarray]:
    """weights [E] and the embedding [N, F] in float64."""
    check_graph(graph)
    array = np.asarray(weights, np.float64)
    if array.shape != graph.lengths.shape:
        got = "None" if weights is None else f"the shape {array.shape}"
        raise UsageError(
            f"weights must hold one number for each of the {len(graph.edges)} edges, such as graph.lengths, "
            f"got {got}."
        )
    weights = array
    bad = ~((weights >= 0) & (weights < np.inf))
    if bad.any():
        edge = int(np.argmax(bad))
        i, j = graph.edges[edge]
        raise UsageError(
            f"weights must be finite and not negative, got {weights[edge]:g} for the edge {edge} between the "
            f"nodes {i} and {j}: repair the weight, or remove the edge with prune."
        )
    (embedding,) = finite(embedding=graph.nodes if embedding is None else embedding)
    check_equal(rows_of_embedding=len(embedding), rows_of_nodes=len(graph.nodes))
    return weights, embedding.astype(np.float64)


def _distances(embedding: np.ndarray, goal: int) -> np.ndarray:
    """‖y_i − y_goal‖ of each row, [N, F] -> [N]. In blocks that fit in a cache."""
    distances = np.empty(len(embedding))
    rows = max(_BLOCK // embedding.shape[1], 1)
    for start in range(0, len(embedding), rows):
        difference = embedding[start : start + rows] - embedding[goal]
        distances[start : start + rows] = np.sqrt(np.einsum("nf,nf->n", difference, difference))
    return distances


def _checked_pairs(pairs: Any, num_nodes: int) -> np.ndarray:
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise UsageError(
            f"pairs must be an array [P, 2] of starts and goals, got the shape {pairs.shape}."
        )
    if not np.issubdtype(pairs.dtype, np.integer):
        raise UsageError(f"pairs must be integers, numbers of nodes, got {pairs.dtype}.")
    outside = (pairs < 0) | (pairs >= num_nodes)
    if outside.any():
        pair, end = np.argwhere(outside)[0]
        raise UsageError(
            f"pairs[{pair}] has the {('start', 'goal')[end]} {pairs[pair, end]}, but nodes are numbered 0 to "
            f"{num_nodes - 1}: choose one of them, or join a point with attach."
        )
    return pairs

"""Weights of edges other than their length: density along them, and length after decoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaelab.checks import UsageError, check_axes, check_equal, check_not_negative
from vaelab.geometry.graph import Graph, check_graph


def points_along(graph: Graph, num_points: int) -> np.ndarray:
    """m points at equal spacing on each edge, both ends included. Graph -> [E, m, D], typed as the nodes.

    Evaluate a log density on them, or decode them. m = 2 are the ends alone: a hole between them is seen from
    m = 3 on.

    Raises:
      UsageError: graph is not a Graph; num_points is below 2.

    >>> from vaelab.geometry import neighbour_graph
    >>> points_along(neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1), 3)[:, :, 0]
    array([[0. , 0.5, 1. ],
           [1. , 2. , 3. ]])
    """
    check_graph(graph)
    if num_points < 2 or num_points % 1:
        raise UsageError(
            f"num_points must be a whole number and at least 2, for both ends, got {num_points}."
        )
    t = np.linspace(0, 1, int(num_points), dtype=graph.nodes.dtype)[:, None]
    start, end = (graph.nodes[ends][:, None] for ends in graph.edges.T)
    return (1 - t) * start + t * end


def density_weights(
    graph: Graph, log_density: Any, power: float = 1.0, *, limit: float = 1e6
) -> np.ndarray:
    """Length divided by a power of the density along each edge, `w_e = ∫_e min{limit, (p(z) / p_max)^−power} dz`.

    The integral is the trapezoidal rule on the points of `points_along`, and p_max is the largest density on
    them. A weight is at least the length, and equal to it if power = 0 or if the density is constant. A
    factor in p does not count. Far from all samples an estimated density is worthless: no weight exceeds
    the length more than `limit` times. Shortest paths for these weights are Fermat paths: Groisman, Jonckheere and
    Sapienza, 2022, Nonhomogeneous Euclidean first-passage percolation and distance learning.

    Args:
      graph: E edges.
      log_density: [E, m], log p at `points_along(graph, m)`, in nats.
      power: ≥ 0. 1 / D makes the weights comparable with lengths: p^(−1/D) is proportional to the distance
        between neighbours of a sample of p.
      limit: ≥ 1.

    Returns:
      [E] float64.

    Raises:
      UsageError: log_density is not [E, m] with m ≥ 2, or not finite; power is negative, or limit below 1.

    >>> from vaelab.geometry import neighbour_graph
    >>> graph = neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> density_weights(graph, np.log([[1.0, 1.0], [0.5, 0.5]]))
    array([1., 4.])
    """
    check_graph(graph)
    check_not_negative(power=power)
    if not 1 <= limit < np.inf:
        raise UsageError(f"limit must be at least 1 and finite, got {limit}.")
    log_density = _values_on_edges("log_density", log_density, graph, "[E, m]")
    exponent = power * (np.max(log_density, initial=-np.inf) - log_density)
    factor = np.exp(np.minimum(exponent, np.log(limit)))
    return graph.lengths * np.mean((factor[:, 1:] + factor[:, :-1]) / 2, axis=1)


def decoded_lengths(decoded: Any) -> np.ndarray:
    """Length of each edge after decoding, `Σ_m ‖g(z_{m+1}) − g(z_m)‖`. [E, m, F] -> [E] float64.

    It is the length of the edge in the decoder's pulled-back metric as m → ∞, from below. Chen et al., 2018,
    Metrics for deep generative models. Give `shortest_paths` the decoded nodes as embedding: the latent
    distance is a poor guide for these weights. Edges are independent, so images can be decoded in batches
    of edges.

    Args:
      decoded: [E, m, F], the decoding of `points_along(graph, m)`.

    Raises:
      UsageError: decoded is not [E, m, F] with m ≥ 2, or not finite.

    >>> decoded_lengths(np.array([[[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]]))
    array([6.])
    """
    decoded = np.asarray(decoded)
    check_axes("decoded", decoded, "[E, m, F]")
    _check_points("decoded", decoded)
    length = np.zeros(len(decoded))
    for m in range(decoded.shape[1] - 1):  # the points of an edge one by one: they may be images
        step = decoded[:, m + 1].astype(np.float64) - decoded[:, m]
        length += np.sqrt(np.einsum("ef,ef->e", step, step))
    return length


def _values_on_edges(name: str, values: Any, graph: Graph, axes: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    check_axes(name, values, axes)
    check_equal(**{f"rows_of_{name}": len(values)}, number_of_edges=len(graph.edges))
    _check_points(name, values)
    return values


def _check_points(name: str, values: np.ndarray) -> None:
    if values.shape[1] < 2:
        raise UsageError(f"{name} must have at least 2 points per edge, got {values.shape[1]}.")
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        raise UsageError(
            f"{name} is not finite on the edge {int(np.argmax(bad))}: remove such edges with prune first."
        )

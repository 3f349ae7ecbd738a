"""How well a latent space keeps classes apart, and how far paths and samples leave the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaelab.checks import (
    UsageError,
    check_axes,
    check_equal,
    check_positive,
    check_values,
    classes_of,
)
from vaelab.geometry.neighbours import finite, nearest, nearest_distances, others


def neighbour_purity(
    codes: Any, labels: Any, queries: Any = None, query_labels: Any = None, num_neighbours: int = 16
) -> np.ndarray:
    """Share of each query's nearest codes that have the query's label. -> [Q] float64.

    1 means separate classes. If the codes say nothing about the classes, the mean is Σ_c p_c² for class
    frequencies p_c, about 1/C for C equal ones.

    Args:
      codes: [N, D].
      labels: [N] integers.
      queries: [Q, D], for example codes of held-out examples. By default the codes, each compared with the
        other N − 1. Consecutive frames of a clip are near each other, so the codes alone look purer than
        held-out ones.
      query_labels: [Q] integers, with queries.
      num_neighbours: k.

    Raises:
      UsageError: codes or queries are not finite; labels are not integers or of another length; k is
        below 1, or too large for the codes; one of queries and query_labels is missing.

    >>> neighbour_purity(np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1]), num_neighbours=1)
    array([1., 1., 0.])
    """
    if (queries is None) != (query_labels is None):
        raise UsageError("queries and query_labels belong together: give both, or none of them.")
    (codes,) = finite(codes=codes)
    labels = classes_of(np.asarray(labels))
    check_equal(number_of_labels=len(labels), number_of_codes=len(codes))
    if queries is not None:
        queries, query_labels = np.asarray(queries), classes_of(np.asarray(query_labels))
        check_equal(number_of_query_labels=len(query_labels), number_of_queries=len(queries))
        near = nearest(codes, queries, num_neighbours, method="exact")
        return np.mean(labels[near] == query_labels[:, None], axis=1)
    near = others(codes, num_neighbours, method="exact")
    return np.mean(labels[near] == labels[:, None], axis=1)


def share_below(log_density: Any, log_density_of_data: Any, quantile: float = 0.05) -> np.ndarray:
    """Share of a path's points that lie where the density is low. [..., T], [N] -> [...] float64.

    Low is below this quantile of the log density at the data. For paths that are drawn like the data, the
    mean share is the quantile itself.

    Args:
      log_density: [..., T], for example log q(z) of the aggregated posterior at the points of paths.
      log_density_of_data: [N], the same density at codes of examples.
      quantile: in [0, 1].

    Raises:
      UsageError: a density is NaN or empty; the quantile lies outside [0, 1].

    >>> share_below(np.array([[0.0, 2.0], [0.0, 0.0]]), np.arange(1.0, 4.0), quantile=0.0)
    array([0.5, 1. ])
    """
    of_paths, of_data = np.asarray(log_density), np.asarray(log_density_of_data)
    check_axes("log_density_of_data", of_data, "[N]")
    if not 0 <= quantile <= 1:
        raise UsageError(f"quantile must lie in [0, 1], got {quantile}.")
    if of_paths.ndim < 1 or not of_paths.size or not of_data.size:
        raise UsageError(
            f"log_density must be [..., T] and log_density_of_data [N], got the shapes {of_paths.shape} and "
            f"{of_data.shape}."
        )
    check_values("log_density_of_data", of_data, -np.inf, np.inf)
    if np.isnan(of_paths).any():  # −∞ is a density of 0
        raise UsageError("log_density holds nan: give a number for each point of each path.")
    return np.mean(of_paths < np.quantile(of_data, quantile), axis=-1)


def share_far(decoded: Any, frames: Any, threshold: float) -> np.ndarray:
    """Share of decoded points farther than the threshold from all frames. [..., T, F], [N, F] -> [...].

    For single samples of a prior, `nearest_distances(frames, decoded) > threshold` marks those that are far.

    Args:
      decoded: [..., T, F], decoded paths, or samples [T, F].
      frames: [N, F], training examples.
      threshold: > 0, for example a quantile of `nearest_distances(frames, held_out)`.

    Raises:
      UsageError: an array is not finite, or F differs; the threshold is not positive.

    >>> share_far(np.array([[[0.0], [7.0]], [[1.0], [2.0]]]), np.array([[0.0], [1.0]]), 1.5)
    array([0.5, 0. ])
    """
    decoded = np.asarray(decoded)
    if decoded.ndim < 2 or not decoded.size:
        raise UsageError(f"decoded must be points [..., T, F], got the shape {decoded.shape}.")
    check_positive(threshold=threshold)
    far = nearest_distances(frames, decoded.reshape(-1, decoded.shape[-1])) > threshold
    return np.mean(far.reshape(decoded.shape[:-1]), axis=-1)

"""Nearest neighbours of points, without a dense matrix of distances."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_axes, check_equal, check_values
from vaelab.types import Array

Method = Literal["auto", "exact", "approximate"]

_QUERIES = 2**17  # of one call of scikit-learn: its indices and distances take 16 bytes each
_DISTANCES = 2**26  # of one chunk on an accelerator: 256 MB in float32


def nearest(points: Any, queries: Any, k: int, *, method: Method = "auto") -> np.ndarray:
    """The k points nearest to each query in Euclidean distance, nearest first. [N, D], [Q, D] -> [Q, k] int32.

    "exact" is scikit-learn on the CPU: a k-d tree up to 15 dimensions, and chunks of distances above.
    "approximate" is `jax.lax.approx_max_k`, in chunks of queries, on the devices of JAX. It finds about 95 %
    of the neighbours, and computes in float32. "auto" is "exact" if JAX runs on CPUs, and "approximate" otherwise.

    Raises:
      UsageError: an array has another number of axes, is not finite, or the dimensions differ; k is
        below 1 or above N; the method is unknown.

    >>> nearest(np.array([[0.0], [1.0], [5.0]]), np.array([[4.0]]), 2)
    array([[2, 1]], dtype=int32)
    """
    points, queries = finite(points=points, queries=queries)
    check_at_least_one(num_neighbours=k)
    if k > len(points):
        raise UsageError(
            f"num_neighbours is {k}, but there are {len(points)} points: choose at most {len(points)}."
        )
    if method not in ("auto", "exact", "approximate"):
        raise UsageError(f'method must be "auto", "exact" or "approximate", got {method!r}.')
    if method == "auto":
        method = "exact" if jax.default_backend() == "cpu" else "approximate"
    return (_exact if method == "exact" else _approximate)(points, queries, k)


def others(points: np.ndarray, k: int, *, method: Method = "auto") -> np.ndarray:
    """The k other points nearest to each point. [N, D] -> [N, k] int32. `nearest` without the point itself.

    Raises:
      UsageError: as `nearest`; k must be below N.

    >>> others(np.array([[0.0], [1.0], [3.0], [3.0]]), 1)[:, 0]
    array([1, 0, 3, 2], dtype=int32)
    """
    check_at_least_one(num_neighbours=k)
    if k >= len(points):
        raise UsageError(
            f"num_neighbours is {k}, but there are {len(points)} points: choose at most {len(points) - 1}, "
            "or give more points."
        )
    index = nearest(points, points, k + 1, method=method)
    own = index == np.arange(len(points), dtype=np.int32)[:, None]
    own[~own.any(axis=1), -1] = True  # equal points: a point need not be among its own nearest
    return index[~own].reshape(-1, k)


def nearest_distances(points: Any, queries: Any) -> np.ndarray:
    """Distance of each query to its nearest point. [N, D], [Q, D] -> [Q] float64.

    Raises:
      UsageError: as `nearest`.

    >>> nearest_distances(np.array([[0.0], [1.0], [5.0]]), np.array([[4.0], [0.0]]))
    array([1., 0.])
    """
    points, queries = finite(points=points, queries=queries)
    index = nearest(points, queries, 1, method="exact")[:, 0]
    return np.linalg.norm(points[index].astype(np.float64) - queries, axis=1)


def finite(**arrays: Any) -> tuple[np.ndarray, ...]:
    """Arrays [N, D] of the same D, as numpy arrays of floats. Raises one sentence unless all are finite.

    >>> finite(nodes=np.zeros(3))
    Traceback (most recent call last):
    vaelab.UsageError: nodes must be an array [N, D] with 2 axes, got the shape (3,).
    """
    found = {}
    for name, value in arrays.items():
        try:
            array = np.asarray(value)
            if not np.issubdtype(array.dtype, np.floating):
                array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise UsageError(
                f"{name} must be numbers [N, D], and {type(value).__name__} is no such array: give an array, "
                "such as the nodes of a graph."
            ) from None
        found[name] = array
        check_axes(name, array, "[N, D]")
        if not array.size:
            raise UsageError(
                f"{name} is empty, of the shape {array.shape}: give at least one point."
            )
        check_values(name, array, -np.inf, np.inf)
    check_equal(**{f"dimension_of_{name}": array.shape[1] for name, array in found.items()})
    return tuple(found.values())


def _exact(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors  # one second

    search = NearestNeighbors(n_neighbors=k, n_jobs=-1).fit(points)
    chunks = np.split(queries, range(_QUERIES, len(queries), _QUERIES))
    return np.concatenate(
        [search.kneighbors(chunk, return_distance=False).astype(np.int32) for chunk in chunks]
    )


def _approximate(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    rows = min(max(_DISTANCES // len(points), 1), len(queries))
    padding = -len(queries) % rows
    chunks = np.pad(queries, ((0, padding), (0, 0))).reshape(-1, rows, queries.shape[1])
    index = _nearest_in_chunks(jnp.float32(points), jnp.float32(chunks), k)
    return np.asarray(index).reshape(-1, k)[: len(queries)]


@partial(jax.jit, static_argnums=2)
def _nearest_in_chunks(points: Array, chunks: Array, k: int) -> Array:
    """[N, D], [chunks, rows, D] -> [chunks, rows, k] int32."""

    def of_chunk(queries: Array) -> Array:
        # Differences, not ‖q‖² − 2q·x + ‖x‖²: near points would cancel in float32.
        negative = -jnp.sum((queries[:, None] - points) ** 2, axis=-1)
        return jax.lax.approx_max_k(negative, k)[1]

    return jax.lax.map(of_chunk, chunks)

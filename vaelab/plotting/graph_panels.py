"""Graphs in latent spaces, checked and in the plane of their plot, and the colours that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.lines import Line2D

from vaelab.checks import UsageError, check_positive
from vaelab.plotting.labels import class_names, value_colours
from vaelab.plotting.latents import marker_handle
from vaelab.plotting.projection import principal_plane
from vaelab.plotting.style import BLACK, PALETTE

# Tol, 2021, "vibrant", without blue, which is for edges: paths differ from the muted codes.
PATH_COLOURS = (BLACK, "#EE7733", "#EE3377", "#009988", "#CC3311", "#33BBEE")
EDGE_COLOURS = LinearSegmentedColormap.from_list(
    "edges", ["#e6edf6", "#b9cde8", "#7fa3d4", "#2f62ad"]
)


class LatentGraph(NamedTuple):
    """A graph in the latent space of a model. All points have the same number of coordinates, D ≥ 2."""

    title: str
    nodes: npt.ArrayLike  # [N, D]
    edges: npt.ArrayLike  # [E, 2], the rows of the two nodes of each edge
    weights: npt.ArrayLike  # [E], ≥ 0
    codes: npt.ArrayLike | None = None  # [M, D], of the data
    labels: npt.ArrayLike | None = None  # [M], classes or real values
    paths: Sequence[npt.ArrayLike] = ()  # each [T, D], T ≥ 2


class GraphInPlane(NamedTuple):
    """A checked graph in the plane of its plot."""

    title: str
    axis_names: tuple[str, str]
    segments: np.ndarray  # [E, 2, 2]
    weights: np.ndarray  # [E], relative to their median
    codes: np.ndarray  # [M, 2]
    labels: np.ndarray | None  # [M]
    paths: list[np.ndarray]  # each [T, 2]


class Colours(NamedTuple):
    """The colours of edges and codes, the same in all panels."""

    edges: ScalarMappable
    classes: np.ndarray  # the classes in the order of the palette; none if labels are real values
    values: ScalarMappable | None  # of real-valued labels
    handles: list[Line2D]  # of the classes
    label: str
    period: float | None


def prepare(
    graphs: Sequence[LatentGraph], names: Sequence[str], label: str, period: float | None
) -> tuple[list[GraphInPlane], Colours]:
    """The graphs in their planes, and the colours that they share.

    Raises:
      UsageError: there are no graphs, or their values do not fit.
    """
    if not graphs:
        raise UsageError("graphs must hold at least one graph, got none.")
    check_positive(period=period)
    panels = [_checked(graph) for graph in graphs]
    weights = np.concatenate([panel.weights for panel in panels])
    edges = ScalarMappable(_weight_norm(weights), EDGE_COLOURS)
    given = [panel.labels for panel in panels if panel.labels is not None]
    if not given:
        return panels, Colours(edges, np.empty(0), None, [], label, period)
    labels = np.concatenate(given)
    if labels.dtype.kind == "f":
        values = value_colours(labels, period)
        return panels, Colours(edges, np.empty(0), values, [], label, period)
    classes = np.unique(labels)
    if len(classes) > len(PALETTE):
        raise UsageError(f"labels must be at most {len(PALETTE)} classes, got {len(classes)}.")
    handles = [
        marker_handle(PALETTE[i], name, markersize=6)
        for i, name in enumerate(class_names(classes, names))
    ]
    return panels, Colours(edges, classes, None, handles, label, period)


def _weight_norm(weights: np.ndarray) -> Normalize:
    """A logarithmic scale of positive weights: from the 25th percentile, so that most edges are pale, to the 99th."""
    low, high = np.percentile(weights[weights > 0], [25, 99]) if np.any(weights > 0) else (1, 1)
    middle = np.sqrt(low * high)
    return LogNorm(min(low, middle / 1.5), max(high, middle * 1.5), clip=True)


def _checked(graph: LatentGraph) -> GraphInPlane:
    """The graph in the plane of its plot.

    Raises:
      UsageError: shapes or values do not fit.
    """
    if not isinstance(graph, LatentGraph):
        raise UsageError(
            f"graph must be a plotting.LatentGraph, got {type(graph).__name__}: give LatentGraph(title, "
            "graph.nodes, graph.edges, weights), and latent_graphs a list of them."
        )
    where = f"of {graph.title!r}"
    nodes = np.asarray(graph.nodes, float)
    if nodes.ndim != 2 or nodes.shape[1] < 2 or not len(nodes):
        raise UsageError(f"nodes {where} must be [N, D] with D ≥ 2, got the shape {nodes.shape}.")
    num_dims = nodes.shape[1]
    codes = np.empty((0, num_dims)) if graph.codes is None else np.asarray(graph.codes, float)
    paths = [np.asarray(path, float) for path in graph.paths]
    for name, points in (("codes", codes), *(("paths", path) for path in paths)):
        if points.ndim != 2 or points.shape[1] != num_dims or (name == "paths" and len(points) < 2):
            kind = "[M" if name == "codes" else "each [T ≥ 2"
            raise UsageError(f"{name} {where} must be {kind}, {num_dims}], got {points.shape}.")
    if len(paths) > len(PATH_COLOURS):
        raise UsageError(
            f"paths {where} must be at most {len(PATH_COLOURS)}, one for each colour, got {len(paths)}."
        )
    edges, weights = np.asarray(graph.edges), np.asarray(graph.weights, float)
    if weights.ndim != 1 or edges.shape != (len(weights), 2) or edges.dtype.kind not in "iu":
        raise UsageError(
            f"edges and weights {where} must be integers [E, 2] and [E], got {edges.dtype} of the shape "
            f"{edges.shape} and {weights.shape}."
        )
    if edges.size and not (edges.min() >= 0 and edges.max() < len(nodes)):
        raise UsageError(
            f"edges {where} must name nodes from 0 to {len(nodes) - 1}, got {edges.min()} to "
            f"{edges.max()}."
        )
    if not all(np.isfinite(values).all() for values in (nodes, weights, codes, *paths)):
        raise UsageError(f"all values {where} must be finite, got NaN or infinity.")
    if weights.size and weights.min() < 0:
        raise UsageError(f"weights {where} must not be negative, got {weights.min():g}.")
    labels = None if graph.labels is None else np.asarray(graph.labels)
    if labels is not None and (labels.shape != (len(codes),) or labels.dtype.kind not in "iuf"):
        raise UsageError(
            f"labels {where} must be numbers [{len(codes)}] like codes, got {labels.dtype} of the shape "
            f"{labels.shape}."
        )
    plane = principal_plane(codes if len(codes) > 2 else nodes)
    median = np.median(weights[weights > 0]) if np.any(weights > 0) else 1.0
    return GraphInPlane(
        graph.title, plane.names, plane.project(nodes)[edges], weights / median,
        plane.project(codes), labels, [plane.project(path) for path in paths],
    )  # fmt: skip

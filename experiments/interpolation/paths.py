"""Paths of several kinds through the latent space of one trained model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from experiments.interpolation.codes import Codes, decoded_lengths, density_weights
from experiments.interpolation.families import Family
from vaelab import geometry
from vaelab.geometry import Graph
from vaelab.runs import Result

STRAIGHT = "straight line"
SHORTEST = "shortest path"  # of Euclidean length
PRUNED = "pruned path"  # of Euclidean length, on the graph without its least dense nodes and edges
DENSITY = "density path"  # of length over a power of the density
DECODED = "decoded path"  # of decoded length
CODED = "code path"  # of Euclidean length, on a graph of training codes instead of prior samples
KINDS = (STRAIGHT, SHORTEST, PRUNED, DENSITY, DECODED, CODED)


class Settings(NamedTuple):
    """How everything is measured."""

    part: str  # "train", "validation" or "test": the ends of paths
    num_nodes: int  # samples of the prior, and training codes at most
    num_neighbours: int
    num_pairs: int
    num_points: int  # of a path
    power: float | None  # of the density; None for 1 / D
    pruned: float  # share of nodes that are removed from the pruned graph
    prior_samples: int  # inner samples of an estimated prior
    quantile: float  # of the log density at the ends of paths: below it the density is low
    seed: int  # of the pairs


class Edges(NamedTuple):
    """A graph whose edges have weights."""

    graph: Graph
    weights: np.ndarray  # [E]


class Space(NamedTuple):
    """A latent space with its graphs and paths. Ends of paths are the last nodes of every graph."""

    result: Result
    codes: Codes
    of_train: np.ndarray  # codes [N, D]
    nodes: np.ndarray  # samples of the prior, [num_nodes, D]
    decoded_nodes: np.ndarray  # [num_nodes, F]
    pairs: np.ndarray  # rows of the part with the ends of paths, [P, 2]
    ends: np.ndarray  # their codes, [P, 2, D]
    num_components: dict[str, int]  # by the kind of path: of its graph, before bridges join them
    edges: dict[str, Edges]  # by the kind of path
    paths: dict[str, np.ndarray]  # by their kind: codes [P, T, D]
    bridged: dict[str, np.ndarray]  # by their kind: True for paths that cross a bridge, [P]
    decoded: dict[str, np.ndarray]  # by their kind: [P, T, F]
    threshold: float | None  # of jumps


def space_of(result: Result, family: Family, settings: Settings) -> Space:
    """The latent space of a model, with paths of all kinds between the same pairs of examples."""
    run, codes = result.run, Codes(result, settings.prior_samples)
    part = run.splits.parts[settings.part]
    pairs = family.pairs(part, settings.num_pairs, settings.seed)
    ends = codes.encode(part.x[pairs.ravel()]).reshape(*pairs.shape, -1)
    sampled = result.bound.sample_latents(run.key("nodes"), settings.num_nodes)[0]
    nodes = np.asarray(sampled, np.float32)

    # 1. Graphs of all prior samples, of those where the prior is dense, and of codes.
    whole = geometry.neighbour_graph(nodes, settings.num_neighbours)
    log_density = codes.log_prior(nodes, run.key("density of nodes"))
    dense = log_density >= np.quantile(log_density, settings.pruned)
    pruned = geometry.neighbour_graph(nodes[dense], settings.num_neighbours)
    middles = codes.log_prior(
        geometry.points_along(pruned, 3)[:, 1], run.key("density of the pruned graph")
    )
    pruned = geometry.prune(pruned, middles >= log_density[dense].min())
    of_train = codes.encode(run.splits.train.x)
    some = np.random.default_rng(0).permutation(len(of_train))[: settings.num_nodes]
    coded = geometry.neighbour_graph(of_train[some], settings.num_neighbours)
    graphs = {SHORTEST: whole, PRUNED: pruned, CODED: coded}
    num_components = {
        kind: int(geometry.components(graph).max()) + 1 for kind, graph in graphs.items()
    }
    whole, pruned, coded = (
        geometry.attach(
            geometry.connect(graph), ends.reshape(-1, nodes.shape[1]), settings.num_neighbours
        )
        for graph in graphs.values()
    )

    # 2. Weights of their edges.
    power = 1 / nodes.shape[1] if settings.power is None else settings.power
    decoded = codes.decode(whole.nodes)
    edges = {
        SHORTEST: Edges(whole, whole.lengths),
        PRUNED: Edges(pruned, pruned.lengths),
        DENSITY: Edges(whole, density_weights(whole, codes, run.key("density"), power)),
        DECODED: Edges(whole, decoded_lengths(whole, codes, decoded)),
        CODED: Edges(coded, coded.lengths),
    }

    # 3. Paths, and what they decode to.
    resampled = {STRAIGHT: _resampled(ends, settings.num_points)}
    bridged = {STRAIGHT: np.zeros(len(pairs), bool)}
    for kind, (graph, weights) in edges.items():
        joins = np.arange(pairs.size).reshape(pairs.shape) + len(graph.nodes) - pairs.size
        found = geometry.shortest_paths(graph, weights, joins, decoded if kind == DECODED else None)
        resampled[kind] = _resampled(
            (graph.nodes[each] for each in found.nodes), settings.num_points
        )
        bridged[kind] = _cross_bridges(graph, found.nodes)
    return Space(
        result, codes, of_train, nodes, decoded[: len(nodes)], pairs, ends,
        num_components, edges, resampled, bridged,
        {kind: _decoded(codes, points) for kind, points in resampled.items()},
        family.jump_threshold(result),
    )  # fmt: skip


def _resampled(paths: Iterable[np.ndarray], num_points: int) -> np.ndarray:
    """Paths [L, D] at equal spacing, [P, T, D]."""
    return np.stack([geometry.resample(path, num_points) for path in paths])


def _decoded(codes: Codes, points: np.ndarray) -> np.ndarray:
    """[P, T, D] -> [P, T, F]."""
    return codes.decode(points.reshape(-1, points.shape[-1])).reshape(*points.shape[:2], -1)


def _cross_bridges(graph: Graph, paths: Iterable[np.ndarray | None]) -> np.ndarray:
    """True for paths with an edge that `geometry.connect` has added, [P]."""
    bridges = {tuple(edge) for edge in graph.edges[graph.bridges].tolist()}
    return np.array(
        [
            any((min(edge), max(edge)) in bridges for edge in pairwise(path.tolist()))
            for path in paths
            if path is not None  # graphs are connected
        ]
    )

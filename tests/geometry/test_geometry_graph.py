"""Neighbour graphs against brute force, components, bridges and attached points."""

import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist, squareform

from vaelab import geometry
from vaelab.checks import UsageError

THREE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])


def brute_force(nodes: np.ndarray, k: int) -> set[tuple[int, int]]:
    """Edges of the union graph, from the dense matrix of distances."""
    distances = cdist(nodes, nodes)
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1)[:, :k]
    return {(min(i, int(j)), max(i, int(j))) for i in range(len(nodes)) for j in near[i]}


def blobs(seed: int, sizes=(30, 20, 25, 22), dim: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 30 * rng.normal(size=(len(sizes), dim))
    nodes = np.concatenate(
        [c + rng.normal(size=(n, dim)) for c, n in zip(centres, sizes, strict=True)]
    )
    return rng.permutation(nodes)


def spanning_length(graph: geometry.Graph) -> float:
    """Length of the shortest bridges, by Kruskal's algorithm on all pairs of nodes."""
    distances = cdist(graph.nodes, graph.nodes)
    tree, length = geometry.components(graph), 0.0
    i, j = np.triu_indices(len(tree), 1)
    for pair in np.argsort(distances[i, j]):
        a, b = tree[i[pair]], tree[j[pair]]
        if a != b:
            length += distances[i[pair], j[pair]]
            tree[tree == b] = a
    return length


@pytest.mark.parametrize(("num_nodes", "dim", "k"), [(60, 1, 3), (200, 2, 16), (150, 20, 5)])
@pytest.mark.parametrize("method", ["exact", "approximate"])  # approx_max_k is exact on CPUs
def test_the_graph_equals_brute_force(num_nodes, dim, k, method):
    nodes = np.random.default_rng(dim).normal(size=(num_nodes, dim)).astype(np.float32)
    graph = geometry.neighbour_graph(nodes, k, method=method)
    assert {(i, j) for i, j in graph.edges.tolist()} == brute_force(nodes, k)
    assert len({(i, j) for i, j in graph.edges.tolist()}) == len(graph.edges)
    np.testing.assert_allclose(
        graph.lengths, squareform(pdist(nodes.astype(np.float64)))[tuple(graph.edges.T)]
    )
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert np.bincount(graph.edges.ravel()).min() >= k
    assert not graph.bridges.any()


def test_searches_in_chunks_find_the_same_neighbours(monkeypatch):
    nodes = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    whole = geometry.neighbour_graph(nodes, 5)
    from vaelab.geometry import graph, neighbours

    monkeypatch.setattr(neighbours, "_QUERIES", 33)
    monkeypatch.setattr(neighbours, "_DISTANCES", 700)  # 7 queries at a time, the last chunk padded
    monkeypatch.setattr(graph, "_EDGES", 10)
    for method in ("exact", "approximate"):
        chunked = geometry.neighbour_graph(nodes, 5, method=method)
        np.testing.assert_array_equal(chunked.edges, whole.edges)
        np.testing.assert_array_equal(chunked.lengths, whole.lengths)


@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_equal_nodes_are_joined_without_loops(method):
    nodes = np.concatenate([np.zeros((9, 2)), np.ones((2, 2))])
    graph = geometry.neighbour_graph(nodes, 3, method=method)
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert np.bincount(graph.edges.ravel(), minlength=11).min() >= 3
    assert geometry.shortest_paths(graph, graph.lengths, [[0, 10], [0, 8]]).cost == pytest.approx(
        [np.sqrt(2), 0]
    )


def test_near_points_far_from_the_origin_are_told_apart_in_float32():
    nodes = (1000 + np.arange(20)[:, None] * 2**-10).astype(np.float32)
    graph = geometry.neighbour_graph(nodes, 1, method="approximate")
    assert (np.diff(graph.edges, axis=1) == 1).all()


def test_a_graph_of_integers_and_of_lists_is_that_of_floats():
    graph = geometry.neighbour_graph([[0], [1], [3]], 1)
    np.testing.assert_array_equal(geometry.attach(graph, [[2.5]], 1).nodes[-1], [2.5])


def test_components_are_the_blobs():
    graph = geometry.neighbour_graph(blobs(0), 8)
    label = geometry.components(graph)
    assert label.max() == 3
    assert sorted(np.bincount(label)) == [20, 22, 25, 30]
    assert (label[graph.edges[:, 0]] == label[graph.edges[:, 1]]).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_bridges_are_the_minimum_spanning_tree_of_the_components(seed, dim):
    graph = geometry.neighbour_graph(blobs(seed, (8, 9, 7, 12, 8, 11, 10), dim), 4)
    label = geometry.components(graph)
    joined = geometry.connect(graph)
    assert geometry.components(joined).max() == 0
    assert joined.bridges.sum() == label.max()
    np.testing.assert_array_equal(joined.edges[~joined.bridges], graph.edges)
    assert joined.lengths[joined.bridges].sum() == pytest.approx(spanning_length(graph))


@pytest.mark.parametrize("small", [1, 64])
def test_bridges_of_single_nodes_and_of_large_components_are_found_too(monkeypatch, small):
    """Of a pruned graph: 40 single nodes, two components of 100 nodes."""
    from vaelab.geometry import joining

    monkeypatch.setattr(joining, "_SMALL", small)
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=(100, 2)),
        rng.normal(size=(100, 2)) + 8,
        rng.uniform(-20, 30, (40, 2)),
    ]
    nodes = np.concatenate(parts)
    edges = np.stack([np.arange(199), np.arange(1, 200)], axis=1)
    edges = np.delete(edges, 99, axis=0).astype(np.int32)
    graph = geometry.Graph(nodes, edges, np.ones(198), np.zeros(198, bool))
    joined = geometry.connect(graph)
    assert joined.bridges.sum() == 41
    assert joined.lengths[joined.bridges].sum() == pytest.approx(spanning_length(graph))


def test_bridges_of_equal_length_close_no_ring():
    corners = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0], [9.0, 9.0]])
    offsets = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    nodes = (corners[:, None] + offsets).reshape(-1, 2)
    joined = geometry.connect(geometry.neighbour_graph(nodes, 2))
    assert joined.bridges.sum() == 3
    np.testing.assert_allclose(joined.lengths[joined.bridges], 8)
    assert geometry.components(joined).max() == 0


def test_connecting_a_connected_graph_changes_nothing():
    graph = geometry.neighbour_graph(THREE, 2)
    for before, after in zip(graph, geometry.connect(graph), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_graph_without_edges_is_connected_by_the_minimum_spanning_tree():
    graph = geometry.neighbour_graph(THREE, 2)
    empty = geometry.prune(graph, np.zeros(3, bool))
    np.testing.assert_array_equal(geometry.components(empty), [0, 1, 2])
    assert {tuple(e) for e in geometry.connect(empty).edges.tolist()} == {(0, 1), (0, 2)}


def test_attached_points_are_joined_to_their_nearest_nodes_alone():
    nodes = np.random.default_rng(0).normal(size=(50, 2))
    points = np.random.default_rng(1).normal(size=(4, 2))
    graph = geometry.neighbour_graph(nodes, 5)
    larger = geometry.attach(graph, points, 3)
    np.testing.assert_array_equal(larger.edges[: len(graph.edges)], graph.edges)
    np.testing.assert_array_equal(larger.nodes[50:], points)
    new = larger.edges[len(graph.edges) :]
    expected = np.argsort(cdist(points, nodes), axis=1)[:, :3]
    for p in range(4):
        assert set(new[new[:, 1] == 50 + p, 0]) == set(expected[p])
    np.testing.assert_allclose(
        larger.lengths[len(graph.edges) :],
        np.linalg.norm(larger.nodes[new[:, 0]] - larger.nodes[new[:, 1]], axis=1),
    )


def test_pruning_keeps_the_lengths_and_the_bridges_of_the_other_edges():
    graph = geometry.connect(geometry.neighbour_graph(blobs(1), 4))
    keep = graph.lengths <= np.quantile(graph.lengths, 0.7)
    keep |= graph.bridges
    pruned = geometry.prune(graph, keep)
    assert pruned.bridges.sum() == graph.bridges.sum()
    np.testing.assert_array_equal(pruned.lengths, graph.lengths[keep])


def test_twenty_thousand_nodes_need_no_dense_matrix_of_distances():
    """It would take 3.2 GB."""
    nodes = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    tracemalloc.start()
    graph = geometry.neighbour_graph(nodes, 16, method="exact")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(graph.edges) > 160_000
    assert peak < 60e6


@pytest.mark.slow
def test_a_million_nodes_take_less_than_two_gigabytes():
    """In a process of its own. A dense matrix of distances would take 4 TB."""
    code = """
import resource
import numpy as np
from vaelab import geometry
nodes = np.random.default_rng(0).normal(size=(1_000_000, 2)).astype(np.float32)
graph = geometry.neighbour_graph(nodes, 16, method="exact")
assert len(graph.edges) > 8_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 2e6  # KB


def test_ten_thousand_nodes_take_three_seconds_and_a_hundred_paths_two():
    rng = np.random.default_rng(0)
    nodes = rng.normal(size=(10_000, 2)).astype(np.float32)
    geometry.neighbour_graph(nodes[:100])  # imports scikit-learn
    start = time.perf_counter()
    graph = geometry.neighbour_graph(nodes, 16)
    middle = time.perf_counter()
    paths = geometry.shortest_paths(graph, graph.lengths, rng.integers(0, 10_000, (100, 2)))
    end = time.perf_counter()
    assert paths.joined.all()
    assert middle - start < 3
    assert end - middle < 2


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: geometry.neighbour_graph(THREE, 3),
            "num_neighbours is 3, but there are 3 points: choose at most 2",
        ),
        (lambda: geometry.neighbour_graph(THREE, 0), "num_neighbours must be at least 1, got 0"),
        (lambda: geometry.neighbour_graph(THREE, 1.5), "num_neighbours must be a whole number"),
        (lambda: geometry.neighbour_graph([0.0, 1.0], 1), r"nodes must be an array \[N, D\]"),
        (lambda: geometry.neighbour_graph([[0.0], [np.nan]], 1), "nodes holds nan in example 1"),
        (lambda: geometry.neighbour_graph(np.zeros((0, 2)), 1), "nodes is empty"),
        (
            lambda: geometry.neighbour_graph(THREE, 1, method="fast"),
            'method must be "auto", "exact"',
        ),
        (lambda: geometry.nearest(THREE, THREE, 4), "num_neighbours is 4, but there are 3 points"),
        (lambda: geometry.nearest(THREE, [[0.0]], 1), "dimension of points = 2 and dimension of q"),
        (
            lambda: geometry.attach(geometry.neighbour_graph(THREE, 1), [[0.0]], 1),
            "dimension of nodes = 2 and dimension of points = 1",
        ),
        (
            lambda: geometry.attach(geometry.neighbour_graph(THREE, 1), [[0.0, 0.0]]),
            "num_neighbours is 16, but there are 3 points: choose at most 3",
        ),
        (
            lambda: geometry.prune(geometry.neighbour_graph(THREE, 1), [0, 1]),
            "keep must be of the type bool",
        ),
        (
            lambda: geometry.prune(geometry.neighbour_graph(THREE, 1), [True]),
            "shape of keep = .1,. and shape of lengths = .2,.",
        ),
    ],
)
def test_a_mistake_with_graphs_is_one_sentence(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()


@pytest.mark.parametrize(
    "call",
    [
        geometry.components,
        geometry.connect,
        lambda points: geometry.attach(points, points, 1),
        lambda points: geometry.prune(points, np.ones(3, bool)),
        lambda points: geometry.shortest_paths(points, np.ones(3), [[0, 1]]),
        lambda points: geometry.heuristic_scale(points, np.ones(3)),
        lambda points: geometry.points_along(points, 3),
        lambda points: geometry.density_weights(points, np.zeros((3, 2))),
    ],
)
def test_points_in_the_place_of_a_graph_are_refused(call):
    sentence = r"^graph must be a Graph, got ndarray: give neighbour_graph\(points\)\.$"
    with pytest.raises(UsageError, match=sentence):
        call(THREE)

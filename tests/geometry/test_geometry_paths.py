"""A* against Dijkstra, and heuristics that never exceed the distance that is left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from vaelab import geometry
from vaelab.checks import UsageError


def all_costs(graph: geometry.Graph, weights: np.ndarray) -> np.ndarray:
    """Dijkstra's costs between all nodes [N, N], by scipy."""
    size = len(graph.nodes)
    return dijkstra(csr_array((weights, tuple(graph.edges.T)), shape=(size, size)), directed=False)


def random_graph(seed: int) -> geometry.Graph:
    """A graph of random size, dimension and number of neighbours, not always connected."""
    rng = np.random.default_rng(seed)
    size, dim, k = rng.integers(10, 120), rng.integers(1, 6), rng.integers(1, 8)
    return geometry.neighbour_graph(rng.normal(size=(size, dim)) ** 3, int(k))


def weightings(graph: geometry.Graph, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Weights and embedding of each kind."""
    rng = np.random.default_rng(seed)
    points = geometry.points_along(graph, 4)
    matrix = rng.normal(size=(points.shape[-1], 7))
    return {
        "Euclidean": (graph.lengths, None),
        "random": (graph.lengths * rng.exponential(size=len(graph.lengths)), None),
        "density": (geometry.density_weights(graph, -np.abs(points).sum(-1), 0.7), None),
        "decoded": (
            geometry.decoded_lengths(np.tanh(points @ matrix)),
            np.tanh(graph.nodes @ matrix),
        ),
        "decoded, guided by latents": (geometry.decoded_lengths(np.tanh(points @ matrix)), None),
    }


KINDS = tuple(weightings(random_graph(0), 0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_star_finds_paths_as_short_as_dijkstra(kind):
    for seed in range(25):
        graph = random_graph(seed)
        weights, embedding = weightings(graph, seed)[kind]
        rng = np.random.default_rng(seed)
        pairs = rng.integers(0, len(graph.nodes), (20, 2))
        paths = geometry.shortest_paths(graph, weights, pairs, embedding)
        expected = all_costs(graph, weights)[tuple(pairs.T)]
        np.testing.assert_allclose(paths.cost, expected, rtol=1e-7, atol=1e-12)
        of_edge = {tuple(e): w for e, w in zip(graph.edges.tolist(), weights, strict=True)}
        for nodes, (start, goal), cost in zip(paths.nodes, pairs, paths.cost, strict=True):
            assert (nodes is None) == np.isinf(cost)
            if nodes is not None:
                assert (nodes[0], nodes[-1]) == (start, goal)
                walked = [
                    of_edge[min(e), max(e)]
                    for e in zip(nodes.tolist(), nodes.tolist()[1:], strict=False)
                ]
                assert sum(walked) == pytest.approx(cost)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_heuristic_is_consistent_admissible_and_the_largest(kind, seed):
    graph = random_graph(seed)
    weights, embedding = weightings(graph, seed)[kind]
    y = graph.nodes if embedding is None else embedding
    c = geometry.heuristic_scale(graph, weights, embedding)
    h = c * np.linalg.norm(y[:, None] - y[None], axis=-1)  # [node, goal]
    i, j = graph.edges.T
    slack = 1e-9 * h.max()
    assert (np.abs(h[i] - h[j]) <= weights[:, None] + slack).all()  # both directions of an edge
    assert (h <= all_costs(graph, weights) + slack).all()
    assert np.max(h[i, j] / weights) == pytest.approx(1)  # no larger c is admissible


# Points on a grid of 0.01: many are equal or on a line, and none are so near that scipy takes an edge for none.
_POINTS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(4, 25), st.integers(1, 3)),
    elements=st.integers(-10_000, 10_000).map(lambda value: value / 100),
)


@given(nodes=_POINTS, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_heuristic_never_exceeds_the_true_distance(nodes, seed):
    graph = geometry.neighbour_graph(nodes, 3)
    weights = graph.lengths * np.random.default_rng(seed).uniform(0.5, 9, len(graph.edges)) + 1e-3
    h = geometry.heuristic_scale(graph, weights) * np.linalg.norm(
        nodes[:, None] - nodes[None], axis=-1
    )
    assert (h <= all_costs(graph, weights) * (1 + 1e-9) + 1e-9).all()


def test_the_heuristic_of_lengths_is_the_straight_line():
    for seed in range(5):
        graph = random_graph(seed)
        assert geometry.heuristic_scale(graph, graph.lengths) == pytest.approx(1)
        assert geometry.heuristic_scale(graph, 3 * graph.lengths) == pytest.approx(3)


def test_free_edges_and_equal_nodes_make_the_heuristic_zero_and_keep_paths_exact():
    graph = geometry.neighbour_graph(np.arange(6.0)[:, None], 2)
    weights = np.where(np.arange(len(graph.edges)) % 2, graph.lengths, 0.0)
    assert geometry.heuristic_scale(graph, weights) == 0
    paths = geometry.shortest_paths(graph, weights, [[0, 5], [5, 0]])
    # scipy's sparse matrices drop weights of 0: an edge that costs almost nothing stands for it.
    expected = all_costs(graph, np.maximum(weights, 1e-12))
    np.testing.assert_allclose(paths.cost, expected[[0, 5], [5, 0]], atol=1e-10)
    equal = geometry.neighbour_graph(np.zeros((4, 1)), 2)
    assert geometry.heuristic_scale(equal, np.ones(len(equal.edges))) == 0


def test_a_path_of_a_line_visits_its_nodes_in_order():
    graph = geometry.neighbour_graph(np.arange(10.0)[:, None], 1)  # a latent space of one dimension
    paths = geometry.shortest_paths(graph, graph.lengths, [[7, 2], [4, 4]])
    np.testing.assert_array_equal(paths.nodes[0], [7, 6, 5, 4, 3, 2])
    np.testing.assert_array_equal(paths.nodes[1], [4])
    np.testing.assert_array_equal(paths.cost, [5, 0])


def test_a_path_follows_the_ring_and_the_dense_side():
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    graph = geometry.neighbour_graph(ring, 2)
    paths = geometry.shortest_paths(graph, graph.lengths, [[0, 100], [0, 40]])
    np.testing.assert_allclose(paths.cost, [np.pi, 0.4 * np.pi], rtol=1e-3)
    # The way from 0 to 80 is shorter through the upper half, but there the density is e⁻² of that below.
    log_density = np.where(geometry.points_along(graph, 3)[..., 1] > 0, -2.0, 0.0)
    for power, turns in ((0.0, 80), (1.0, 120)):
        weights = geometry.density_weights(graph, log_density, power)
        (nodes,) = geometry.shortest_paths(graph, weights, [[0, 80]]).nodes
        assert len(nodes) == turns + 1


def test_pairs_that_no_path_joins_are_reported_with_their_components():
    nodes = np.array([[0.0], [1.0], [10.0], [11.0]])
    graph = geometry.neighbour_graph(nodes, 1)
    paths = geometry.shortest_paths(graph, graph.lengths, [[0, 1], [1, 2], [3, 0]])
    assert [path is None for path in paths.nodes] == [False, True, True]
    np.testing.assert_array_equal(paths.cost, [1, np.inf, np.inf])
    np.testing.assert_array_equal(paths.components, [[0, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(paths.joined, [True, False, False])
    assert paths.sentences == (
        "pair 1 has no path: its ends lie in the components 0 and 1.",
        "pair 2 has no path: its ends lie in the components 1 and 0.",
    )
    joined = geometry.connect(graph)
    assert geometry.shortest_paths(joined, joined.lengths, [[0, 3]]).cost == pytest.approx([11])


def test_a_graph_without_edges_has_no_paths_but_those_without_steps():
    graph = geometry.prune(geometry.neighbour_graph(np.arange(3.0)[:, None], 1), np.zeros(2, bool))
    paths = geometry.shortest_paths(graph, graph.lengths, [[0, 2], [1, 1]])
    assert paths.nodes[0] is None
    np.testing.assert_array_equal(paths.nodes[1], [1])
    np.testing.assert_array_equal(paths.cost, [np.inf, 0])


def test_no_pairs_give_no_paths():
    graph = geometry.neighbour_graph(np.arange(3.0)[:, None], 1)
    paths = geometry.shortest_paths(graph, graph.lengths, np.zeros((0, 2), int))
    assert paths.nodes == paths.sentences == ()
    assert paths.cost.shape == (0,)


LINE = geometry.neighbour_graph(np.arange(4.0)[:, None], 1)


@pytest.mark.parametrize(
    ("weights", "pairs", "embedding", "sentence"),
    [
        (LINE.lengths, [[0, 4]], None, r"pairs\[0\] has the goal 4, but nodes are numbered 0 to 3"),
        (LINE.lengths, [[0, 1], [-1, 2]], None, r"pairs\[1\] has the start -1"),
        (LINE.lengths, [[0.0, 1.0]], None, "pairs must be integers, numbers of nodes, got float64"),
        (
            LINE.lengths,
            [0, 1],
            None,
            r"pairs must be an array \[P, 2\] of starts and goals, got the shape \(2,\)",
        ),
        (LINE.lengths, [[0, 1, 2]], None, "of starts and goals, got the shape .1, 3."),
        (
            LINE.lengths[:2],
            [[0, 1]],
            None,
            r"one number for each of the 3 edges, .*got the shape \(2,\)",
        ),
        (
            None,
            [[0, 1]],
            None,
            "one number for each of the 3 edges, such as graph.lengths, got None",
        ),
        (
            [1.0, np.nan, 1.0],
            [[0, 1]],
            None,
            "weights must be finite and not negative, got nan for",
        ),
        ([1.0, 1.0, -1.0], [[0, 1]], None, "got -1 for the edge 2 between the nodes 2 and 3"),
        (
            [np.inf, 1.0, 1.0],
            [[0, 1]],
            None,
            "got inf for the edge 0 between .* or remove the edge",
        ),
        (LINE.lengths, [[0, 1]], np.zeros((3, 2)), "rows of embedding = 3 and rows of nodes = 4"),
        (LINE.lengths, [[0, 1]], np.full((4, 2), np.nan), "embedding holds nan in example 0"),
    ],
)
def test_a_mistake_with_paths_is_one_sentence(weights, pairs, embedding, sentence):
    with pytest.raises(UsageError, match=sentence):
        geometry.shortest_paths(LINE, weights, pairs, embedding)

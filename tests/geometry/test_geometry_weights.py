"""Weights against integrals in closed form."""

import numpy as np
import pytest

from vaelab import geometry
from vaelab.checks import UsageError


@pytest.fixture
def graph() -> geometry.Graph:
    return geometry.neighbour_graph(np.random.default_rng(0).normal(size=(60, 2)), 5)


def normal_log_density(z: np.ndarray) -> np.ndarray:
    return -0.5 * np.sum(z**2, axis=-1) - np.log(2 * np.pi)


def test_points_lie_at_equal_spacing_between_both_ends(graph):
    points = geometry.points_along(graph, 5)
    np.testing.assert_array_equal(points[:, [0, -1]], graph.nodes[graph.edges])
    np.testing.assert_allclose(points[:, 2], graph.nodes[graph.edges].mean(axis=1))
    np.testing.assert_allclose(
        geometry.steps(points), np.repeat(graph.lengths[:, None] / 4, 4, axis=1)
    )
    single = graph._replace(nodes=graph.nodes.astype(np.float32))
    assert geometry.points_along(single, 3).dtype == np.float32


@pytest.mark.parametrize(("power", "constant"), [(0.0, None), (2.0, -7.0)])
def test_power_zero_and_constant_density_give_the_lengths(graph, power, constant):
    log_density = normal_log_density(geometry.points_along(graph, 4))
    if constant is not None:
        log_density = np.full_like(log_density, constant)
    np.testing.assert_allclose(
        geometry.density_weights(graph, log_density, power), graph.lengths, rtol=1e-14
    )


def test_a_density_weight_is_the_integral_along_the_edge():
    line = geometry.neighbour_graph(np.array([[0.0], [2.0], [3.0]]), 1)
    # p(z) = e^−z: ∫ (p / p_max)^−α dz = (e^{αb} − e^{αa}) / α
    for power in (0.5, 1.0, 2.0):
        weights = geometry.density_weights(line, -geometry.points_along(line, 2001)[..., 0], power)
        exact = np.exp(power * np.array([0.0, 2.0, 3.0]))
        np.testing.assert_allclose(weights, np.diff(exact) / power, rtol=1e-5)


def test_weights_do_not_depend_on_the_normalisation_and_are_at_least_the_lengths(graph):
    log_density = normal_log_density(geometry.points_along(graph, 4))
    weights = geometry.density_weights(graph, log_density, 1.5)
    np.testing.assert_allclose(geometry.density_weights(graph, log_density + 900, 1.5), weights)
    assert (weights >= graph.lengths).all()
    assert geometry.heuristic_scale(graph, weights) >= 1


def test_a_graph_without_edges_has_no_weights(graph):
    empty = geometry.prune(graph, np.zeros(len(graph.edges), bool))
    points = geometry.points_along(empty, 3)
    assert points.shape == (0, 3, 2)
    assert geometry.density_weights(empty, normal_log_density(points)).shape == (0,)
    assert geometry.decoded_lengths(points).shape == (0,)


def test_a_hole_between_the_ends_makes_an_edge_heavy():
    line = geometry.neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    hole = np.array([[0.0, 0.0, 0.0], [0.0, -5.0, 0.0]])
    weights = geometry.density_weights(line, hole, 1.0)
    np.testing.assert_allclose(weights, [1.0, 2 * (1 + np.exp(5)) / 2])


def test_no_weight_exceeds_its_length_more_than_the_limit():
    line = geometry.neighbour_graph(np.array([[0.0], [1.0], [3.0]]), 1)
    far = np.array([[0.0, 0.0, 0.0], [-1e12, -1e12, -1e12]])
    np.testing.assert_allclose(geometry.density_weights(line, far, 1.0, limit=50.0), [1.0, 100.0])


def test_the_decoded_length_of_a_linear_decoder_is_exact_and_of_an_arc_converges(graph):
    matrix = np.random.default_rng(1).normal(size=(2, 9))
    decoded = geometry.points_along(graph, 4) @ matrix
    ends = (graph.nodes @ matrix)[graph.edges]
    np.testing.assert_allclose(
        geometry.decoded_lengths(decoded), np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    )
    line = geometry.neighbour_graph(np.array([[0.0], [np.pi]]), 1)
    lengths = []
    for num_points in (2, 3, 5, 257):
        angle = geometry.points_along(line, num_points)[..., 0]
        arc = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        lengths += geometry.decoded_lengths(arc).tolist()
    assert lengths == sorted(lengths)  # from below
    assert lengths[0] == pytest.approx(2)
    assert lengths[-1] == pytest.approx(np.pi, rel=1e-4)


def test_decoded_nodes_as_embedding_have_scale_one_or_more(graph):
    matrix = np.random.default_rng(1).normal(size=(2, 9))
    weights = geometry.decoded_lengths(np.tanh(geometry.points_along(graph, 6) @ matrix))
    assert geometry.heuristic_scale(graph, weights, np.tanh(graph.nodes @ matrix)) >= 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda g: geometry.points_along(g, 1), "num_points must be a whole number and at least 2"),
        (lambda g: geometry.density_weights(g, np.zeros(3)), r"must be an array \[E, m\]"),
        (
            lambda g: geometry.density_weights(g, np.zeros((3, 4))),
            "rows of log_density = 3 and numb",
        ),
        (
            lambda g: geometry.density_weights(g, np.zeros((len(g.edges), 1))),
            "log_density must have at least 2 points per edge, got 1",
        ),
        (
            lambda g: geometry.density_weights(g, np.full((len(g.edges), 2), -np.inf)),
            "log_density is not finite on the edge 0: remove such edges with prune first",
        ),
        (
            lambda g: geometry.density_weights(g, np.zeros((len(g.edges), 2)), -1.0),
            "power must be finite and not negative",
        ),
        (
            lambda g: geometry.density_weights(g, np.zeros((len(g.edges), 2)), limit=0.5),
            "limit must be at least 1 and finite, got 0.5",
        ),
        (lambda g: geometry.decoded_lengths(np.zeros((3, 2))), r"must be an array \[E, m, F\]"),
        (
            lambda g: geometry.decoded_lengths(np.zeros((3, 1, 2))),
            "at least 2 points per edge, got 1",
        ),
        (
            lambda g: geometry.decoded_lengths(np.full((3, 2, 2), np.nan)),
            "decoded is not finite on",
        ),
    ],
)
def test_a_mistake_with_weights_is_one_sentence(graph, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call(graph)

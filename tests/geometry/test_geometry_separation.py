"""Purity of neighbourhoods, and shares of paths that leave the data."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from vaelab import geometry
from vaelab.checks import UsageError


def test_purity_is_one_for_separate_classes_and_the_chance_level_for_mixed_ones():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=6000, p=[0.5, 0.3, 0.2])
    codes = rng.normal(size=(6000, 2))
    apart = geometry.neighbour_purity(codes + 100 * labels[:, None], labels)
    assert (apart == 1).all()
    mixed = geometry.neighbour_purity(codes, labels, num_neighbours=10)
    error = (
        np.std(mixed) / np.sqrt(6000) * np.sqrt(11)
    )  # a code is in about 10 other neighbourhoods
    assert np.mean(mixed) == pytest.approx(0.38, abs=3 * error)  # .5² + .3² + .2²


@pytest.mark.parametrize("held_out", [False, True])
def test_purity_equals_that_of_the_dense_matrix_of_distances(held_out):
    rng = np.random.default_rng(1)
    codes, labels = rng.normal(size=(80, 3)), rng.integers(0, 4, 80)
    queries, query_labels = rng.normal(size=(30, 3)), rng.integers(0, 4, 30)
    if held_out:
        found = geometry.neighbour_purity(codes, labels, queries, query_labels, num_neighbours=7)
        near = np.argsort(cdist(queries, codes), axis=1)[:, :7]
        np.testing.assert_allclose(found, np.mean(labels[near] == query_labels[:, None], axis=1))
    else:
        found = geometry.neighbour_purity(codes, labels, num_neighbours=7)
        near = np.argsort(cdist(codes, codes), axis=1)[:, 1:8]
        np.testing.assert_allclose(found, np.mean(labels[near] == labels[:, None], axis=1))


def test_a_path_drawn_like_the_data_has_the_quantile_as_its_share():
    of_data = np.arange(1000.0)
    for quantile in (0.0, 0.05, 0.5, 1.0):
        share = geometry.share_below(of_data, of_data, quantile)
        assert share == pytest.approx(quantile, abs=2e-3)


def test_points_of_density_zero_are_low_and_paths_are_counted_one_by_one():
    log_density = np.array([[[-np.inf, 5.0], [5.0, 5.0]]])
    np.testing.assert_array_equal(
        geometry.share_below(log_density, np.arange(10.0), 0.1), [[0.5, 0.0]]
    )


def test_far_points_are_those_beyond_the_threshold_from_every_frame():
    frames = np.random.default_rng(2).normal(size=(50, 4))
    decoded = 2 * np.random.default_rng(3).normal(size=(3, 20, 4))
    distances = np.stack([cdist(y, frames).min(axis=1) for y in decoded])
    threshold = float(np.median(distances))
    np.testing.assert_allclose(
        geometry.nearest_distances(frames, decoded.reshape(-1, 4)), distances.ravel()
    )
    np.testing.assert_allclose(
        geometry.share_far(decoded, frames, threshold), np.mean(distances > threshold, axis=1)
    )
    assert geometry.share_far(frames, frames, 1e-9) == 0


CODES, LABELS = np.arange(4.0)[:, None], np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: geometry.neighbour_purity(CODES, LABELS),
            "num_neighbours is 16, but there are 4 points: choose at most 3",
        ),
        (
            lambda: geometry.neighbour_purity(CODES, LABELS, num_neighbours=0),
            "num_neighbours must be at least 1, got 0",
        ),
        (
            lambda: geometry.neighbour_purity(CODES, LABELS, CODES),
            "queries and query_labels belong together",
        ),
        (
            lambda: geometry.neighbour_purity(CODES, LABELS[:3]),
            "number of labels = 3 and number of c",
        ),
        (lambda: geometry.neighbour_purity(CODES, LABELS / 2), "labels must be classes, integers"),
        (
            lambda: geometry.neighbour_purity(CODES, LABELS, CODES, LABELS[:2]),
            "number of query_labels = 2 and number of queries = 4",
        ),
        (
            lambda: geometry.neighbour_purity(CODES, LABELS, CODES, LABELS),
            "num_neighbours is 16, but there are 4 points",
        ),
        (lambda: geometry.share_below([np.nan], [1.0]), "log_density holds nan"),
        (lambda: geometry.share_below([1.0], [np.nan]), "log_density_of_data holds nan"),
        (lambda: geometry.share_below([], [1.0]), r"log_density must be \[..., T\]"),
        (lambda: geometry.share_below([1.0], [1.0], 5), r"quantile must lie in \[0, 1\], got 5"),
        (lambda: geometry.share_far([1.0], CODES, 1.0), r"decoded must be points \[..., T, F\]"),
        (lambda: geometry.share_far(CODES, CODES, 0.0), "threshold must be positive and finite"),
        (lambda: geometry.share_far(CODES, np.zeros((3, 2)), 1.0), "dimension of points = 2 and"),
    ],
)
def test_a_mistake_with_separation_is_one_sentence(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()

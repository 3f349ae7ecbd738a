"""What is measured of a latent space, and of the paths through it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments.interpolation.codes import Codes, decoded_lengths, density_weights
from experiments.interpolation.families import Family
from vaelab import evaluation, geometry
from vaelab.evaluation import Estimate
from vaelab.evaluation.averages import mean_and_error
from vaelab.geometry import Graph
from vaelab.runs import Result

STRAIGHT = "straight line"
_DENSE = (
    0.75  # share of prior samples, those in the densest regions, among which a ring is looked for
)
_DOMINANCE = 1e6  # reported for a single loop
_FAR = 0.95  # quantile of distances to the data, of decoded codes


class Settings(NamedTuple):
    """How everything is measured."""

    part: str  # "test" or "validation": the ends of paths
    num_nodes: int  # samples of the prior
    num_neighbours: int
    num_pairs: int
    num_points: int  # of a path
    power: float | None  # of the density; None for 1 / D
    prior_samples: int  # inner samples of an estimated prior
    quantile: float  # of the data's log density: below it the density is low
    seed: int  # of the pairs


class Ring(NamedTuple):
    """Whether points are a ring."""

    closed: bool
    dominance: float  # persistence of the first loop over that of the second


class PathMeasures(NamedTuple):
    """Paths of one kind, averaged over the pairs that they join."""

    kind: str
    values: dict[str, Estimate]


class ModelMeasures(NamedTuple):
    """One model."""

    experiment: str
    seed: int
    step: int
    settings: Settings
    validation: float  # the bound by which parameters were chosen, nats
    rate: Estimate  # nats, of the training part
    error: float  # root mean square error of decoded codes of the training part
    num_components: int  # of the graph of prior samples, before bridges join them
    jump_threshold: float | None
    purity: Estimate | None  # share of the nearest training codes with the label of a code
    far: Estimate  # share of prior samples whose decoding is farther from the data than 95 % of decoded codes
    codes: Ring  # of the training part
    prior: Ring  # samples in the densest regions
    paths: list[PathMeasures]


class Space(NamedTuple):
    """A latent space with its graph and paths, for plots."""

    result: Result
    graph: Graph  # of the prior samples and the ends of paths
    weights: dict[str, np.ndarray]  # by the kind of path, [E]
    codes: np.ndarray  # of the training part, [N, D]
    pairs: np.ndarray  # rows of the measured part, [P, 2]
    paths: dict[str, np.ndarray]  # by their kind: codes [P, T, D]
    decoded: dict[str, np.ndarray]  # by their kind: [P, T, F]
    threshold: float | None  # of jumps


def measure(
    name: str, result: Result, family: Family, settings: Settings, data_dir: str | None
) -> tuple[ModelMeasures, Space]:
    """The measures of one model, with the graph and the paths that they belong to."""
    run, splits = result.run, result.run.splits
    part = splits.parts[settings.part]
    codes = Codes(result, settings.prior_samples)

    # 1. Codes of the data, and samples of the prior.
    of_train, of_part = codes.encode(splits.train.x), codes.encode(part.x)
    nodes = np.asarray(
        result.bound.sample_latents(run.key("nodes"), settings.num_nodes)[0], np.float32
    )

    # 2. The graph of prior samples, made connected, with the ends of all paths.
    graph = geometry.neighbour_graph(nodes, settings.num_neighbours)
    num_components = int(geometry.components(graph).max()) + 1
    pairs = family.pairs(part, settings.num_pairs, settings.seed)
    ends, places = np.unique(pairs, return_inverse=True)
    graph = geometry.attach(geometry.connect(graph), of_part[ends], settings.num_neighbours)
    joins = places.reshape(pairs.shape) + len(nodes)

    # 3. Weights of its edges, and shortest paths.
    decoded_nodes = codes.decode(graph.nodes)
    power = 1 / nodes.shape[1] if settings.power is None else settings.power
    weights = {
        "shortest path": graph.lengths,
        "through density": density_weights(graph, codes, run.key("density"), power),
        "shortest decoded": decoded_lengths(graph, codes, decoded_nodes),
    }
    embeddings = {"shortest decoded": decoded_nodes}
    found = {
        kind: geometry.shortest_paths(graph, weight, joins, embeddings.get(kind)).nodes
        for kind, weight in weights.items()
    }
    paths = {
        kind: np.stack([geometry.resample(graph.nodes[row], settings.num_points) for row in rows])
        for kind, rows in ({STRAIGHT: joins} | found).items()
    }

    # 4. The measures.
    threshold = family.jump_threshold(result, data_dir)
    log_density_of_data = codes.log_aggregated(of_part)
    decoded, measured = {}, []
    for kind, points in paths.items():
        flat = points.reshape(-1, points.shape[-1])
        y = codes.decode(flat).reshape(*points.shape[:2], -1)
        log_density = codes.log_aggregated(flat).reshape(points.shape[:2])
        steps, rough = geometry.steps(y), geometry.second_differences(y).mean(axis=1)
        values = {
            "second difference": rough,
            "its share of a step, %": 100 * rough / steps.mean(axis=1),
            "largest step": steps.max(axis=1),
            "length": steps.sum(axis=1),
            "low density, %": 100
            * geometry.share_below(log_density, log_density_of_data, settings.quantile),
        }
        if threshold is not None:
            values["jumps"] = geometry.jumps(y, threshold).sum(axis=1)
        labels = None if part.labels is None else part.labels[pairs]
        values |= family.further(y, labels)
        decoded[kind] = y
        measured.append(
            PathMeasures(kind, {name: mean_and_error(each) for name, each in values.items()})
        )
    train = splits.train.x.reshape(len(splits.train.x), -1)
    measures = ModelMeasures(
        experiment=name,
        seed=run.experiment.seed,
        step=result.step,
        settings=settings,
        validation=float(np.max(result.history["validation/bound"])),
        rate=_rate(result),
        error=float(np.sqrt(np.mean((codes.decode(of_train) - train) ** 2))),
        num_components=num_components,
        jump_threshold=threshold,
        purity=_purity(of_train, splits.train.labels, of_part, part.labels, settings)
        if family.names
        else None,
        far=_far(train, decoded_nodes[: len(nodes)], codes.decode(of_part)),
        codes=_ring(of_train),
        prior=_ring(nodes[geometry.densest_points(nodes, _DENSE)]),
        paths=measured,
    )
    return measures, Space(result, graph, weights, of_train, pairs, paths, decoded, threshold)


def _rate(result: Result) -> Estimate:
    run = result.run
    subject = run.subject(result.params, run.fixed_training_set())
    rates = {"rate": evaluation.rate}
    return evaluation.expectations(subject, run.key("rate"), rates, num_samples=1)["rate"]


def _purity(
    of_train: np.ndarray, labels: Any, of_part: np.ndarray, part_labels: Any, settings: Settings
) -> Estimate:
    """The mean over classes, so that all count the same."""
    shares = geometry.neighbour_purity(
        of_train, labels, of_part, part_labels, settings.num_neighbours
    )
    groups = [mean_and_error(shares[part_labels == label]) for label in np.unique(part_labels)]
    error = np.linalg.norm([group.standard_error for group in groups]) / len(groups)
    return Estimate(float(np.mean([group.mean for group in groups])), float(error))


def _far(train: np.ndarray, of_prior: np.ndarray, of_codes: np.ndarray) -> Estimate:
    """The share of decoded prior samples that are farther from the training part than decoded codes are."""
    limit = np.quantile(geometry.nearest_distances(train, of_codes), _FAR)
    return mean_and_error((geometry.nearest_distances(train, of_prior) > limit).astype(float))


def _ring(points: np.ndarray) -> Ring:
    found = geometry.loops(points)
    return Ring(geometry.has_loop(found), min(found.dominance, _DOMINANCE))

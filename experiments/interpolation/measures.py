"""What is measured of a latent space, and of the paths through it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from experiments.interpolation.families import Family
from vaelab import evaluation, geometry
from vaelab.evaluation import Estimate
from vaelab.evaluation.averages import mean_and_error
from vaelab.evaluation.batches import map_batches
from vaelab.geometry import Graph
from vaelab.runs import Result

STRAIGHT = "straight line"
_BATCH = 2_000  # points whose densities or decodings are computed at once
_EDGES = 20_000  # edges whose decodings are in memory at once
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
    prior = result.model.with_prior_samples(settings.prior_samples)
    log_prior = partial(_log_prior, prior, result.params)
    decode = partial(_decode, result.model, result.params)

    train = splits.train.x.reshape(len(splits.train.x), -1)

    # 1. Codes of the data, and samples of the prior.
    codes = {each: _codes(result, splits.parts[each].x) for each in ("train", settings.part)}
    nodes = np.asarray(
        result.bound.sample_latents(run.key("nodes"), settings.num_nodes)[0], np.float32
    )

    # 2. The graph of prior samples, made connected, with the ends of all paths.
    graph = geometry.neighbour_graph(nodes, settings.num_neighbours)
    num_components = int(geometry.components(graph).max()) + 1
    pairs = family.pairs(part, settings.num_pairs, settings.seed)
    ends, places = np.unique(pairs, return_inverse=True)
    graph = geometry.attach(
        geometry.connect(graph), codes[settings.part][ends], settings.num_neighbours
    )
    joins = places.reshape(pairs.shape) + len(nodes)

    # 3. Weights of its edges, and shortest paths.
    log_density = _over(log_prior, graph.nodes, run.key("density"))
    decoded_nodes = _over(decode, graph.nodes, run.key("decode"))
    weights = {
        "shortest path": graph.lengths,
        "through density": geometry.density_weights(
            graph,
            _on_edges(graph, log_density, log_prior, run.key("density of edges")),
            1 / nodes.shape[1] if settings.power is None else settings.power,
        ),
        "shortest decoded": _decoded_lengths(graph, decoded_nodes, decode, run.key("edges")),
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
    log_q = _log_aggregated(result)
    log_q_of_data = log_q(codes[settings.part])
    decoded, measured = {}, []
    for kind, points in paths.items():
        flat = points.reshape(-1, points.shape[-1])
        y = _over(decode, flat, run.key("paths")).reshape(*points.shape[:2], -1)
        density = log_q(flat).reshape(points.shape[:2])
        steps, rough = geometry.steps(y), geometry.second_differences(y).mean(axis=1)
        values = {
            "second difference": rough,
            "its share of a step, %": 100 * rough / steps.mean(axis=1),
            "largest step": steps.max(axis=1),
            "length": steps.sum(axis=1),
            "low density, %": 100 * geometry.share_below(density, log_q_of_data, settings.quantile),
        }
        if threshold is not None:
            values["jumps"] = geometry.jumps(y, threshold).sum(axis=1)
        labels = None if part.labels is None else part.labels[pairs]
        values |= family.further(y, labels)
        decoded[kind] = y
        measured.append(
            PathMeasures(kind, {name: mean_and_error(each) for name, each in values.items()})
        )
    measures = ModelMeasures(
        experiment=name,
        seed=run.experiment.seed,
        step=result.step,
        settings=settings,
        validation=float(np.max(result.history["validation/bound"])),
        rate=evaluation.expectations(
            run.subject(result.params, run.fixed_training_set()),
            run.key("rate"),
            {"rate": evaluation.rate},
            num_samples=1,
        )["rate"],
        error=float(
            np.sqrt(np.mean((_over(decode, codes["train"], run.key("codes")) - train) ** 2))
        ),
        num_components=num_components,
        jump_threshold=threshold,
        purity=_purity(family, result, codes, settings),
        far=_far(
            train,
            decoded_nodes[: len(nodes)],
            _over(decode, codes[settings.part], run.key("codes")),
        ),
        codes=_ring(codes["train"]),
        prior=_ring(nodes[geometry.densest_points(nodes, _DENSE)]),
        paths=measured,
    )
    return measures, Space(result, graph, weights, codes["train"], pairs, paths, decoded, threshold)


def _purity(
    family: Family, result: Result, codes: dict[str, np.ndarray], settings: Settings
) -> Estimate | None:
    """The mean over classes, so that all count the same; None for data without classes."""
    if not family.names:
        return None
    train, part = (result.run.splits.parts[name].labels for name in ("train", settings.part))
    shares = geometry.neighbour_purity(
        codes["train"], train, codes[settings.part], part, settings.num_neighbours
    )
    groups = [mean_and_error(shares[part == label]) for label in np.unique(part)]
    errors = np.array([group.standard_error for group in groups])
    return Estimate(
        float(np.mean([group.mean for group in groups])),
        float(np.sqrt(np.sum(errors**2)) / len(groups)),
    )


def _far(train: np.ndarray, of_prior: np.ndarray, of_codes: np.ndarray) -> Estimate:
    """The share of decoded prior samples that are farther from the training part than decoded codes are."""
    limit = np.quantile(geometry.nearest_distances(train, of_codes), _FAR)
    return mean_and_error((geometry.nearest_distances(train, of_prior) > limit).astype(float))


def _ring(points: np.ndarray) -> Ring:
    found = geometry.loops(points)
    return Ring(geometry.has_loop(found), min(found.dominance, _DOMINANCE))


# Functions of codes, in batches.


def _codes(result: Result, x: np.ndarray) -> np.ndarray:
    """Means of q(z|x), [N, D] float32. x as the model takes it."""
    codes = map_batches(
        partial(_mean, result.model, result.params), x, jax.random.key(0), batch_size=_BATCH
    )
    return codes.astype(np.float32)


@partial(jax.jit, static_argnums=0)
def _mean(model, params, x, key):
    del key
    bound = model.at(params)
    return bound.level_posterior(bound.encode(x), 0).mean()


@partial(jax.jit, static_argnums=0)
def _log_prior(model, params, z, key):
    return model.at(params).level_log_prior(z, 0, key)


@partial(jax.jit, static_argnums=0)
def _decode(model, params, z, key):
    del key
    mean = model.at(params).decode((z,)).mean()
    return mean.reshape(len(z), -1)


def _over(function: Callable, z: np.ndarray, key: jax.Array) -> np.ndarray:
    """function(z, key) for all z [N, D], in batches."""
    return map_batches(function, z, key, batch_size=_BATCH)


def _log_aggregated(result: Result) -> Callable[[np.ndarray], np.ndarray]:
    """log q(z) of the aggregated posterior over the training part. [N, D] -> [N]."""
    subject = result.run.subject(result.params, result.run.fixed_training_set())
    aggregated = evaluation.aggregated_posterior(subject)

    @jax.jit
    def log_prob(z, key):
        del key
        return aggregated.density.apply(aggregated.variables, z, method="log_prob")

    return lambda z: _over(log_prob, z, jax.random.key(0))


# Functions on edges, at both ends and in the middle.


def _middles(graph: Graph) -> np.ndarray:
    i, j = graph.edges.T
    return (graph.nodes[i] + graph.nodes[j]) / 2


def _on_edges(graph: Graph, at_nodes: np.ndarray, function: Callable, key: jax.Array) -> np.ndarray:
    """Values at the points of `geometry.points_along(graph, 3)`, [E, 3]; those at the nodes are known."""
    i, j = graph.edges.T
    return np.stack([at_nodes[i], _over(function, _middles(graph), key), at_nodes[j]], axis=1)


def _decoded_lengths(
    graph: Graph, at_nodes: np.ndarray, decode: Callable, key: jax.Array
) -> np.ndarray:
    """`geometry.decoded_lengths`, some edges at a time."""
    parts = []
    for start in range(0, len(graph.edges), _EDGES):
        chunk = slice(start, start + _EDGES)
        some = graph._replace(edges=graph.edges[chunk])
        i, j = some.edges.T
        middle = _over(decode, _middles(some), key)
        parts.append(geometry.decoded_lengths(np.stack([at_nodes[i], middle, at_nodes[j]], axis=1)))
    return np.concatenate(parts)

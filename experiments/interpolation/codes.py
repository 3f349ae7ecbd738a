"""Functions of the codes of one trained model, over many points and over the edges of a graph."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np

from vaelab import evaluation, geometry
from vaelab.evaluation import Aggregated
from vaelab.evaluation.batches import map_batches
from vaelab.geometry import Graph
from vaelab.runs import Result
from vaelab.types import PRNGKey

_BATCH = 2_000  # points at once
_EDGES = 20_000  # edges whose decodings are in memory at once


class Codes:
    """Encoder, decoder and densities as functions of many codes z [N, D], in batches."""

    def __init__(self, result: Result, prior_samples: int):
        self._result = result
        self._prior = result.model.with_prior_samples(prior_samples)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Means of q(z|x), of x [N, *event] as the model takes it. -> [N, D] float32."""
        means = self._over(functools.partial(_mean, self._result.model), x)
        return means.astype(np.float32)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The likelihood's mean, flat, in the units of the model. -> [N, F]."""
        return self._over(functools.partial(_decode, self._result.model), z)

    def log_prior(self, z: np.ndarray, key: PRNGKey) -> np.ndarray:
        """log p(z), estimated with the prior's inner samples if it is not exact. -> [N]."""
        return self._over(functools.partial(_log_prior, self._prior), z, key)

    def log_aggregated(self, z: np.ndarray) -> np.ndarray:
        """log q(z) of the aggregated posterior over the training part. -> [N]."""
        function = functools.partial(
            _log_prob, self._aggregated.density, self._aggregated.variables
        )
        return map_batches(function, z, jax.random.key(0), batch_size=_BATCH)

    @functools.cached_property
    def _aggregated(self) -> Aggregated:
        run = self._result.run
        return evaluation.aggregated_posterior(
            run.subject(self._result.params, run.fixed_training_set())
        )

    def _over(
        self,
        function: Callable,
        points: np.ndarray,
        key: PRNGKey = jax.random.key(0),  # noqa: B008
    ) -> np.ndarray:
        function = functools.partial(function, self._result.params)
        return map_batches(function, points, key, batch_size=_BATCH)


# The programs. Those without randomness ignore the key of `map_batches`.


@functools.partial(jax.jit, static_argnums=0)
def _mean(model, params, x, key):
    del key
    bound = model.at(params)
    return bound.level_posterior(bound.encode(x), 0).mean()


@functools.partial(jax.jit, static_argnums=0)
def _decode(model, params, z, key):
    del key
    return model.at(params).decode((z,)).mean().reshape(len(z), -1)


@functools.partial(jax.jit, static_argnums=0)
def _log_prior(model, params, z, key):
    return model.at(params).level_log_prior(z, 0, key)


@functools.partial(jax.jit, static_argnums=0)
def _log_prob(density, variables, z, key):
    del key
    return density.apply(variables, z, method="log_prob")


# Edges, at both ends and in the middle: the points of `geometry.points_along(graph, 3)`.


def density_weights(graph: Graph, codes: Codes, keys: PRNGKey, power: float) -> np.ndarray:
    """`geometry.density_weights` of the prior's density, [E]."""
    at_nodes, in_middles = (
        codes.log_prior(points, key)
        for points, key in zip((graph.nodes, _middles(graph)), jax.random.split(keys), strict=True)
    )
    i, j = graph.edges.T
    on_edges = np.stack([at_nodes[i], in_middles, at_nodes[j]], axis=1)
    return geometry.density_weights(graph, on_edges, power)


def decoded_lengths(graph: Graph, codes: Codes, decoded_nodes: np.ndarray) -> np.ndarray:
    """`geometry.decoded_lengths`, some edges at a time, [E]."""
    parts = []
    for start in range(0, len(graph.edges), _EDGES):
        some = graph._replace(edges=graph.edges[start : start + _EDGES])
        i, j = some.edges.T
        middles = codes.decode(_middles(some))
        on_edges = np.stack([decoded_nodes[i], middles, decoded_nodes[j]], axis=1)
        parts.append(geometry.decoded_lengths(on_edges))
    return np.concatenate(parts)


def _middles(graph: Graph) -> np.ndarray:
    i, j = graph.edges.T
    return (graph.nodes[i] + graph.nodes[j]) / 2

"""The plots of the study of interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.interpolation.families import Family, Strips
from experiments.interpolation.measures import ModelMeasures
from experiments.interpolation.paths import CODED, KINDS, Space
from experiments.manifold import TITLES
from vaelab import geometry, plotting
from vaelab.plotting import LatentGraph, SeedMeasure

_NUM_CODES = 2_000  # shown of the training part
_NUM_SHOWN = 4  # paths in a latent space
_SHOWN = (
    "second difference", "second difference / mean step", "low density, %", "angle error, °",
)  # fmt: skip


def latent_spaces(spaces: Mapping[str, Space], family: Family, kind: str) -> Figure:
    """The graphs of all models side by side, with the codes of the data and some paths of one kind."""
    panels = []
    for name, space in spaces.items():
        rows = np.random.default_rng(0).permutation(len(space.of_train))[:_NUM_CODES]
        graph, weights = space.edges[kind]
        labels = space.result.run.splits.train.labels
        panels.append(
            LatentGraph(
                TITLES[name],
                graph.nodes,
                graph.edges,
                weights,
                codes=space.of_train[rows],
                labels=None if labels is None else labels[rows],
                paths=list(space.paths[kind][:_NUM_SHOWN]),
            )
        )
    return plotting.latent_graphs(
        panels, names=family.names, label=family.label, period=family.period, straight=True,
        columns=2, title=f"Graphs of {'training codes' if kind == CODED else 'prior samples'}, and paths: {kind}",
    )  # fmt: skip


def strips(
    spaces: Mapping[str, Space], family: Family, kinds: Sequence[str], *, num_pairs: int
) -> Strips:
    """Decoded paths of these kinds between the first pairs, in all models."""
    decoded, jumps, titles = [], [], []
    for pair in range(min(num_pairs, len(next(iter(spaces.values())).pairs))):
        for kind in kinds:
            for name, space in spaces.items():
                y = space.decoded[kind][pair]
                decoded.append(y)
                if space.threshold is not None:
                    jumps.append(geometry.jumps(y, space.threshold))
                shown = [kind] if len(kinds) > 1 else [f"path {pair + 1}"] if num_pairs > 1 else []
                titles.append(", ".join([*shown, TITLES[name]]))
    result = next(iter(spaces.values())).result
    return family.strips(result, np.stack(decoded), np.stack(jumps) if jumps else None, titles)


def measures(models: Sequence[ModelMeasures]) -> Figure:
    """The measures of paths, of each kind and model, over seeds."""
    by_name: dict[str, list[ModelMeasures]] = {}
    for model in models:
        by_name.setdefault(TITLES[model.experiment], []).append(model)
    panels = [
        SeedMeasure(
            quantity,
            {
                name: [
                    [seed.paths[i].values[quantity].mean for seed in seeds]
                    for i in range(len(KINDS))
                ]
                for name, seeds in by_name.items()
            },
        )
        for quantity in models[0].paths[0].values
        if quantity in _SHOWN
    ]
    return plotting.seed_measures(panels, [kind.replace(" ", "\n") for kind in KINDS])


def file_name(kind: str) -> str:
    """The kind of a path as part of a file's name.

    >>> file_name("straight line")
    'straight_line'
    """
    return kind.replace(" ", "_")

"""The plots of the study of interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.interpolation.families import Family, Strips
from experiments.interpolation.measures import ModelMeasures, Space
from experiments.manifold import TITLES
from vaelab import geometry, plotting
from vaelab.plotting import LatentGraph, SeedMeasure

_NUM_CODES = 2_000  # shown of the training part
_NUM_SHOWN = 4  # paths in a latent space
_NUM_STRIPS = 3  # paths as strips, of each model
_SHOWN = ("second difference", "largest step", "low density, %", "jumps", "angle error, °")


def latent_spaces(spaces: Mapping[str, Space], family: Family, kind: str) -> Figure:
    """The graphs of all models side by side, with the codes of the data and some paths of one kind."""
    panels = []
    for name, space in spaces.items():
        rows = np.random.default_rng(0).permutation(len(space.codes))[:_NUM_CODES]
        labels = space.result.run.splits.train.labels
        panels.append(
            LatentGraph(
                TITLES[name],
                space.graph.nodes,
                space.graph.edges,
                space.weights[kind],
                codes=space.codes[rows],
                labels=None if labels is None else labels[rows],
                paths=list(space.paths[kind][:_NUM_SHOWN]),
            )
        )
    return plotting.latent_graphs(
        panels, names=family.names, label=family.label, period=family.period, straight=True,
        title=f"Latent spaces, with graphs of prior samples and paths: {kind}",
    )  # fmt: skip


def strips(spaces: Mapping[str, Space], family: Family, kind: str) -> Strips:
    """Decoded paths of one kind, each pair in all models."""
    decoded, jumps, titles = [], [], []
    for pair in range(_NUM_STRIPS):
        for name, space in spaces.items():
            y = space.decoded[kind][pair]
            decoded.append(y)
            if space.threshold is not None:
                jumps.append(geometry.jumps(y, space.threshold))
            titles.append(f"{pair + 1}: {TITLES[name]}")
    result = next(iter(spaces.values())).result
    return family.strips(result, np.stack(decoded), np.stack(jumps) if jumps else None, titles)


def measures(models: Sequence[ModelMeasures]) -> Figure:
    """The measures of paths, of each kind and model, over seeds."""
    kinds = [each.kind for each in models[0].paths]
    by_name: dict[str, list[ModelMeasures]] = {}
    for model in models:
        by_name.setdefault(TITLES[model.experiment], []).append(model)
    panels = [
        SeedMeasure(
            quantity,
            {
                name: [
                    [seed.paths[i].values[quantity].mean for seed in seeds]
                    for i in range(len(kinds))
                ]
                for name, seeds in by_name.items()
            },
        )
        for quantity in models[0].paths[0].values
        if quantity in _SHOWN
    ]
    return plotting.seed_measures(panels, [kind.replace(" ", "\n") for kind in kinds])


def file_name(kind: str) -> str:
    """The kind of a path as part of a file's name.

    >>> file_name(STRAIGHT)
    'straight_line'
    """
    return kind.replace(" ", "_")

"""The tables of the study of interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rich.table import Table

from experiments.interpolation.measures import ModelMeasures
from experiments.manifold import TITLES
from vaelab.runs import display

# The lines of the table of latent spaces. A purity of None is left out.
QUANTITIES: dict[str, Callable[[list[ModelMeasures]], str]] = {
    "step": lambda seeds: over_seeds([each.step for each in seeds], 0),
    "validation ELBO, nats": lambda seeds: over_seeds([each.elbo for each in seeds]),
    "rate, nats": lambda seeds: over_seeds([each.rate.mean for each in seeds]),
    "error, training": lambda seeds: over_seeds([each.error for each in seeds], 3),
    "error, held out": lambda seeds: over_seeds([each.held_out_error for each in seeds], 3),
    "purity, %": lambda seeds: over_seeds([100 * e.purity.mean for e in seeds if e.purity], 1),
    "far samples, %": lambda seeds: over_seeds([100 * each.far.mean for each in seeds], 1),
    "components": lambda seeds: over_seeds([each.num_components for each in seeds], 1),
    "components, pruned": lambda seeds: over_seeds([e.num_pruned_components for e in seeds], 1),
    "components, codes": lambda seeds: over_seeds([each.num_code_components for each in seeds], 1),
    "codes form a ring": lambda seeds: _count([each.codes_form_ring for each in seeds]),
    "prior forms a ring": lambda seeds: _count([each.prior_forms_ring for each in seeds]),
}


def spaces_table(models: Sequence[ModelMeasures]) -> Table:
    """A line for each quantity, and a column for each model."""
    seeds = by_experiment(models)
    rows = [
        [quantity, *(show(each) for each in seeds.values())]
        for quantity, show in QUANTITIES.items()
    ]
    return display.table(
        f"Latent spaces, {_over(models)}",
        ["", *(TITLES[name] for name in seeds)],
        [row for row in rows if any(row[1:])],
        "Error: root mean square error of decoded codes. Purity: nearest training codes with the label of a held-out "
        "code, mean over labels. Far samples: samples of the prior that decode farther from the training part than half "
        "of the held-out examples lie. Components: of the graph, before bridges join them. Ring: one loop stands out.",
    )


def paths_table(models: Sequence[ModelMeasures]) -> Table:
    """A line for each quantity and kind of path, and a column for each model."""
    seeds, settings, rows = by_experiment(models), models[0].settings, []
    for quantity in models[0].paths[0].values:
        digits = 1 if quantity.endswith("%") else 3
        for index, path in enumerate(models[0].paths):
            means = [
                [each.paths[index].values[quantity].mean for each in s] for s in seeds.values()
            ]
            rows.append(
                ["" if index else quantity, path.kind, *(over_seeds(m, digits) for m in means)]
            )
    return display.table(
        f"{settings.num_pairs} paths of {settings.num_points} points, {_over(models)}",
        ["", "path", *(TITLES[name] for name in seeds)],
        rows,
        f"Ends of paths: the {settings.part} part. Second difference, step and length: of decoded paths, in the units of "
        "the model's data. Low density: share of a path where the aggregated posterior is below the "
        f"{settings.quantile:.0%} quantile of its values at the ends of paths.",
    )


def _over(models: Sequence[ModelMeasures]) -> str:
    num_seeds = len(by_experiment(models)[models[0].experiment])
    return "one seed" if num_seeds == 1 else f"mean ± s.e. over {num_seeds} seeds"


def _count(rings: Sequence[bool]) -> str:
    return f"{sum(rings)} of {len(rings)}"


def over_seeds(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard error over seeds. The value alone for one seed, nothing for none.

    >>> over_seeds([1.0, 3.0], 1), over_seeds([2.0], 1), over_seeds([])
    ('2.0 ± 1.0', '2.0', '')
    """
    if len(values) < 2:
        return "".join(f"{value:.{digits}f}" for value in values)
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return display.with_error(float(np.mean(values)), error, digits)


def by_experiment(models: Sequence[ModelMeasures]) -> dict[str, list[ModelMeasures]]:
    """The measures of the seeds of each experiment."""
    names = dict.fromkeys(model.experiment for model in models)
    return {name: [model for model in models if model.experiment == name] for name in names}

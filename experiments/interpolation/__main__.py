"""Interpolation along the latent manifold: `python -m experiments.interpolation motion`.

  python -m experiments.interpolation motion                    # human motion, ten minutes on two CPU cores
  python -m experiments.interpolation pendulum
  python -m experiments.interpolation faces --images my_faces   # a folder of images of one size
  python -m experiments.interpolation motion --part validation  # to choose settings

A hierarchical prior trained with REWO and with the ELBO, and a standard normal prior as an IWAE and with the ELBO, on
the same data, with the same networks and number of steps: so the prior, the bound and the optimiser are told apart. Paths join pairs of examples: the straight line, and shortest
paths through a graph of prior samples, whose edges weigh their Euclidean length, their length over a power of
the prior's density, or the length of what they decode to. Klushyn et al., 2019, Learning hierarchical priors in VAEs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import tyro
from rich.table import Table

from experiments.interpolation import families, plots
from experiments.interpolation.measures import (
    STRAIGHT,
    ModelMeasures,
    Settings,
    Space,
    measure,
)
from experiments.manifold import TITLES
from experiments.study import Study, main
from vaelab import runs
from vaelab.checks import check_at_least_one, check_not_negative
from vaelab.runs import Result, display
from vaelab.runs.files import read_typed, write_animation, write_figure, write_json

_FILE = "measures.json"
FILMED = "shortest path"


@dataclasses.dataclass(frozen=True)
class Interpolation(Study):
    """Trains a family of experiments, and measures and draws paths through their latent spaces.

    Leaves measures.json in the folder of each experiment, measures.png, for each kind of path
    latent_spaces_KIND.png and strips_KIND.png, and an animation, all of the seed with the best validation bound.
    The same command continues where it was interrupted.
    """

    family: tyro.conf.Positional[Literal["motion", "pendulum", "faces"]] = "motion"
    """Family of experiments in experiments/manifold.py."""
    images: str | None = None
    """Folder of images for the family faces, instead of Frey Faces."""
    part: Literal["test", "validation"] = "test"
    """Part of the data whose examples are the ends of paths. Choose settings on the validation part."""
    num_seeds: int | None = None
    """Models of each experiment. Default: 3, of the pendulum 8."""
    num_nodes: int = 10_000
    """Samples of the prior in the graph."""
    num_neighbours: int = 16
    """Nearest neighbours of a node."""
    num_pairs: int = 100
    """Pairs of examples that are joined by paths of each kind."""
    num_points: int = 64
    """Points of a path, at equal distances in the latent space."""
    power: float | None = None
    """Power of the density in the weight of an edge. Default: 1 / latent_dim."""
    prior_samples: int = 16
    """Inner samples of an estimated prior density."""
    quantile: float = 0.05
    """Density is low below this quantile of the data's own density."""
    seed: int = 0
    """Seed of the pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(
            num_seeds=self.num_seeds, num_nodes=self.num_nodes, num_neighbours=self.num_neighbours,
            num_pairs=self.num_pairs, num_points=self.num_points, prior_samples=self.prior_samples,
        )  # fmt: skip
        check_not_negative(power=self.power, seed=self.seed)

    @property
    def title(self) -> str:
        return f"interpolation-{self.family}"

    @property
    def settings(self) -> Settings:
        return Settings(**{name: getattr(self, name) for name in Settings._fields})

    def run(self) -> None:
        family = families.of(self.family, self.images)
        num_seeds = self.num_seeds or family.num_seeds
        models: list[ModelMeasures] = []
        spaces: dict[str, Space] = {}
        for name, experiment in family.experiments.items():
            results = self.train(name, experiment, runs.grid({"seed": range(num_seeds)}))
            measured = self._measures(name, results, family)
            models += measured
            best = int(np.argmax([each.validation for each in measured]))
            _, spaces[name] = measure(name, results[best], family, self.settings, self.data_dir)
        write_json(self.folder / _FILE, models)
        write_figure(self.folder / "measures.png", plots.measures(models))
        for kind in (each.kind for each in models[0].paths):
            file = plots.file_name(kind)
            if kind != STRAIGHT:
                figure = plots.latent_spaces(spaces, family, kind)
                write_figure(self.folder / f"latent_spaces_{file}.png", figure)
            strips = plots.strips(spaces, family, kind)
            write_figure(self.folder / f"strips_{file}.png", strips.figure())
            if kind == FILMED:
                write_animation(
                    self.folder / f"strips_{file}.gif", strips.frames(), frames_per_second=12.0
                )
        display.show(spaces_table(models), paths_table(models), f"everything is in {self.folder}")

    def _measures(
        self, name: str, results: Sequence[Result], family: families.Family
    ) -> list[ModelMeasures]:
        """The measures of one experiment's seeds, from its folder if they are there."""
        path = self.folder / name / _FILE
        if path.exists():
            before = read_typed(list[ModelMeasures], path)
            same = [each.settings == self.settings for each in before]
            if all(same) and [m.step for m in before] == [result.step for result in results]:
                return before
        measured = [
            measure(name, results[index], family, self.settings, self.data_dir)[0]
            for index in display.track(f"measures of {name}")(range(len(results)))
        ]
        write_json(path, measured)
        return measured


# The lines of the table of latent spaces. A purity of None is left out.
QUANTITIES: dict[str, Callable[[list[ModelMeasures]], str]] = {
    "validation bound, nats": lambda seeds: over_seeds([each.validation for each in seeds]),
    "rate, nats": lambda seeds: over_seeds([each.rate.mean for each in seeds]),
    "error of decoded codes": lambda seeds: over_seeds([each.error for each in seeds], 3),
    "purity, %": lambda seeds: over_seeds([100 * e.purity.mean for e in seeds if e.purity], 1),
    "far samples, %": lambda seeds: over_seeds([100 * each.far.mean for each in seeds], 1),
    "components": lambda seeds: over_seeds([each.num_components for each in seeds], 1),
    "codes are a ring": lambda seeds: _count([each.codes.closed for each in seeds]),
    "prior is a ring": lambda seeds: _count([each.prior.closed for each in seeds]),
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
        "Purity: nearest training codes with the label of a code, mean over labels. Far samples: samples of the "
        "prior that decode farther from the training data than 95 % of codes do. Components: of the graph, before "
        "bridges join them. Ring: one loop stands out.",
    )


def paths_table(models: Sequence[ModelMeasures]) -> Table:
    """A line for each quantity and kind of path, and a column for each model."""
    seeds, settings, rows = by_experiment(models), models[0].settings, []
    for quantity in models[0].paths[0].values:
        for index, path in enumerate(models[0].paths):
            means = [
                [each.paths[index].values[quantity].mean for each in s] for s in seeds.values()
            ]
            digits = 3 if np.max(means) < 1 else 1
            rows.append(
                ["" if index else quantity, path.kind, *(over_seeds(m, digits) for m in means)]
            )
    return display.table(
        f"{settings.num_pairs} paths of {settings.num_points} points, {_over(models)}",
        ["", "path", *(TITLES[name] for name in seeds)],
        rows,
        "Second difference, step and length: of decoded paths, in the units of the model's data. Low density: share of "
        f"a path where the aggregated posterior is below the {settings.quantile:.0%} quantile of its values at the data.",
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


if __name__ == "__main__":
    main(Interpolation)

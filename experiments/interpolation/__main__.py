"""Interpolation along the latent manifold: `python -m experiments.interpolation motion`.

  python -m experiments.interpolation motion                    # human motion, ten minutes on two CPU cores
  python -m experiments.interpolation pendulum
  python -m experiments.interpolation faces --images my_faces   # a folder of images of one size
  python -m experiments.interpolation motion --part validation  # to choose settings

Four models with the same data, networks and number of steps: a hierarchical prior trained with REWO and with the
ELBO, and a standard normal prior trained as an IWAE and with the ELBO. Paths join pairs of examples. They are straight
lines, or shortest paths through a graph. Nodes of the graph are samples of the prior, or training codes. The weight of
an edge is its Euclidean length, its length over a power of the prior's density, or the length of its decoding.
Klushyn et al., 2019, Learning hierarchical priors in VAEs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tyro
from etils import epath

from experiments.interpolation import families, plots, tables
from experiments.interpolation.measures import ModelMeasures, measure
from experiments.interpolation.paths import (
    CODED,
    KINDS,
    SHORTEST,
    STRAIGHT,
    Settings,
    Space,
    space_of,
)
from experiments.study import Study, main
from vaelab import runs
from vaelab.checks import UsageError, check_at_least_one, check_fraction, check_not_negative
from vaelab.runs import Result, display
from vaelab.runs.files import read_typed, write_animation, write_figure, write_json


@dataclasses.dataclass(frozen=True)
class Interpolation(Study):
    """Trains a family of experiments, and measures and draws paths through their latent spaces.

    Leaves in a folder named after `part`: measures.json, measures.png, latent_spaces_KIND.png and strips_KIND.png for each kind of
    path, strips.png with three kinds, and the animation paths.gif. Plots show the seed with the best validation bound. The
    same command continues where it was interrupted.
    """

    family: tyro.conf.Positional[Literal["motion", "pendulum", "faces"]] = "motion"
    """Family of experiments in experiments/manifold.py."""
    images: str | None = None
    """Folder of images for the family faces, instead of Frey Faces."""
    part: Literal["train", "validation", "test"] = "test"
    """Part of the data whose examples are the ends of paths. Choose settings on the validation part."""
    num_seeds: int | None = None
    """Models of each experiment. Default: 3, of the pendulum 8."""
    num_nodes: int = 10_000
    """Samples of the prior in the graph. The graph of codes has at most as many nodes."""
    num_neighbours: int = 16
    """Nearest neighbours of a node."""
    num_pairs: int = 100
    """Pairs of examples that are joined by paths of each kind."""
    num_points: int = 64
    """Points of a path, at equal distances in the latent space."""
    power: float | None = None
    """Power of the density in the weight of an edge. Default: 1 / latent_dim."""
    pruned: float = 0.2
    """Share of nodes that are removed from the pruned graph, those of the lowest prior density. Edges through even lower density are removed, too."""
    prior_samples: int = 64
    """Inner samples of an estimated prior density."""
    quantile: float = 0.05
    """Density is low below this quantile of the aggregated posterior's density at the ends of paths."""
    seed: int = 0
    """Seed of the pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(
            num_seeds=self.num_seeds, num_nodes=self.num_nodes, num_neighbours=self.num_neighbours,
            num_pairs=self.num_pairs, num_points=self.num_points, prior_samples=self.prior_samples,
        )  # fmt: skip
        check_not_negative(power=self.power, seed=self.seed)
        check_fraction(pruned=self.pruned, quantile=self.quantile)
        if self.num_points < 3:
            raise UsageError(
                f"num_points must be at least 3, for second differences, got {self.num_points}."
            )
        if self.num_pairs < 2:
            raise UsageError(
                f"num_pairs must be at least 2, for standard errors, got {self.num_pairs}."
            )
        if self.num_neighbours >= (1 - self.pruned) * self.num_nodes:
            raise UsageError(
                f"num_neighbours = {self.num_neighbours} must be smaller than the {1 - self.pruned:.0%} of num_nodes = "
                f"{self.num_nodes} in the pruned graph: choose more nodes."
            )

    @property
    def title(self) -> str:
        return f"interpolation-{self.family}"

    @property
    def settings(self) -> Settings:
        return Settings(**{name: getattr(self, name) for name in Settings._fields})

    @property
    def out(self) -> epath.Path:
        """Folder of measures and plots."""
        return self.folder / self.part

    def run(self) -> None:
        family = families.of(self.family, self.images, self.data_dir)
        num_seeds = self.num_seeds or family.num_seeds
        models: list[ModelMeasures] = []
        spaces: dict[str, Space] = {}
        for name, experiment in family.experiments.items():
            results = self.train(name, experiment, runs.grid({"seed": range(num_seeds)}))
            measured, of_seeds = self._measures(name, results, family)
            models += measured
            best = int(np.argmax([each.bound for each in measured]))
            spaces[name] = of_seeds[best] if of_seeds else self._space(results[best], family)
        write_json(self.out / "measures.json", models)
        write_figure(self.out / "measures.png", plots.measures(models))
        for kind in KINDS[1:]:
            figure = plots.latent_spaces(spaces, family, kind)
            write_figure(self.out / f"latent_spaces_{plots.file_name(kind)}.png", figure)
        for kind in KINDS:
            strips = plots.strips(spaces, family, [kind], num_pairs=3)
            write_figure(self.out / f"strips_{plots.file_name(kind)}.png", strips.figure())
        strips = plots.strips(spaces, family, [STRAIGHT, SHORTEST, CODED], num_pairs=1)
        write_figure(self.out / "strips.png", strips.figure())
        strips = plots.strips(spaces, family, [SHORTEST], num_pairs=1)
        write_animation(self.out / "paths.gif", strips.frames(), frames_per_second=12.0)
        display.show(
            tables.spaces_table(models), tables.paths_table(models),
            f"everything is in {self.out}",
        )  # fmt: skip

    def _measures(
        self, name: str, results: Sequence[Result], family: families.Family
    ) -> tuple[list[ModelMeasures], list[Space]]:
        """The measures of one experiment's seeds, with their spaces; without spaces if the folder has the measures."""
        path = self.out / f"{name}.json"
        if path.exists():
            before = read_typed(list[ModelMeasures], path)
            same = [each.settings == self.settings for each in before]
            if all(same) and [m.step for m in before] == [result.step for result in results]:
                return before, []
        spaces = [
            self._space(results[index], family)
            for index in display.track(f"paths of {name}")(range(len(results)))
        ]
        measured = [measure(name, space, family, self.settings) for space in spaces]
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(path, measured)
        return measured, spaces

    def _space(self, result: Result, family: families.Family) -> Space:
        return space_of(result, family, self.settings)


if __name__ == "__main__":
    main(Interpolation)

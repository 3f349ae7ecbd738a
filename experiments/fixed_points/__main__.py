"""The plots of the theory: `python -m experiments.fixed_points`. Two minutes on two CPU cores.

Fixed points of VAEs whose encoder and decoder can be any function, on mixtures in the plane. Rezende & Viola,
2018: blurs and holes (figure 1), phase transitions (figure 2), Lipschitz constraints (figure 7), equipartition
(proposition 3.3), a vanishing variance (proposition 3.1), and the posteriors of seven digits (figure 8).
"""

from __future__ import annotations

import dataclasses
import time

import jax

from experiments.fixed_points import micro_mnist, plots
from experiments.fixed_points.plots import Plot
from experiments.study import Study, main
from vaelab.checks import MissingFileError
from vaelab.runs.experiment import check_seed
from vaelab.runs.files import write_figure, write_json


@dataclasses.dataclass(frozen=True)
class FixedPoints(Study):
    """Computes the fixed points of the theory, draws them, and writes their numbers.

    Leaves a plot of each proposition and fixed_points.json. The models of Micro-MNIST, which needs MNIST, are
    trained; the same command continues there.
    """

    seed: int = 0
    """Seed of the data and of the first reconstructions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)

    @property
    def title(self) -> str:
        return "fixed_points"

    def run(self) -> None:
        key, numbers = jax.random.key(self.seed), {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, draw in plots.PLOTS.items():
            start = time.monotonic()
            numbers[name] = self._write(name, draw(key))
            print(f"{name}.png, {time.monotonic() - start:.0f} s", flush=True)
        try:
            numbers["micro_mnist"] = self._write("micro_mnist", self._micro_mnist())
        except MissingFileError as error:  # the theory itself needs no data
            print(f"micro_mnist.png is left out: {error}")
        write_json(self.folder / "fixed_points.json", {"seed": self.seed} | numbers)
        print(f"everything is in {self.folder}")

    def _micro_mnist(self) -> Plot:
        trained = {
            micro_mnist.title(each): self.train(name, each, [{"seed": self.seed}])[0]
            for name, each in micro_mnist.EXPERIMENTS.items()
        }
        return micro_mnist.posteriors(trained, jax.random.key(self.seed))

    def _write(self, name: str, plot: Plot) -> plots.Numbers:
        figure, numbers = plot
        write_figure(self.folder / f"{name}.png", figure)
        return numbers


if __name__ == "__main__":
    main(FixedPoints)

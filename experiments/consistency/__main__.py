"""Which VAEs have a tight bound: `python -m experiments.consistency`. Under three minutes on two CPU cores.

Theorem 1 in both directions, four Gaussians for two independent bits, and binary chains as hidden Markov models. Flach,
2022, Structured model learning variational autoencoders.

Few binary latents are enumerated in float64. Expectations over discrete x are sums over all x, so they are exact.
Those over Gaussian x are Gauss-Hermite quadratures: log p(x) and gaps of smooth encoders to about 1e-5 nats, gaps of the
best bits, which have kinks in x, to about 4e-4 nats. At σ = 0.3 a trained linear encoder is so steep that it fits
the nodes: its numbers change by up to 0.06 nats with the number of nodes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import jax
from etils import epath

from experiments.consistency import chain, four_gaussians, plots, tables, theorem
from experiments.study import main
from vaelab.checks import check_at_least_one
from vaelab.cli import parsing
from vaelab.runs import display
from vaelab.runs.experiment import check_seed
from vaelab.runs.files import write_figure, write_json

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Consistency(parsing.Command):
    """Computes gaps of exponential-family VAEs by enumeration, draws them, and writes their numbers.

    Leaves four plots and consistency.json.
    """

    workdir: Annotated[str | None, parsing.if_left_out("runs/consistency")] = None
    """Folder of all results."""
    seed: int = 0
    """Seed of the models and of the first encoders."""
    max_steps: int = 150
    """Largest number of steps of each optimisation."""

    def __post_init__(self) -> None:
        check_at_least_one(max_steps=self.max_steps)
        check_seed(self.seed)

    def run(self) -> None:
        folder = epath.Path(self.workdir or "runs/consistency").expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with jax.enable_x64(True):
            found = tables.Found(
                on=[
                    self._of(f"harmonium, {case.name}", theorem.on_the_set, case)
                    for case in theorem.CASES
                ],
                off=[
                    self._of(f"off the set, {case.name}", theorem.off_the_set, case)
                    for case in theorem.CASES
                ],
                toys=[
                    self._of(f"four Gaussians, σ = {sigma:g}", four_gaussians.four_gaussians, sigma)
                    for sigma in four_gaussians.SIGMAS
                ],
                chains=chain.chains(self.seed, num_steps=2 * self.max_steps),
            )
        display.show(*tables.tables(found))
        write_json(folder / "consistency.json", {"seed": self.seed} | found._asdict())
        for name, figure in plots.figures(found).items():
            write_figure(folder / f"{name}.png", figure)
        print(f"everything is in {folder}, {time.monotonic() - start:.0f} s")

    def _of(self, name: str, measure: Callable[..., T], what: Any) -> T:
        start = time.monotonic()
        found = measure(what, self.seed, max_steps=self.max_steps)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        return found


if __name__ == "__main__":
    main(Consistency)

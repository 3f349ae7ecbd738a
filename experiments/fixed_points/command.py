"""The theory's plots: `python -m experiments.fixed_points [--workdir W]`.

Fixed points of VAEs whose encoder and decoder can be anything, on mixtures in the plane: blurs and
holes (figure 1 of Rezende & Viola, 2018), phase transitions (figure 2), Lipschitz constraints
(figure 7), equipartition (proposition 3.3), a variance that goes to zero (proposition 3.1), and the
posteriors of seven digits under several objectives (figure 8), which need MNIST.
Leaves a picture for each, and fixed_points.json with every number in them. About two minutes on two
CPU cores.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial

import jax
import tyro
from etils import epath
from matplotlib.figure import Figure

from experiments import command_line
from experiments.fixed_points import micro_mnist, plots
from experiments.fixed_points.plots import Numbers
from vaelab.runs import workdir
from vaelab.types import PRNGKey

# In the order of their numbers in the paper; each leaves a picture of its own name.
FIGURES: tuple[Callable[[PRNGKey], tuple[Figure, Numbers]], ...] = (
    plots.blurs_and_holes,
    plots.phase_transitions,
    plots.lipschitz_constraints,
    plots.equipartition,
    plots.vanishing_variance,
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Computes the theory's fixed points, draws them, and writes their numbers."""

    workdir: str = "runs/fixed_points"
    """folder for everything"""
    seed: int = 0
    """of the data and of the cells' first noise"""
    data_dir: str | None = None
    """folder of MNIST's files, for figure 8; default $VAELAB_DATA, else ~/.cache/vaelab"""


def main(argv: Sequence[str]) -> None:
    arguments = tyro.cli(Arguments, prog="python -m experiments.fixed_points", args=argv)
    interrupted = "the pictures that were finished are kept"
    with command_line.plain_errors(arguments.workdir, interrupted=interrupted):
        run(arguments)


def run(arguments: Arguments) -> None:
    """Every figure, one after the other."""
    folder, start = epath.Path(arguments.workdir), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    results: Numbers = {"seed": arguments.seed, "rule": dataclasses.asdict(plots.SEED_RULE)}
    draws = {draw.__name__: draw for draw in FIGURES}
    draws["micro_mnist"] = partial(micro_mnist.posteriors, data_dir=arguments.data_dir)
    for name, draw in draws.items():
        begin = time.monotonic()
        try:
            figure, numbers = draw(jax.random.key(arguments.seed))
        except FileNotFoundError as error:  # MNIST's files; the theory needs none
            print(f"{name}.png is left out: {error}")
            continue
        workdir.write_figure(folder / f"{name}.png", figure)
        results[name] = numbers | {"seconds": time.monotonic() - begin}
        print(f"{name}.png, {time.monotonic() - begin:.0f} s", flush=True)
    results["seconds"] = time.monotonic() - start
    workdir.write_json(folder / "fixed_points.json", results)

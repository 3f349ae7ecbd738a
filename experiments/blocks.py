"""Data, reconstructions and samples of several models side by side: figures 6 and 9 to 11 of Taming VAEs.

    python -m experiments.blocks color_mnist_convdraw [--num-steps N]

Trains every experiment of that name's beginning, each in a folder of its own below the workdir, or goes
on with those that are unfinished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tyro
from etils import epath

from experiments import command_line
from vaelab import plotting
from vaelab.checks import UsageError, check_at_least_one
from vaelab.plotting import Block
from vaelab.runs import pictures as plots
from vaelab.runs import workdir
from vaelab.runs.constraints_report import outcome
from vaelab.runs.run import Run
from vaelab.training.metrics import read_metrics
from vaelab.training.objectives import AnnealedVariance
from vaelab.training.state import TrainState

_KAPPAS = (0.06, 0.1, 0.175)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains a family of experiments and shows them side by side; fields of the experiments may follow."""

    family: tyro.conf.Positional[str]
    """beginning of the experiments' names, for example color_mnist_convdraw"""
    kappas: tuple[float, ...] = _KAPPAS
    """tolerances of the reconstruction error, each a model"""
    num_images: int = 8
    """images in each row"""
    workdir: str | None = None
    """folder for everything; default runs/blocks-<family>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""

    def __post_init__(self) -> None:
        check_at_least_one(num_images=self.num_images)


def main(argv: Sequence[str]) -> None:
    arguments, overrides = command_line.parse_known(Arguments, argv, "experiments.blocks", __doc__)
    folder = epath.Path(arguments.workdir or f"runs/blocks-{arguments.family}")
    interrupted = "the same command goes on from the newest checkpoint, if there is one yet"
    with command_line.plain_errors(folder, interrupted=interrupted):
        blocks = [
            _block(name, flags, folder / place, arguments)
            for name, flags, place in _models(arguments, overrides)
        ]
        figure = plotting.sample_blocks(blocks, title=arguments.family)
        workdir.write_figure(folder / "blocks.png", figure)
    print(f"the picture is {folder / 'blocks.png'}")


def _models(arguments: Arguments, overrides: Sequence[str]) -> list[tuple[str, list[str], str]]:
    """(experiment, overrides, folder) of each model: the RE experiment once for each κ."""
    names = [n for n in command_line.names() if n.startswith(f"{arguments.family}_")]
    if not names:
        raise UsageError(
            f"no experiment's name begins with {arguments.family}_: see python -m experiments.train "
            "--help."
        )
    models: list[tuple[str, list[str], str]] = []
    for name in names:
        objective = command_line.load(name).objective
        if isinstance(
            objective, AnnealedVariance
        ):  # over three quarters of the run, whatever its length
            num_steps = command_line.experiment(
                name, [*overrides, "--objective.anneal-steps", "1"]
            ).num_steps
            flags = [*overrides, "--objective.anneal-steps", str(math.ceil(0.75 * num_steps))]
            models.append((name, flags, name))
        elif set(objective.constraints) == {"re"}:
            for kappa in arguments.kappas:
                flags = [*overrides, "--objective.constraints.re.kappa", str(kappa)]
                models.append((name, flags, f"{name}-{kappa:g}"))
        else:
            models.append((name, list(overrides), name))
    return models


def _block(name: str, flags: list[str], folder: epath.Path, arguments: Arguments) -> Block:
    experiment = command_line.experiment(name, flags)
    run = Run.load(experiment, arguments.data_dir)
    state = run.train(folder, name, flags)
    params, model = run.chosen(state).variables.params, experiment.model
    shown = run.splits.test.take(slice(arguments.num_images))
    means = plots.reconstructions(model, params, shown, run.key("reconstructions"))
    made = plots.samples(model, params, shown, run.key("samples"))
    drawn = [run.show(x) for x in (shown.x, means, made)]
    pictures = [images.images for images in drawn if images is not None]
    if len(pictures) < 3:
        raise UsageError(
            f"the data of {name} cannot be looked at: choose a family of experiments on images."
        )
    return Block(_title(run, state, read_metrics(folder)), *pictures)


def _title(run: Run, state: TrainState, rows: Sequence[Mapping[str, Any]]) -> str:
    """The objective, and of constraints that are not met how far they are."""
    parts = [run.experiment.objective_label]
    for name, constraint in run.experiment.objective.constraints.items():
        value = constraint.achieved(
            float(run.chosen(state).average[name]), run.splits.train.x.shape[1:]
        )
        reached = "" if outcome(run, name, rows).met else f" (reached {value:.3g})"
        parts.append(constraint.describe() + reached)
    return ", ".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:])

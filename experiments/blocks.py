"""Data, reconstructions and samples of several models side by side: figures 6 and 9 to 11 of Taming VAEs.

    python -m experiments.blocks color_mnist_convdraw [--num-steps N]

Trains every experiment of that name's beginning, each in a folder of its own below the workdir, or goes
on with those that are unfinished.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import tyro
from etils import epath

from experiments import command_line, figures, workdir
from experiments.experiment import Experiment
from experiments.run import Run
from vaelab import plotting
from vaelab.constraints import RE
from vaelab.plotting import Block
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.objectives import AnnealedVariance, Lagrangian

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
        if self.num_images < 1:
            raise ValueError(f"num_images must be at least 1, got {self.num_images}.")


def main(argv: Sequence[str]) -> None:
    try:
        arguments, overrides = tyro.cli(
            Arguments,
            prog="python -m experiments.blocks",
            description=__doc__,
            args=argv,
            return_unknown_args=True,
        )
        command_line.speak_plainly()
        folder = epath.Path(arguments.workdir or f"runs/blocks-{arguments.family}")
        blocks = [
            _block(name, flags, folder / place, arguments)
            for name, flags, place in _models(arguments, overrides)
        ]
    except (ValueError, OSError) as error:
        command_line.fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the newest checkpoint.")
        raise SystemExit(130) from None
    figure = plotting.sample_blocks(blocks, title=arguments.family)
    with (folder / "blocks.png").open("wb") as file:
        figure.savefig(file, format="png")
    print(f"the picture is {folder / 'blocks.png'}")


def _models(arguments: Arguments, overrides: Sequence[str]) -> list[tuple[str, list[str], str]]:
    """(experiment, overrides, folder) of each model: the RE experiment once for each κ."""
    names = [n for n in command_line.names() if n.startswith(f"{arguments.family}_")]
    if not names:
        raise ValueError(
            f"no experiment's name begins with {arguments.family}_: see python -m experiments.train "
            "--help."
        )
    models: list[tuple[str, list[str], str]] = []
    for name in names:
        constraints = command_line.load(name).objective.constraints
        if set(constraints) == {"re"}:
            for kappa in arguments.kappas:
                flags = [*overrides, "--objective.constraints.re.kappa", str(kappa)]
                models.append((name, flags, f"{name}-{kappa:g}"))
        else:
            models.append((name, list(overrides), name))
    return models


def _block(name: str, flags: list[str], folder: epath.Path, arguments: Arguments) -> Block:
    experiment = command_line.override(name, flags).experiment
    run = Run.load(experiment, arguments.data_dir)
    workdir.claim(folder, name, flags, experiment)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.restore(start := run.initial_state()) or start
    print(f"training {name} in {folder}")
    state = run.train(state, folder, checkpoints, run.mesh())
    checkpoints.close()
    params, model = run.chosen(state).variables.params, experiment.model
    shown = run.splits.test.take(slice(arguments.num_images))
    means = np.asarray(figures.reconstructions(model, params, shown, run.key("reconstructions")))
    made = np.asarray(figures.samples(model, params, shown, run.key("samples")))
    return Block(
        _title(experiment),
        figures.picture(run, shown.x),
        figures.picture(run, np.clip(means, 0, 1)),
        figures.picture(run, np.clip(made, 0, 1)),
    )


def _title(experiment: Experiment) -> str:
    objective = experiment.objective
    if isinstance(objective, AnnealedVariance):
        return "ELBO, annealed"
    if not isinstance(objective, Lagrangian):
        return "ELBO"
    names = {name: type(value).__name__ for name, value in objective.constraints.items()}
    return "GECO, " + ", ".join(
        f"{names[name]} {'≤' if isinstance(value, RE) else '≥'} {value.kappa:g}"
        for name, value in objective.constraints.items()
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""Evaluates a finished or half-finished run: `python -m experiments.evaluate --workdir W`."""

from __future__ import annotations

import dataclasses
import sys

import tyro
from etils import epath

from experiments import command_line, display, workdir
from experiments.run import Run
from vaelab.training.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates the newest checkpoint of a run and writes evaluation.json beside its report."""

    workdir: str
    """folder of the run"""
    num_samples: int | None = None
    """importance samples per test image; default the experiment's"""
    data_dir: str | None = None
    """folder of the data files; default the training's"""


def main(arguments: Arguments) -> None:
    if arguments.num_samples is not None and arguments.num_samples < 1:
        command_line.fail(f"num_samples must be at least 1, got {arguments.num_samples}.")
    command_line.speak_plainly()
    try:
        evaluate(arguments, epath.Path(arguments.workdir))
    except (ValueError, OSError) as error:
        command_line.fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.")
        raise SystemExit(130) from None


def evaluate(arguments: Arguments, folder: epath.Path) -> None:
    config = workdir.read_config(folder)
    name = config["experiment"]
    trained = command_line.override(name, config["overrides"])
    experiment = trained.experiment
    workdir.check(folder, name, experiment)
    run = Run.load(experiment, arguments.data_dir or trained.data_dir)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.restore(run.initial_state())
    if state is None:
        raise ValueError(f"workdir {folder} holds no checkpoint yet: train it first.")
    print(f"evaluating {name} at step {int(state.step)} of at most {experiment.num_steps}")
    report = {"experiment": name} | run.evaluate(
        state, arguments.num_samples or experiment.num_samples
    )
    workdir.write_json(folder / "evaluation.json", report)
    checkpoints.close()
    display.print_report(report)


if __name__ == "__main__":
    main(tyro.cli(Arguments, prog="python -m experiments.evaluate", args=sys.argv[1:]))

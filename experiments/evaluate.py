"""Evaluates a finished or half-finished run: `python -m experiments.evaluate --workdir W`."""

from __future__ import annotations

import dataclasses
import sys

import tyro
from etils import epath

from experiments import command_line
from vaelab.checks import UndefinedError, UsageError
from vaelab.runs import display, workdir
from vaelab.runs.report import (
    annealed_report,
    likelihood_report,
    marginal_kl_report,
    marginal_report,
)
from vaelab.runs.run import Run
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.metrics import read_metrics


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates the newest checkpoint of a run and writes evaluation.json beside its report."""

    workdir: str
    """folder of the run"""
    num_samples: int | None = None
    """importance samples per test image; default the experiment's"""
    num_points: int = 2000
    """samples per estimate that compares the prior with the aggregated posterior"""
    annealed_points: int = 20
    """test images on which annealed importance sampling is compared, drawn alike for all runs; 0 leaves it out"""
    annealed_temperatures: int = 500
    """temperatures of annealed importance sampling; the more, the tighter its bound"""
    data_dir: str | None = None
    """folder of the data files; default the training's"""


def main(arguments: Arguments) -> None:
    # One image, and one sample, have no standard error.
    least = dict(num_samples=1, num_points=2, annealed_temperatures=1)
    for name, smallest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < smallest:
            command_line.fail(f"{name} must be at least {smallest}, got {value}.")
    if arguments.annealed_points < 0 or arguments.annealed_points == 1:
        command_line.fail(
            f"annealed_points must be 0 or at least 2, got {arguments.annealed_points}."
        )
    folder = epath.Path(arguments.workdir)
    with command_line.plain_errors(folder, interrupted="nothing was written"):
        evaluate(arguments, folder)


def evaluate(arguments: Arguments, folder: epath.Path) -> None:
    for file, kind in (("members.json", "a sweep"), ("calibration.json", "a pilot")):
        if (folder / file).exists():
            raise UsageError(f"workdir {folder} holds {kind}: only runs of train are evaluated.")
    config = workdir.read_config(folder)
    name = config["experiment"]
    trained = command_line.override(name, config["overrides"])
    experiment = trained.experiment
    workdir.check(folder, name, experiment)
    run = Run.load(experiment, arguments.data_dir or trained.data_dir)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.restore(run.initial_state())
    if state is None:
        raise UsageError(f"workdir {folder} holds no checkpoint yet: train it first.")
    print(f"evaluating {name} at step {int(state.step)} of at most {experiment.num_steps}")
    num_samples = arguments.num_samples or experiment.num_samples
    report = {"experiment": name} | likelihood_report(run, state, num_samples, read_metrics(folder))
    num_levels, undefined = len(experiment.model.latent_dims), []
    report |= {"marginal": [], "marginal_kl": []}
    for level in range(num_levels):
        for kind, measure in (("marginal", marginal_report), ("marginal_kl", marginal_kl_report)):
            try:
                report[kind].append(measure(run, state, level, arguments.num_points))
                break  # the rate in its parts contains the marginal KL
            except UndefinedError as reason:
                undefined.append(str(reason))
    if arguments.annealed_points:
        try:
            report["annealed"] = annealed_report(
                run, state, arguments.annealed_points, arguments.annealed_temperatures, num_samples
            )
        except UndefinedError as reason:
            undefined.append(str(reason))
    workdir.write_json(folder / "evaluation.json", report)
    checkpoints.close()
    display.print_report(report)
    for marginal in report["marginal"]:
        display.print_marginal_report(marginal)
    for value in report["marginal_kl"]:
        print(
            f"marginal KL {value['mean']:.3f} ± {value['standard_error']:.3f} nats: {value['inputs']}"
        )
    if "annealed" in report:
        display.print_annealed_report(report["annealed"])
    for sentence in dict.fromkeys(undefined):
        print(f"left out: {sentence}")
    print(f"everything is in {folder / 'evaluation.json'}")


if __name__ == "__main__":
    main(tyro.cli(Arguments, prog="python -m experiments.evaluate", args=sys.argv[1:]))

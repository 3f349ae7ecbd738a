"""Evaluates a finished or half-finished run: `python -m experiments.evaluate --workdir W`."""

from __future__ import annotations

import dataclasses
import sys

import tyro
from etils import epath

from experiments import command_line, display, workdir
from experiments.report import (
    annealed_report,
    likelihood_report,
    marginal_kl_report,
    marginal_report,
)
from experiments.run import Run
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian
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
    """test images on which annealed importance sampling is compared, drawn alike for all runs"""
    annealed_temperatures: int = 500
    """temperatures of annealed importance sampling; the more, the tighter its bound"""
    data_dir: str | None = None
    """folder of the data files; default the training's"""


def main(arguments: Arguments) -> None:
    # One image, and one sample, have no standard error.
    least = dict(num_samples=1, num_points=2, annealed_points=2, annealed_temperatures=1)
    for name, smallest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < smallest:
            command_line.fail(f"{name} must be at least {smallest}, got {value}.")
    folder = epath.Path(arguments.workdir)
    with command_line.plain_errors(folder, interrupted="nothing was written"):
        evaluate(arguments, folder)


def evaluate(arguments: Arguments, folder: epath.Path) -> None:
    for file, kind in (("members.json", "a sweep"), ("calibration.json", "a pilot")):
        if (folder / file).exists():
            raise ValueError(f"workdir {folder} holds {kind}: only runs of train are evaluated.")
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
    num_samples = arguments.num_samples or experiment.num_samples
    report = {"experiment": name} | likelihood_report(run, state, num_samples, read_metrics(folder))
    one_level = isinstance(experiment.model, VAE)
    if one_level:
        gaussian = isinstance(experiment.model.encoder, ConditionalGaussian)
        kind, make = (
            ("marginal", marginal_report) if gaussian else ("marginal_kl", marginal_kl_report)
        )
        report[kind] = make(run, state, arguments.num_points)
        report["annealed"] = annealed_report(
            run, state, arguments.annealed_points, arguments.annealed_temperatures, num_samples
        )
    workdir.write_json(folder / "evaluation.json", report)
    checkpoints.close()
    display.print_report(report)
    if "marginal" in report:
        display.print_marginal_report(report["marginal"])
    if "marginal_kl" in report:
        value = report["marginal_kl"]
        print(
            f"marginal KL {value['mean']:.3f} ± {value['standard_error']:.3f} nats: {value['inputs']}\n"
            "The rate in parts and holes are left out: they want Gaussian posteriors."
        )
    if one_level:
        display.print_annealed_report(report["annealed"])
    else:
        print(
            "The rate in parts, holes and annealing are left out: they want a model of one level."
        )
    print(f"everything is in {folder / 'evaluation.json'}")


if __name__ == "__main__":
    main(tyro.cli(Arguments, prog="python -m experiments.evaluate", args=sys.argv[1:]))

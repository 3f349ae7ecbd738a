"""Proposes κ: trains an experiment's model without its constraints, and says what they came to.

    python -m experiments.calibrate EXPERIMENT [--fraction 1.0] [--num-steps N] [--FIELD VALUE ...]

The pilot minimises the negative ELBO. With the fraction 1 the proposed κ asks for what the pilot
reached, so that constrained training can only lower the rate; below 1 it asks for more fidelity.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import tyro
from etils import epath
from rich.console import Console
from rich.table import Table

from experiments import command_line
from vaelab import evaluation
from vaelab.checks import UsageError, check_at_least_one, check_positive
from vaelab.runs import display, workdir
from vaelab.runs.run import Run
from vaelab.training.objectives import ELBO


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A short unconstrained run of an experiment's model; fields of the experiment may follow."""

    experiment: tyro.conf.Positional[str]
    """name of an experiment with constraints"""
    fraction: float = 1.0
    """target, as a fraction of the pilot's error (or of 1 − accuracy); 0.5 halves it"""
    num_steps: int | None = None
    """training steps of the pilot; default a quarter of the experiment's"""
    workdir: str | None = None
    """folder of the pilot; default runs/calibrate-<experiment>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""

    def __post_init__(self) -> None:
        check_positive(fraction=self.fraction)
        check_at_least_one(num_steps=self.num_steps)


def main(argv: Sequence[str]) -> None:
    arguments, overrides = command_line.parse_known(
        Arguments, argv, "experiments.calibrate", __doc__
    )
    folder = epath.Path(arguments.workdir or f"runs/calibrate-{arguments.experiment}")
    interrupted = "the same command goes on from the newest checkpoint, if there is one yet"
    with command_line.plain_errors(folder, interrupted=interrupted):
        calibrate(arguments, overrides, folder)


def calibrate(
    arguments: Arguments, overrides: Sequence[str], folder: epath.Path
) -> dict[str, float]:
    """Trains the pilot, measures its constraints, and prints and returns the proposed κ by name."""
    name = arguments.experiment
    constrained = command_line.experiment(name, overrides)
    constraints = constrained.objective.constraints
    if not constraints:
        raise UsageError(f"{name} has no constraints: choose an experiment that has.")
    experiment = dataclasses.replace(
        constrained,
        objective=ELBO(),
        dual=None,
        num_steps=arguments.num_steps or max(1, constrained.num_steps // 4),
        patience=None,
    )
    refusing = Run.load(constrained, arguments.data_dir)  # constraints that do not fit the data
    run = dataclasses.replace(refusing, experiment=experiment)
    print(f"a pilot of {name} without its constraints")
    state = run.train(folder, name, overrides)
    validation = run.splits.validation
    estimates = evaluation.expectations(
        run.precise_subject(run.chosen(state).variables.params, validation),
        run.key("calibration"),
        dict(constraints),
        num_samples=experiment.posterior_samples,
        progress=display.track("constraints"),
    )
    proposed, reached = {}, {}
    for key, constraint in constraints.items():
        reached[key] = constraint.achieved(estimates[key].mean, validation.x.shape[1:])
        proposed[key] = constraint.kappa_from_pilot(reached[key], arguments.fraction)
    workdir.write_json(
        folder / "calibration.json",
        {
            "experiment": name,
            "steps": int(state.step),
            "fraction": arguments.fraction,
            "reached": reached,
            "kappa": proposed,
        },
    )
    _print(name, reached, proposed, arguments.fraction)
    return proposed


def _print(name: str, reached: dict[str, float], proposed: dict[str, float], fraction: float):
    table = Table(title=f"{name} without constraints, validation set")
    for column in ("constraint", "pilot", f"κ at fraction {fraction:g}"):
        table.add_column(column)
    for key in reached:
        table.add_row(key, f"{reached[key]:.4g}", f"{proposed[key]:.4g}")
    console = Console()
    console.print(table)
    flags = [f"--objective.constraints.{key}.kappa {value:.4g}" for key, value in proposed.items()]
    print(f"python -m experiments.train {name} {' '.join(flags)}")


if __name__ == "__main__":
    main(sys.argv[1:])

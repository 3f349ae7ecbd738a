"""`vaelab calibrate NAME`: proposes κ from a pilot, a short run without constraints."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

from rich.table import Table

from vaelab import evaluation, runs
from vaelab.checks import MissingFileError, UsageError, check_at_least_one, check_positive
from vaelab.cli.parsing import ExperimentCommand, end_if_interrupted, if_left_out
from vaelab.runs import Experiment, display
from vaelab.runs.files import read_typed, write_json
from vaelab.runs.result import Result
from vaelab.runs.run import Run
from vaelab.storage import folder_at
from vaelab.training.objectives import ELBO

_FILE = "calibration.json"


class Calibration(NamedTuple):
    """What a pilot reached on the validation set, in κ's units, and the κ that it proposes."""

    experiment: str
    steps: int
    fraction: float
    reached: dict[str, float]  # by constraint
    kappa: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Calibrate(ExperimentCommand):
    """Trains the model of an experiment without its constraints, and proposes κ from what it reached.

    The pilot minimises the negative ELBO. With the fraction 1 the proposed κ is what the pilot reached,
    so constrained training can only lower the rate. A fraction below 1 requires more fidelity.
    """

    fraction: float = 1.0
    """Target, as a fraction of the pilot's error (or of 1 − accuracy). 0.5 halves it."""
    pilot_steps: Annotated[int | None, if_left_out("a quarter of the experiment's")] = None
    """Training steps of the pilot."""
    workdir: Annotated[str | None, if_left_out("runs/calibrate-NAME")] = None
    """Folder of the pilot."""

    def __post_init__(self) -> None:
        check_positive(fraction=self.fraction)
        check_at_least_one(pilot_steps=self.pilot_steps)

    def run(self) -> None:
        constraints = self.experiment.objective.constraints
        if not constraints:
            raise UsageError(f"{self.name} has no constraints: choose an experiment that has.")
        Run.load(
            self.experiment, self.data_dir, streaming=self.streaming
        )  # constraints that do not fit the data are refused
        pilot = self.experiment.with_fields(
            objective=ELBO(),
            dual=None,
            patience=None,
            num_steps=self.pilot_steps or max(1, self.experiment.num_steps // 4),
        )
        workdir = self.workdir or f"runs/calibrate-{self.name}"
        result = runs.train(
            pilot, workdir=workdir, name=self.name, source=self.source, data_dir=self.data_dir,
            mesh=self.mesh, streaming=self.streaming,
        )  # fmt: skip
        end_if_interrupted([result])
        calibration = self._calibrate(result)
        write_json(folder_at(workdir) / _FILE, calibration)
        flags = [f"--objective.constraints.{k}.kappa {v:.4g}" for k, v in calibration.kappa.items()]
        display.show(_table(calibration), f"vaelab train {self.name} {' '.join(flags)}")

    def _calibrate(self, result: Result) -> Calibration:
        constraints, run = self.experiment.objective.constraints, result.run
        estimates = evaluation.expectations(
            run.precise_subject(result.params, run.splits.validation),
            run.key("calibration"),
            dict(constraints),
            num_samples=run.experiment.posterior_samples,
            progress=display.track("constraints"),
        )
        reached = {
            name: constraint.achieved(estimates[name].mean, run.event_shape)
            for name, constraint in constraints.items()
        }
        kappa = {
            name: constraint.kappa_from_pilot(reached[name], self.fraction)
            for name, constraint in constraints.items()
        }
        return Calibration(self.name, result.last_step, self.fraction, reached, kappa)


def _table(calibration: Calibration) -> Table:
    return display.table(
        f"{calibration.experiment} without constraints, validation set",
        ("constraint", "pilot", f"κ at fraction {calibration.fraction:g}"),
        [
            (name, f"{reached:.4g}", f"{calibration.kappa[name]:.4g}")
            for name, reached in calibration.reached.items()
        ],
    )


def with_pilot(experiment: Experiment, pilot: str | None, fraction: float) -> Experiment:
    """The experiment with each κ at a fraction of what the pilot reached.

    Raises:
      UsageError: the pilot is no pilot of this experiment's constraints.
    """
    if pilot is None:
        return experiment
    path = folder_at(pilot) / _FILE
    if not path.exists():
        raise MissingFileError(f"pilot {pilot} holds no {_FILE}: run vaelab calibrate there first.")
    reached = read_typed(Calibration, path).reached
    constraints: dict[str, Any] = dict(experiment.objective.constraints)
    if constraints.keys() != reached.keys():
        raise UsageError(
            f"pilot {pilot} has the constraints {sorted(reached)} and the experiment {sorted(constraints)}: "
            "calibrate this experiment."
        )
    for name, constraint in constraints.items():
        kappa = float(f"{constraint.kappa_from_pilot(reached[name], fraction):.6g}")
        constraints[name] = dataclasses.replace(constraint, kappa=kappa)
    objective: Any = experiment.objective
    return experiment.with_fields(objective=dataclasses.replace(objective, constraints=constraints))

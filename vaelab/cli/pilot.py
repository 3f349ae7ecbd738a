"""κ from a pilot: a short run without constraints."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from etils import epath

from vaelab.checks import MissingFileError, UsageError
from vaelab.runs import Experiment
from vaelab.runs.files import read_typed

FILE = "calibration.json"


class Calibration(NamedTuple):
    """What a pilot reached on the validation set, in κ's units, and the κ that it proposes."""

    experiment: str
    steps: int
    fraction: float
    reached: dict[str, float]  # by constraint
    kappa: dict[str, float]


def with_pilot(experiment: Experiment, pilot: str | None, fraction: float) -> Experiment:
    """The experiment with each κ at a fraction of what the pilot reached.

    Raises:
      UsageError: the pilot is no pilot of this experiment's constraints.
    """
    if pilot is None:
        return experiment
    path = epath.Path(pilot).expanduser() / FILE
    if not path.exists():
        raise MissingFileError(f"pilot {pilot} holds no {FILE}: run vaelab calibrate there first.")
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

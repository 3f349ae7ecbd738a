"""What a report says of each constraint: its value, its multiplier, and how far from optimal both are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.runs import display
from vaelab.runs.run import Chosen, Run
from vaelab import evaluation
from vaelab.evaluation import KKT, Estimate, Feasibility

_NUM_EXAMPLES = 2000  # of the training set, on which the residuals are taken


def constraints_report(
    run: Run, chosen: Chosen, test: Mapping[str, Estimate], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The residual of stationarity, and per constraint value, κ, λ, residuals and what became of it; `rows` are those of metrics.jsonl.

    Value, train_value, best and κ are in κ's units, the value being that of the test set, train_value
    the moving average of training and best the best such average that was logged. Violation and
    complementarity are in units of C / divisor, that is relative to the threshold.
    """
    if not run.experiment.objective.constraints:
        return {"stationarity": None, "constraints": {}}
    residuals = kkt(run, chosen)
    return {
        "stationarity": residuals.stationarity,
        "constraints": {
            name: _report(run, name, chosen, test[name], rows)
            | residuals.constraints[name]._asdict()
            for name in run.experiment.objective.constraints
        },
    }


def kkt(run: Run, chosen: Chosen) -> KKT:
    """The residuals on training examples, prepared as a training step prepares them."""
    experiment, train = run.experiment, run.fixed_training_set(_NUM_EXAMPLES)
    return evaluation.kkt_residuals(
        run.subject(chosen.variables.params, train),
        run.key("kkt"),
        {name: float(value) for name, value in chosen.variables.multipliers.items()},
        experiment.objective.constraints,
        run.divisors(),
        batch_size=min(experiment.batch_size, len(train.x) // 2),
        progress=display.track("KKT residuals"),
    )


def _report(run: Run, name: str, chosen: Chosen, test: Estimate, rows) -> dict[str, Any]:
    experiment = run.experiment
    constraint, shape = experiment.objective.constraints[name], run.splits.train.x.shape[1:]
    became = outcome(run, name, [row for row in rows if row["step"] <= int(chosen.step)])
    train = float(chosen.average[name])
    return {
        "value": constraint.achieved(test.mean, shape),
        "kappa": float(constraint.kappa),
        "divisor": run.divisors()[name],
        "satisfied": test.mean <= 0,
        "train_value": constraint.achieved(train, shape),
        "train_satisfied": train <= 0,
        "best": constraint.achieved(became.best, shape),
        "multiplier": float(chosen.variables.multipliers[name]),
        "infeasible": became.infeasible,
        "outcome": became.sentence,
    }


def outcome(run: Run, name: str, rows: Sequence[Mapping[str, Any]]) -> Feasibility:
    """What became of a constraint, from the rows of metrics.jsonl."""
    logged = [row for row in rows if f"average/{name}" in row]
    return evaluation.feasibility(
        [row[f"average/{name}"] for row in logged],
        [row[f"multiplier/{name}"] for row in logged],
        multiplier_limit=run.experiment.multiplier_limit,
    )

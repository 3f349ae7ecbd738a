"""What a report says of each constraint: its value, its multiplier, and how far both are from optimal."""

from __future__ import annotations

from collections.abc import Mapping

from vaelab import evaluation
from vaelab.evaluation import KKT, Estimate, Feasibility
from vaelab.runs import display
from vaelab.runs.history import History
from vaelab.runs.report import ConstraintReport
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained

_NUM_EXAMPLES = 2000  # training examples on which the residuals are taken


def report_constraints(
    run: Run, trained: Trained, test: Mapping[str, Estimate], history: History
) -> tuple[float | None, dict[str, ConstraintReport]]:
    """The residual of stationarity, and a report of each constraint, `test` being C on the test set."""
    constraints = run.experiment.objective.constraints
    if not constraints:
        return None, {}
    residuals = kkt(run, trained)
    shape, divisors, reports = run.event_shape, run.divisors(), {}
    for name, constraint in constraints.items():
        result = outcome(run, name, history, until=trained.step)
        reports[name] = ConstraintReport(
            value=constraint.achieved(test[name].mean, shape),
            kappa=float(constraint.kappa),
            divisor=divisors[name],
            satisfied=test[name].mean <= 0,
            train_value=constraint.achieved(trained.average[name], shape),
            train_satisfied=trained.average[name] <= 0,
            best=constraint.achieved(result.best, shape),
            multiplier=trained.multipliers[name],
            infeasible=result.infeasible,
            outcome=result.sentence,
            **residuals.constraints[name]._asdict(),
        )
    return residuals.stationarity, reports


def kkt(run: Run, trained: Trained) -> KKT:
    """The residuals on training examples, prepared as a training step prepares them."""
    experiment, train = run.experiment, run.fixed_training_set(_NUM_EXAMPLES)
    return evaluation.kkt_residuals(
        run.subject(trained.params, train),
        run.key("kkt"),
        trained.multipliers,
        experiment.objective.constraints,
        run.divisors(),
        batch_size=min(experiment.batch_size, len(train.x) // 2),
        progress=display.track("KKT residuals"),
    )


def outcome(run: Run, name: str, history: History, until: int | None = None) -> Feasibility:
    """What became of a constraint, from the logged rows up to a step."""
    rows = [r for r in history.training_rows() if until is None or r["step"] <= until]
    return evaluation.feasibility(
        [row[f"average/{name}"] for row in rows],
        [row[f"multiplier/{name}"] for row in rows],
        multiplier_limit=run.experiment.multiplier_limit,
    )

"""What is measured of each member of a sweep, and the CSV that holds it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from rich.console import Console
from rich.table import Table

from experiments.sweep.members import Sweep, member_folder
from vaelab import evaluation
from vaelab.constraints import Constraint
from vaelab.evaluation import Estimate, distortion, elbo, rate, squared_error
from vaelab.runs import display, workdir
from vaelab.runs.constraints_report import outcome
from vaelab.runs.experiment import Experiment
from vaelab.runs.run import Run
from vaelab.training import population
from vaelab.training.metrics import read_metrics
from vaelab.training.state import TrainState
from vaelab.types import Examples

Row = dict[str, Any]

FUNCTIONS = {"elbo": elbo, "rate": rate, "distortion": distortion, "mse": squared_error}
_NUM_TRAIN = 10_000  # training examples that σ* is taken from


def measure(
    sweep: Sweep,
    state: TrainState,
    folder: epath.Path,
    *,
    marginal_inputs: int = 0,
    also: Mapping[str, Constraint] | None = None,
) -> list[Row]:
    """One row for each member, in their order; a diverged member's numbers are NaN.

    The marginal KL, where it is asked for, is to q(z) over so many training inputs. `also` are
    constraints of other experiments, of which the value on the test set is wanted here, too.
    """
    train = sweep.run.fixed_training_set()
    train = train.take(np.random.default_rng(0).permutation(len(train.x))[:_NUM_TRAIN])
    rows = []
    for index in display.track("members")(range(len(sweep.members))):
        params = population.member(state.evaluated.params, index)
        logged = read_metrics(member_folder(folder, index))
        run = sweep.member_run(index)
        estimates = _estimates(run, params, _constraints(sweep.run, also))
        row: Row = {"member": index, **sweep.members[index], "step": int(state.step)}
        for name in FUNCTIONS:
            row |= {name: estimates[name].mean, f"{name}_se": estimates[name].standard_error}
        row["rmse"] = float(np.sqrt(row["mse"]))
        row |= _of_likelihood(run, params, train)
        for name, constraint in (also or {}).items():
            row[f"{name}_test"] = _achieved(run, constraint, estimates[f"constraint/{name}"])
        row |= _of_constraints(run, sweep.run, estimates, logged)
        if marginal_inputs:
            row |= _marginal_kl(run, params, marginal_inputs)
        rows.append(row)
    return rows


def _constraints(base: Run, also: Mapping[str, Constraint] | None) -> dict[str, Constraint]:
    """All that are measured, at the base's κ: one program for every member."""
    return {**(also or {}), **base.experiment.objective.constraints}


def _estimates(run: Run, params, constraints: Mapping[str, Constraint]) -> dict[str, Estimate]:
    """Of the test set, by name."""
    experiment, test = run.experiment, run.test_examples(run.experiment.num_test)
    return evaluation.expectations(
        run.precise_subject(params, test),
        run.key("bounds"),
        FUNCTIONS | {f"constraint/{name}": value for name, value in constraints.items()},
        num_samples=experiment.posterior_samples,
    )


def _achieved(run: Run, constraint: Constraint, estimate: Estimate) -> float:
    """A constraint's value on the test set, in κ's units."""
    return constraint.achieved(estimate.mean, run.splits.train.x.shape[1:])


def _of_likelihood(run: Run, params, train: Examples) -> Row:
    """Of grey and colour images: what their squared error weighs, and the likelihood at its best scale.

    σ* is of the training set, everything else frozen (maths: appendix D).
    """
    row: Row = {}
    weight = _squared_error_weight(run.experiment, params)
    if weight is not None:
        row["squared_error_weight"] = weight
    if run.experiment.model.decoder.num_levels != 2:
        test = run.test_examples(run.experiment.num_test)
        row |= _at_optimal_scale(run, params, train, test)
    return row


def _squared_error_weight(experiment: Experiment, params) -> float | None:
    """The weight of ‖x − g‖² beside the rate, in an ELBO with a Gaussian likelihood: 1/(2σ²β)."""
    decoder, objective = experiment.model.decoder, experiment.objective
    weight = objective.distortion_weight(experiment.num_steps)
    if weight is None:
        return None
    per_nat = decoder.squared_error_weight(params.get("decoder", {}))
    return None if per_nat is None else weight * per_nat


def _at_optimal_scale(run: Run, params, train: Examples, test: Examples) -> Row:
    """σ* of training examples, and the NLL at it where there are levels."""
    num_levels = run.experiment.data.num_levels
    scale = evaluation.optimal_scale(run.subject(params, train), run.key("scale")).scale
    row: Row = {"sigma_star": scale}
    if num_levels is None:
        return row
    if not 0 < scale < np.inf:  # it diverged
        return row | {"nll_per_dim": np.nan, "nll_per_dim_se": np.nan}
    nll = evaluation.quantised_nll(
        run.subject(params, test), run.key("nll"), scale=scale, levels=num_levels
    )
    return row | {"nll_per_dim": nll.mean, "nll_per_dim_se": nll.standard_error}


def _of_constraints(run: Run, base: Run, estimates: Mapping[str, Estimate], logged) -> Row:
    """Value on the test set, average of training and λ; the estimates were made at the base's κ."""
    result: Row = {}
    for name, constraint in run.experiment.objective.constraints.items():
        own = base.experiment.objective.constraints[name]
        shape = run.splits.train.x.shape[1:]
        rows = [r for r in logged if f"average/{name}" in r]
        result |= {
            f"{name}_kappa": constraint.kappa,
            f"{name}_test": _achieved(run, own, estimates[f"constraint/{name}"]),
            f"{name}_train": constraint.achieved(rows[-1][f"average/{name}"], shape),
            f"{name}_multiplier": rows[-1][f"multiplier/{name}"],
            f"{name}_max_multiplier": max(r[f"multiplier/{name}"] for r in rows),
            f"{name}_outcome": outcome(run, name, rows).sentence,
        }
    return result


def _marginal_kl(run: Run, params, num_inputs: int) -> Row:
    train = run.fixed_training_set(num_inputs)
    level = 0 if len(run.experiment.model.latent_dims) == 1 else None  # None: all levels jointly
    subject = run.precise_subject(params, train)
    value = evaluation.marginal_kl(subject, run.key("marginal"), level=level)
    return {
        "marginal_kl": value.mean, "marginal_kl_se": value.standard_error,
        "marginal_inputs": len(train.x),
    }  # fmt: skip


def show(name: str, rows: Sequence[Row]) -> None:
    """A line for each member: where it stands, its rate and what became of its constraints."""
    table = Table(title=f"{name}, test set")
    axes = [key for key in ("kappa", "beta", "learning_rate", "seed") if key in rows[0]]
    names = [key.removesuffix("_outcome") for key in rows[0] if key.endswith("_outcome")]
    for column in ("member", *axes, "rate, nats", "distortion, nats"):
        table.add_column(column, justify="right")
    for constraint in names:
        for column in (constraint, "λ", "in training"):
            table.add_column(column, justify="left" if column == "in training" else "right")
    for row in rows:
        bounded = [
            text
            for key in names
            for text in (
                f"{row[f'{key}_test']:.4g}",
                f"{row[f'{key}_multiplier']:.4g}",
                row[f"{key}_outcome"],
            )
        ]
        values = [f"{row[key]:g}" for key in ("member", *axes)]
        table.add_row(*values, f"{row['rate']:.4g}", f"{row['distortion']:.5g}", *bounded)
    Console(width=120).print(table)


def write_csv(path: epath.Path, rows: Sequence[Row]) -> None:
    """All rows, with a column for each figure that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with workdir.writing(path) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: epath.Path | Path) -> list[Row]:
    """The rows of `write_csv`; numbers as floats, empty cells left out."""
    with path.open() as file:
        return [_parse(row.items()) for row in csv.DictReader(file)]


def _parse(items: Iterable[tuple[str, str]]) -> Row:
    row: Row = {}
    for name, text in items:
        if text == "":
            continue
        try:
            row[name] = float(text)
        except ValueError:
            row[name] = text
    return row

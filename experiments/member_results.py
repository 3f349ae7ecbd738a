"""What is measured of each member of a sweep, and the CSV that holds it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from experiments import display
from experiments.members import Sweep, member_folder
from experiments.run import Run
from vaelab import evaluation
from vaelab.evaluation import distortion, elbo, rate, squared_error
from vaelab.networks import GaussianDecoder, ScaledDecoder
from vaelab.training import sweep as sweeps
from vaelab.training.metrics import read_metrics
from vaelab.training.objectives import ELBO
from vaelab.training.state import TrainState

Row = dict[str, Any]

_NUM_TRAIN = 2000  # training examples that σ* is taken from


def measure(
    sweep: Sweep, state: TrainState, folder: epath.Path, *, marginal_inputs: int = 0
) -> list[Row]:
    """One row for each member, in their order; a diverged member's figures are NaN.

    The marginal KL, where it is asked for, is to q(z) over so many training inputs.
    """
    rows = []
    for index in display.track("members")(range(len(sweep.members))):
        params = sweeps.member(state.variables.params, index)
        logged = read_metrics(member_folder(folder, index))
        run = sweep.member_run(index)
        row: Row = {"member": index, **sweep.members[index], "step": int(state.step)}
        row |= _estimates(run, sweep.run, params)
        row |= _of_constraints(run, sweep.run, row, logged)
        if marginal_inputs:
            row |= _marginal_kl(run, params, marginal_inputs)
        rows.append({name: v for name, v in row.items() if not name.startswith("raw ")})
    return rows


def _estimates(run: Run, base: Run, params) -> Row:
    """Of the test set; σ* is of the training set, everything else frozen (maths: appendix D)."""
    experiment, test = run.experiment, run.splits.test.take(slice(run.experiment.num_test))
    functions = {"elbo": elbo, "rate": rate, "distortion": distortion, "mse": squared_error}
    constraints = dict(base.experiment.objective.constraints)  # one program for every κ
    estimates = evaluation.expectations(
        experiment.model.with_prior_samples(experiment.prior_samples),
        params,
        test,
        run.key("bounds"),
        functions | {f"raw {name}": constraint for name, constraint in constraints.items()},
        num_samples=experiment.posterior_samples,
    )
    row: Row = {}
    for name, estimate in estimates.items():
        row[name] = estimate.mean
        if not name.startswith("raw "):
            row[f"{name}_se"] = estimate.standard_error
    row["rmse"] = float(np.sqrt(row["mse"]))
    decoder = experiment.model.decoder
    if isinstance(decoder, ScaledDecoder):
        learned = decoder.global_scale(params["decoder"])
        row |= {} if learned is None else {"learned_scale": float(learned)}
    if isinstance(decoder, GaussianDecoder) and isinstance(experiment.objective, ELBO):
        # distortion + β rate, divided by β: the weight of the squared error beside the rate.
        row["implied_multiplier"] = 1 / (2 * decoder.scale**2 * experiment.objective.beta)
    if decoder.num_levels != 2:
        train = run.fixed_training_set(_NUM_TRAIN)
        scale = evaluation.optimal_scale(experiment.model, params, train, run.key("scale"))
        nll = evaluation.quantised_nll(
            experiment.model,
            params,
            test,
            run.key("nll"),
            scale=scale.scale,
            levels=experiment.data.num_levels,
        )
        row |= {
            "sigma_star": scale.scale,
            "nll_per_dim": nll.mean,
            "nll_per_dim_se": nll.standard_error,
        }
    return row


def _of_constraints(run: Run, base: Run, row: Mapping[str, Any], logged) -> Row:
    """Value on the test set, average of training and λ; the estimates were made at the base's κ."""
    result: Row = {}
    for name, constraint in run.experiment.objective.constraints.items():
        own = base.experiment.objective.constraints[name]
        scale = constraint.scale(run.splits.train.x.shape[1:])
        rows = [r for r in logged if f"average/{name}" in r]
        outcome = evaluation.feasibility(
            [r[f"average/{name}"] for r in rows],
            [r[f"multiplier/{name}"] for r in rows],
            multiplier_limit=run.experiment.multiplier_limit,
        )
        result |= {
            f"{name}_kappa": constraint.kappa,
            f"{name}_test": own.achieved(row[f"raw {name}"] / scale),
            f"{name}_train": constraint.achieved(rows[-1][f"average/{name}"] / scale),
            f"{name}_multiplier": rows[-1][f"multiplier/{name}"],
            f"{name}_max_multiplier": max(r[f"multiplier/{name}"] for r in rows),
            f"{name}_outcome": outcome.sentence,
        }
    return result


def _marginal_kl(run: Run, params, num_inputs: int) -> Row:
    x = run.fixed_training_set(num_inputs).x
    value = evaluation.marginal_kl(run.experiment.model, params, x, run.key("marginal"))
    return {
        "marginal_kl": value.mean, "marginal_kl_se": value.standard_error, "marginal_inputs": len(x)
    }  # fmt: skip


def write_csv(path: epath.Path, rows: Sequence[Row]) -> None:
    """All rows, with a column for each figure that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


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

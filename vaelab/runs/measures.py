"""What is measured of each member of a sweep, and the files that hold it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from rich.table import Table

from vaelab import evaluation
from vaelab.constraints import Constraint
from vaelab.evaluation import Estimate, distortion, elbo, rate, squared_error
from vaelab.runs import display
from vaelab.runs.constraint_report import outcome
from vaelab.runs.files import read_typed, write_json
from vaelab.runs.members import Member
from vaelab.runs.result import Result
from vaelab.runs.serial import to_json
from vaelab.storage import folder_at, writing
from vaelab.types import Examples

_FUNCTIONS = {"elbo": elbo, "rate": rate, "distortion": distortion, "mse": squared_error}
_NUM_TRAIN = 10_000  # training examples from which σ* is taken


class ConstraintMeasures(NamedTuple):
    """One constraint of a member. Values are in κ's units."""

    kappa: float
    test: float  # on the test set
    train: float  # moving average during training, at the measured step
    multiplier: float  # λ at the measured step
    max_multiplier: float  # highest logged λ
    outcome: str
    met: bool

    @property
    def overshoot(self) -> float:
        """Highest λ divided by the last λ."""
        return self.max_multiplier / self.multiplier


class Measures(NamedTuple):
    """One member of a sweep, on the test set. NaN if it diverged. Estimates are in nats per example."""

    member: int
    values: dict[str, float]  # what distinguishes the member, by the paths of its fields
    step: int
    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    mse: Estimate  # squared error per dimension
    constraints: dict[str, ConstraintMeasures]
    others: dict[str, float]  # values of constraints of other experiments, in their κ's units
    squared_error_weight: float | None  # 1/(2σ²β): weight of ‖x − g‖² beside the rate
    sigma_star: (
        float | None
    )  # best scale of a Gaussian likelihood, on the training set; not of bits
    nll_per_dim: Estimate | None  # −log P(x|z) / D at σ*, of data with levels
    marginal_kl: Estimate | None  # KL(q(z) ‖ p)
    marginal_inputs: int  # training inputs in q(z)

    @property
    def finite(self) -> bool:
        """False if the member diverged."""
        numbers = [self.elbo.mean, self.rate.mean, self.distortion.mean]
        numbers += [c.train for c in self.constraints.values()]
        return bool(np.isfinite(numbers).all())

    @property
    def rmse(self) -> float:
        """Root of the squared error per dimension."""
        return float(np.sqrt(self.mse.mean))


def measure(
    results: Sequence[Result],
    members: Sequence[Member],
    *,
    marginal_inputs: int = 0,
    others: Mapping[str, Constraint] | None = None,
) -> list[Measures]:
    """Measures each member.

    Args:
      results: the trained members.
      members: what distinguishes them.
      marginal_inputs: training inputs in the aggregated posterior of the marginal KL. 0 leaves it out.
      others: constraints of other experiments, whose value on the test set is measured, too.
    """
    base, others = results[0].run, dict(others or {})
    train = base.fixed_training_set()
    train = train.take(np.random.default_rng(0).permutation(len(train.x))[:_NUM_TRAIN])
    # At the κ of the first member, so that one program serves all.
    own = dict(base.experiment.objective.constraints)
    rows = []
    for index in display.track("members")(range(len(results))):
        result = results[index]
        run, shape = result.run, result.run.event_shape
        test = run.test_examples(run.experiment.num_test)
        estimates = evaluation.expectations(
            run.precise_subject(result.params, test),
            run.key("bounds"),
            _FUNCTIONS | {f"constraint/{name}": c for name, c in (others | own).items()},
            num_samples=run.experiment.posterior_samples,
        )
        values = {
            name: constraint.achieved(estimates[f"constraint/{name}"].mean, shape)
            for name, constraint in (others | own).items()
        }
        sigma_star, nll = _at_best_scale(result, train, test)
        rows.append(
            Measures(
                member=index,
                values=dict(members[index]),
                step=result.step,
                **{name: estimates[name] for name in _FUNCTIONS},
                constraints={name: _constraint(result, name, values[name]) for name in own},
                others={name: values[name] for name in others},
                squared_error_weight=_squared_error_weight(result),
                sigma_star=sigma_star,
                nll_per_dim=nll,
                marginal_kl=_marginal_kl(result, marginal_inputs),
                marginal_inputs=min(marginal_inputs, len(run.sample.x)),
            )
        )
    return rows


def _constraint(result: Result, name: str, test: float) -> ConstraintMeasures:
    run = result.run
    rows = list(result.history.until(result.step).training_rows())
    constraint = run.experiment.objective.constraints[name]
    became = outcome(run, name, result.history, until=result.step)
    return ConstraintMeasures(
        kappa=float(constraint.kappa),
        test=test,
        train=constraint.achieved(result.average[name], run.event_shape),
        multiplier=result.multipliers[name],
        max_multiplier=max(result.multipliers[name], *(row[f"multiplier/{name}"] for row in rows)),
        outcome=became.sentence,
        met=became.met,
    )


def _squared_error_weight(result: Result) -> float | None:
    experiment = result.run.experiment
    weight = experiment.objective.distortion_weight(result.step)
    if weight is None:
        return None
    per_nat = result.model.decoder.squared_error_weight(result.params.get("decoder", {}))
    return None if per_nat is None else float(weight * per_nat)


def _at_best_scale(
    result: Result, train: Examples, test: Examples
) -> tuple[float | None, Estimate | None]:
    """σ* of training examples, everything else frozen (Rezende & Viola, 2018, appendix D), and the NLL at it."""
    run = result.run
    if result.model.decoder.num_levels == 2:
        return None, None
    subject = run.subject(result.params, train)
    scale = evaluation.optimal_scale(subject, run.key("scale")).scale
    levels = run.experiment.data.num_levels
    if levels is None:
        return scale, None
    if not 0 < scale < np.inf:  # the member diverged
        return scale, Estimate(np.nan, np.nan)
    nll = evaluation.quantised_nll(
        run.subject(result.params, test), run.key("nll"), scale=scale, levels=levels
    )
    return scale, Estimate(nll.mean, nll.standard_error)


def _marginal_kl(result: Result, num_inputs: int) -> Estimate | None:
    if not num_inputs:
        return None
    run = result.run
    level = 0 if result.model.depth == 1 else None  # None: all levels jointly
    subject = run.precise_subject(result.params, run.fixed_training_set(num_inputs))
    return evaluation.marginal_kl(subject, run.key("marginal"), level=level)


def measures_table(name: str, rows: Sequence[Measures]) -> Table:
    """A line for each member: its values, its rate, and what became of its constraints."""
    axes, cells = list(rows[0].values), []
    columns = ["member", *(axis.rpartition(".")[2] for axis in axes), "rate, nats", "distortion, nats"]  # fmt: skip
    for constraint in rows[0].constraints:
        columns += [constraint, "λ", "in training"]
    for row in rows:
        line = [str(row.member), *(f"{row.values[axis]:g}" for axis in axes)]
        line += [f"{row.rate.mean:.4g}", f"{row.distortion.mean:.5g}"]
        for measured in row.constraints.values():
            line += [f"{measured.test:.4g}", f"{measured.multiplier:.4g}", measured.outcome]
        cells.append(line)
    return display.table(f"{name}, test set", columns, cells)


def write_measures(folder: epath.Path, rows: Sequence[Measures]) -> None:
    """Writes measures.json, which `read_measures` reads, and sweep.csv, one column for each number."""
    flat = [_flat(to_json(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(flat)
    with writing(folder / "sweep.csv") as file:
        file.write(text.getvalue())
    write_json(folder / "measures.json", rows)


def read_measures(folder: epath.PathLike) -> list[Measures]:
    """The measures of a sweep's folder."""
    return read_typed(list[Measures], folder_at(folder) / "measures.json")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by the paths of their names; None is an empty cell."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        path = f"{prefix}{name}".removesuffix("/mean").replace("values/", "")
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{path}/")
        else:
            flat[path] = "" if item is None else item
    return flat

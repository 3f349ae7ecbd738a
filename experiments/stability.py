"""GECO from its large first errors, under one constraint after another, beside β-VAEs of the same data.

  python -m experiments.stability grey_mnist_mlp --num-steps 4000

For each experiment of a family with one constraint: by how much λ overshoots, and its rate beside the rate
of a β-VAE that reaches the same value of the bounded quantity. Rezende & Viola, 2018, section 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tyro
from rich.table import Table
from scipy.interpolate import PchipInterpolator

from experiments.study import Study, family, main
from vaelab import plotting, runs
from vaelab.checks import UsageError, check_at_least_one
from vaelab.constraints import Constraint
from vaelab.plotting import Settling
from vaelab.runs import History, display
from vaelab.runs.files import write_figure, write_json
from vaelab.runs.measures import ConstraintMeasures, Measures, measure


class Summary(NamedTuple):
    """One constrained experiment: means over the seeds that did not diverge. NaN if all diverged."""

    experiment: str
    constraint: str
    kappa: float
    outcomes: list[str]  # of each seed
    seeds: int
    diverged: int  # seeds
    value: float = np.nan  # of the bounded quantity, on the test set
    train_value: float = np.nan
    multiplier: float = np.nan  # λ at the end
    overshoot: float = np.nan  # highest λ divided by the last λ, of the worst seed
    rate: float = np.nan
    reference_rate: float | None = None  # of a β-VAE at this value; None beyond the β-VAEs
    rate_ratio: float | None = None  # rate / reference_rate


@dataclasses.dataclass(frozen=True)
class Stability(Study):
    """Measures on one family whether λ explodes, and what GECO's rate is beside that of β-VAEs.

    Leaves stability.json, stability.png and the folders of all runs. The same command continues where it
    was interrupted.
    """

    family: tyro.conf.Positional[str]
    """Family of experiments.taming with an experiment `beta`, such as grey_mnist_mlp."""
    betas: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """Weights of the rate of the β-VAEs."""
    seeds: int = 1
    """Number of seeds of each model, from 0 upwards."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(seeds=self.seeds)
        if len(self.betas) < 2:
            raise UsageError(f"betas must be at least two numbers, got {self.betas}.")
        if "beta" not in family(self.family):
            raise UsageError(f"the family {self.family} has no β-VAE: choose a family with `beta`.")

    @property
    def title(self) -> str:
        return f"stability-{self.family}"

    def run(self) -> None:
        experiments = family(self.family)
        bounds = {
            key: next(iter(experiment.objective.constraints.items()))
            for key, experiment in experiments.items()
            if len(experiment.objective.constraints) == 1
        }
        grid = runs.grid({"objective.beta": self.betas, "seed": range(self.seeds)})
        trained = self.train("beta", experiments["beta"], grid)
        others = {key: constraint for key, (_, constraint) in bounds.items()}
        reference = measure(trained, grid, others=others)
        summaries, courses, seeds = [], [], runs.grid({"seed": range(self.seeds)})
        for key, (name, constraint) in bounds.items():
            results = self.train(key, experiments[key], seeds)
            rows = measure(results, seeds)
            values, rates = frontier(key, reference)
            label = f"{self.family}_{key}"
            summaries.append(summary(label, name, constraint, rows, values, rates))
            kept = [index for index, row in enumerate(rows) if settled(row, row.constraints[name])]
            if kept:
                histories = [results[index].history for index in kept]
                measured = [rows[index] for index in kept]
                courses.append(course(name, constraint, measured, values, rates, histories))
        write_json(self.folder / "stability.json", summaries)
        if courses:
            figure = plotting.settling(courses, title=f"λ of {self.family}")
            write_figure(self.folder / "stability.png", figure)
        display.show(table(self.family, summaries), f"everything is in {self.folder}")


def summary(
    experiment: str,
    name: str,
    constraint: Constraint,
    rows: Sequence[Measures],
    values: np.ndarray,
    rates: np.ndarray,
) -> Summary:
    """The numbers of the constraint `name`, beside β-VAEs of these values and rates."""
    measured = [row.constraints[name] for row in rows]
    pairs = [(r, c) for r, c in zip(rows, measured, strict=True) if settled(r, c)]
    result = Summary(
        experiment=experiment,
        constraint=constraint.describe(),
        kappa=float(constraint.kappa),
        outcomes=[each.outcome for each in measured],
        seeds=len(rows),
        diverged=len(rows) - len(pairs),
    )
    if not pairs:
        return result
    value = float(np.mean([each.test for _, each in pairs]))
    rate = float(np.mean([row.rate.mean for row, _ in pairs]))
    theirs = rate_at(constraint, value, values, rates)
    return result._replace(
        value=value,
        train_value=float(np.mean([each.train for _, each in pairs])),
        multiplier=float(np.mean([each.multiplier for _, each in pairs])),
        overshoot=max(each.overshoot for _, each in pairs),
        rate=rate,
        reference_rate=theirs,
        rate_ratio=None if theirs is None else rate / theirs,
    )


def settled(row: Measures, measured: ConstraintMeasures) -> bool:
    """True if a member did not diverge."""
    return bool(
        np.isfinite([row.rate.mean, measured.test, measured.train, measured.multiplier]).all()
    )


def frontier(key: str, reference: Sequence[Measures]) -> tuple[np.ndarray, np.ndarray]:
    """Increasing values of the bounded quantity [P], and the β-VAEs' rates there [P]: means over seeds."""
    points: dict[float, list[tuple[float, float]]] = {}
    for row in reference:
        beta = row.values["objective.beta"]
        points.setdefault(beta, []).append((row.others[key], row.rate.mean))
    means = np.array([np.mean(pairs, axis=0) for pairs in points.values()])
    means = means[np.isfinite(means).all(axis=1)]
    values, rates = means[np.argsort(means[:, 0])].T
    return values, rates


def rate_at(
    constraint: Constraint, value: float, values: np.ndarray, rates: np.ndarray
) -> float | None:
    """The rate of a β-VAE at a value of the bounded quantity; None outside the increasing `values`.

    A monotone cubic of the rate's root over `constraint.interpolation_axis`. For β a factor of three apart
    it is within 3 % of the rate-distortion functions of Gaussian sources. A chord lies above every convex
    curve, by up to a fourth, and would flatter GECO.

    >>> from vaelab.constraints import RE
    >>> values = np.array([0.1, 0.2, 0.4])
    >>> rate = rate_at(RE(0.3), 0.3, values, 8 * np.log(0.9 / values) ** 2)
    >>> round(float(rate / np.log(0.9 / 0.3) ** 2), 3)
    8.0
    """
    if not len(values) or not values[0] <= value <= values[-1]:
        return None
    places, place = constraint.interpolation_axis(values), constraint.interpolation_axis(value)
    return float(PchipInterpolator(places, np.sqrt(rates))(place)) ** 2


def course(
    name: str,
    constraint: Constraint,
    rows: Sequence[Measures],
    values: np.ndarray,
    rates: np.ndarray,
    histories: Sequence[History],
) -> Settling:
    """What the plot shows of one constraint."""
    between = np.linspace(values[0], values[-1], 100) if len(values) else np.empty(0)
    curve = [(float(value), rate_at(constraint, value, values, rates)) for value in between]
    return Settling(
        label=constraint.describe(),
        quantity=constraint.quantity,
        kappa=float(constraint.kappa),
        steps=[history.steps(f"multiplier/{name}").tolist() for history in histories],
        multipliers=[history[f"multiplier/{name}"].tolist() for history in histories],
        points=[(row.constraints[name].test, row.rate.mean) for row in rows],
        reference=list(zip(values.tolist(), rates.tolist(), strict=True)),
        between=[(value, rate) for value, rate in curve if rate is not None],
    )


def table(name: str, summaries: Sequence[Summary]) -> Table:
    """A line for each constraint."""
    shown = Table(
        "constraint", "training", "test", "λ", "highest λ / last", "rate", "rate of β-VAE", "ratio",
        "outcome", title=f"{name}: GECO beside β-VAEs",
    )  # fmt: skip
    for each in summaries:
        if each.diverged == each.seeds:
            shown.add_row(each.constraint, "diverged")
            continue
        numbers = (each.train_value, each.value, each.multiplier, each.overshoot, each.rate)
        beside = "beyond β-VAEs", ""
        if each.reference_rate is not None and each.rate_ratio is not None:
            beside = f"{each.reference_rate:.3g}", f"{each.rate_ratio:.2f}"
        cells = [f"{number:.3g}" for number in numbers]
        shown.add_row(each.constraint, *cells, *beside, "; ".join(dict.fromkeys(each.outcomes)))
    return shown


if __name__ == "__main__":
    main(Stability)

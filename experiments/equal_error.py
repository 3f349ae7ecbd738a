"""Rate at equal reconstruction error, seed by seed: Taming VAEs, figure 5 and table 2.

  python -m experiments.equal_error mnist16_convdraw_re mnist16_convdraw_elbo --seeds 5 --reference-steps 600

A reference is trained first. Its best scale σ* on the training set, its root-mean-square error, becomes κ of
the constrained experiment at the same seed.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tyro
from scipy import stats

from experiments.study import Study
from vaelab import plotting, runs
from vaelab.checks import UsageError, check_at_least_one, check_not_negative
from vaelab.cli import lookup, parsing
from vaelab.runs import Experiment, Result
from vaelab.runs.files import write_figure, write_json
from vaelab.runs.measures import ConstraintMeasures, Measures, measure, write_measures


class Paired(NamedTuple):
    """A quantity of both experiments, over the seeds of which both did not diverge."""

    ours: float  # mean
    theirs: float
    difference: float  # mean of ours − theirs
    interval: tuple[float, float] | None  # 95 % t interval of the difference; None for one seed
    left_out: int  # seeds that diverged


class Comparison(NamedTuple):
    """A constrained experiment beside its reference. Differences are ours − theirs."""

    experiment: str
    reference: str
    seeds: list[int]
    steps: tuple[int, int]  # ours, theirs
    rate: Paired  # nats
    rmse: Paired  # per dimension
    marginal_kl: Paired | None  # nats
    error_over_kappa: Paired  # in training, beside 1
    multiplier: Paired | None  # λ beside 1/(2σ²β), the reference's weight of the squared error
    rate_at_equal_error: Paired  # rate to first order at the reference's error: dR/dE = −λ
    outcomes: list[str]  # of each seed
    num_met: int  # seeds whose constraint is met


@dataclasses.dataclass(frozen=True)
class EqualError(Study):
    """Compares a constrained experiment with a reference of the same reconstruction error, by pairs of seeds.

    Leaves comparison.json, paired_*.png, equal_distortion.png and the folders of all runs. The same command
    continues where it was interrupted.
    """

    experiment: tyro.conf.Positional[str]
    """Name of an experiment with the constraint `re`."""
    reference: tyro.conf.Positional[str]
    """Name of an experiment on the same data, such as an ELBO."""
    seeds: int = 5
    """Number of seeds, from 0 upwards."""
    reference_steps: int | None = None
    """Training steps of the reference. Default: those of the experiment."""
    marginal_inputs: int = 0
    """Training inputs over which the marginal KL is measured. 0 leaves it out."""

    def __post_init__(self) -> None:
        check_at_least_one(
            seeds=self.seeds, num_steps=self.num_steps, reference_steps=self.reference_steps
        )
        check_not_negative(marginal_inputs=self.marginal_inputs)

    @property
    def title(self) -> str:
        return f"equal-error-{self.experiment}"

    def run(self) -> None:
        ours, theirs = (lookup.find(name).experiment for name in (self.experiment, self.reference))
        _check_pair(ours, theirs)
        if self.marginal_inputs and ours.model.conditional:
            raise UsageError(
                "marginal_inputs needs one prior for all data, and this model is conditional: leave it out."
            )
        seeds = runs.grid({"seed": range(self.seeds)})
        reference = self.train("reference", theirs, seeds, num_steps=self.reference_steps)
        their_rows = measure(reference, seeds, marginal_inputs=self.marginal_inputs)
        write_measures(self.folder / "reference", their_rows)
        members = members_at_error(their_rows)
        results = self.train("constrained", ours, members)
        rows = measure(results, members, marginal_inputs=self.marginal_inputs)
        write_measures(self.folder / "constrained", rows)
        shape = results[0].run.event_shape
        names = (self.experiment, self.reference)
        comparison = compare(names, rows, their_rows, num_dims=math.prod(shape))
        write_json(self.folder / "comparison.json", comparison)
        labels = (ours.objective_label, theirs.objective_label)
        self.plot(labels, (rows, their_rows), (results, reference))
        print(describe(comparison))
        print(f"everything is in {self.folder}")

    def plot(
        self,
        labels: tuple[str, str],
        rows: tuple[Sequence[Measures], Sequence[Measures]],
        results: tuple[Sequence[Result], Sequence[Result]],
    ) -> None:
        """Writes the paired differences, and the courses of rate and error. Ours is first of each pair."""
        quantities = {
            "rate": ("rate, nats", [[row.rate.mean for row in each] for each in rows]),
            "rmse": ("RMSE per dimension", [[row.rmse for row in each] for each in rows]),
        }
        kls = [_marginal_kls(each) for each in rows]
        if all(kls):
            quantities["marginal_kl"] = ("marginal KL, nats", kls)
        seeds = [f"seed {seed}" for seed in range(self.seeds)]
        for name, (quantity, (first, second)) in quantities.items():
            figure = plotting.paired_differences(labels[::-1], second, first, seeds, quantity)
            write_figure(self.folder / f"paired_{name}.png", figure)
        figure = plotting.equal_distortion(
            {
                label: [list(result.history.training_rows()) for result in each]
                for label, each in zip(labels, results, strict=True)
            },
            dims=math.prod(results[0][0].run.event_shape),
            target=float(np.mean([_error(row).kappa for row in rows[0]])),
            error=lambda row: float(np.sqrt(row["mse"])),
            error_label="RMSE per dimension",
        )
        write_figure(self.folder / "equal_distortion.png", figure)


def members_at_error(reference: Sequence[Measures]) -> list[dict[str, float]]:
    """Members of the constrained experiment: κ is σ* of the reference at the same seed.

    Raises:
      UsageError: a seed of the reference diverged.
    """
    members = []
    for row in reference:
        if row.sigma_star is None or not np.isfinite(row.sigma_star):
            raise UsageError(
                f"seed {row.values['seed']} of the reference diverged: lower its learning rate."
            )
        kappa = {"objective.constraints.re.kappa": row.sigma_star}
        members.append(kappa | {"seed": row.values["seed"]})
    return members


def compare(
    names: tuple[str, str], ours: Sequence[Measures], theirs: Sequence[Measures], *, num_dims: int
) -> Comparison:
    """Compares measures of the same seeds, `names` being ours and the reference's."""
    errors = [_error(row) for row in ours]
    multipliers = [error.multiplier for error in errors]
    weights = [w for row in theirs if (w := row.squared_error_weight) is not None]
    kls = _marginal_kls(ours), _marginal_kls(theirs)
    rates, their_rates = ([row.rate.mean for row in rows] for rows in (ours, theirs))
    moved = [
        mine.rate.mean + error.multiplier * num_dims * (mine.mse.mean - their.mse.mean)
        for mine, error, their in zip(ours, errors, theirs, strict=True)
    ]
    return Comparison(
        experiment=names[0],
        reference=names[1],
        seeds=[int(row.values["seed"]) for row in ours],
        steps=(ours[0].step, theirs[0].step),
        rate=paired(rates, their_rates),
        rmse=paired([row.rmse for row in ours], [row.rmse for row in theirs]),
        marginal_kl=paired(*kls) if all(kls) else None,
        error_over_kappa=paired([e.train / e.kappa for e in errors], np.ones(len(errors))),
        multiplier=paired(multipliers, weights) if len(weights) == len(errors) else None,
        rate_at_equal_error=paired(moved, their_rates),
        outcomes=[error.outcome for error in errors],
        num_met=sum(error.met for error in errors),
    )


def paired(first: npt.ArrayLike, second: npt.ArrayLike) -> Paired:
    """Both means, and the mean difference with its 95 % interval: a t test of the finite pairs.

    Raises:
      UsageError: every pair has a member that diverged.

    >>> result = paired([3.0, 5.0, 4.5], [1.0, 2.0, 2.0])
    >>> result.difference, [round(bound, 2) for bound in result.interval]
    (2.5, [1.26, 3.74])
    """
    pairs = np.stack([np.asarray(first, float), np.asarray(second, float)])
    kept = np.isfinite(pairs).all(axis=0)
    if not kept.any():
        raise UsageError("every pair has a member that diverged: lower the learning rate.")
    ours, theirs = pairs[:, kept]
    difference, interval = ours - theirs, None
    if len(difference) > 1:
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        interval = (float(difference.mean() - half), float(difference.mean() + half))
    means = (float(values.mean()) for values in (ours, theirs, difference))
    return Paired(*means, interval, int(np.sum(~kept)))


def describe(comparison: Comparison) -> str:
    """A line for each quantity, and a sentence if the errors are not equal."""
    seeds, num_met = len(comparison.seeds), comparison.num_met
    over = 100 * comparison.error_over_kappa.difference
    lines = [f"error in training: {over:+.2g} % from κ, the error of {comparison.reference}"]
    if num_met < seeds:
        lines.append(
            f"κ is met by {num_met} of {seeds} seeds: the errors are not equal, and the rates do not "
            "compare; train longer"
        )
    quantities = {
        "rate": comparison.rate,
        "rate_at_equal_error": comparison.rate_at_equal_error if num_met == seeds else None,
        "rmse": comparison.rmse,
        "marginal_kl": comparison.marginal_kl,
        "multiplier": comparison.multiplier,
    }
    for name, value in quantities.items():
        if value is None:
            continue
        interval = "one seed"
        if value.interval is not None:
            low, high = value.interval
            interval = f"95 % interval {low:+.4g} to {high:+.4g}"
        lines.append(
            f"{name}: {value.ours:.4g} against {value.theirs:.4g}, difference "
            f"{value.difference:+.4g} ({interval})"
        )
    return "\n".join(lines)


def _check_pair(ours: Experiment, reference: Experiment) -> None:
    """Raises one sentence if κ of the one cannot be σ* of the other."""
    if "re" not in ours.objective.constraints:
        raise UsageError("the experiment must have the constraint `re`: choose another experiment.")
    if reference.model.decoder.num_levels == 2:
        raise UsageError("binary images have no σ*: choose experiments on grey or colour images.")
    if ours.data != reference.data:
        raise UsageError("both experiments must have the same data: choose another reference.")


def _error(row: Measures) -> ConstraintMeasures:
    return row.constraints["re"]


def _marginal_kls(rows: Sequence[Measures]) -> list[float]:
    """The marginal KL of each member; empty if it is not measured."""
    return [row.marginal_kl.mean for row in rows if row.marginal_kl is not None]


if __name__ == "__main__":
    raise SystemExit(
        parsing.run(EqualError, sys.argv[1:], prog="python -m experiments.equal_error")
    )

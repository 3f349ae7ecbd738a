"""Rate at equal reconstruction error, seed by seed: Taming VAEs, figure 5 and table 2.

  python -m experiments.equal_error mnist16_convdraw_re mnist16_convdraw_elbo --seeds 5 --reference-steps 600

A reference is trained first. Its best scale σ* on the training set, its root-mean-square error, becomes κ of
the constrained experiment at the same seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import tyro
from scipy import stats

from experiments.study import Study, main
from vaelab import plotting, runs
from vaelab.checks import UsageError, check_at_least_one, check_not_negative
from vaelab.cli import lookup, parsing
from vaelab.runs import Experiment
from vaelab.runs.files import write_figure, write_json
from vaelab.runs.measures import Measures, measure, write_measures


class Paired(NamedTuple):
    """A quantity of both experiments, over the seeds of which both did not diverge."""

    ours: float  # mean
    theirs: float
    difference: float  # mean of ours − theirs
    interval: tuple[float, float] | None  # 95 % t interval of the difference; None for one seed
    left_out: int  # seeds that diverged


class PairedComparison(NamedTuple):
    """A constrained experiment beside its reference."""

    experiment: str
    reference: str
    seeds: list[int]
    steps: tuple[int, int]  # ours, theirs
    quantities: dict[str, Paired]
    error_over_kappa: Paired  # in training, beside 1
    outcomes: list[str]  # of each seed
    num_met: int  # seeds whose constraint is met


# What is measured of both, and its axis in plots.
AXES = {"rate": "rate, nats", "rmse": "RMSE per dimension", "marginal_kl": "marginal KL, nats"}


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
    reference_steps: Annotated[int | None, parsing.if_left_out("those of the experiment")] = None
    """Training steps of the reference."""
    marginal_inputs: int = 0
    """Training inputs over which the marginal KL is measured. 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(seeds=self.seeds, reference_steps=self.reference_steps)
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
        names = (self.experiment, self.reference)
        num_dims = math.prod(results[0].run.event_shape)
        comparison = compare(names, rows, their_rows, num_dims=num_dims)
        write_json(self.folder / "comparison.json", comparison)
        labels = (ours.objective_label, theirs.objective_label)
        for name, first in measured(rows).items():
            figure = plotting.paired_differences(
                labels[::-1], measured(their_rows)[name], first,
                [f"seed {seed}" for seed in comparison.seeds], AXES[name],
            )  # fmt: skip
            write_figure(self.folder / f"paired_{name}.png", figure)
        both = zip(labels, (results, reference), strict=True)
        figure = plotting.equal_distortion(
            {label: [list(each.history.training_rows()) for each in some] for label, some in both},
            dims=num_dims,
            target=float(np.mean([row.constraints["re"].kappa for row in rows])),
            error=lambda row: float(np.sqrt(row["mse"])),
            error_label=AXES["rmse"],
        )
        write_figure(self.folder / "equal_distortion.png", figure)
        print(f"{describe(comparison)}\neverything is in {self.folder}")


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


def measured(rows: Sequence[Measures]) -> dict[str, list[float]]:
    """Each quantity of all seeds."""
    values = {"rate": [row.rate.mean for row in rows], "rmse": [row.rmse for row in rows]}
    kls = [row.marginal_kl.mean for row in rows if row.marginal_kl is not None]
    return values | {"marginal_kl": kls} if kls else values


def compare(
    names: tuple[str, str], ours: Sequence[Measures], theirs: Sequence[Measures], *, num_dims: int
) -> PairedComparison:
    """Compares measures of the same seeds, `names` being ours and the reference's.

    `rate_at_equal_error` is our rate to first order at the reference's error, by dR/dE = −λ. λ is compared
    with 1/(2σ²β), the reference's weight of the squared error, with which both have the same optimum.
    """
    errors = [row.constraints["re"] for row in ours]
    multipliers = [error.multiplier for error in errors]
    weights = [w for row in theirs if (w := row.squared_error_weight) is not None]
    first, second = measured(ours), measured(theirs)
    moved = [
        mine.rate.mean + multiplier * num_dims * (mine.mse.mean - their.mse.mean)
        for mine, multiplier, their in zip(ours, multipliers, theirs, strict=True)
    ]
    quantities = {name: paired(first[name], second[name]) for name in first}
    quantities["rate_at_equal_error"] = paired(moved, second["rate"])
    if weights:
        quantities["multiplier"] = paired(multipliers, weights)
    return PairedComparison(
        *names,
        seeds=[int(row.values["seed"]) for row in ours],
        steps=(ours[0].step, theirs[0].step),
        quantities=quantities,
        error_over_kappa=paired([e.train / e.kappa for e in errors], np.ones(len(errors))),
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
    return Paired(
        ours=float(ours.mean()),
        theirs=float(theirs.mean()),
        difference=float(difference.mean()),
        interval=interval,
        left_out=int(np.sum(~kept)),
    )


def describe(comparison: PairedComparison) -> str:
    """A line for each quantity, and a sentence if the errors are not equal."""
    seeds, num_met = len(comparison.seeds), comparison.num_met
    over = 100 * comparison.error_over_kappa.difference
    lines = [f"error in training: {over:+.2g} % from κ, the error of {comparison.reference}"]
    if num_met < seeds:
        lines.append(
            f"κ is met by {num_met} of {seeds} seeds: the errors are not equal, and the rates do not "
            "compare; train longer"
        )
    for name, value in comparison.quantities.items():
        if name == "rate_at_equal_error" and num_met < seeds:
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


if __name__ == "__main__":
    main(EqualError)

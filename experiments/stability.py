"""GECO from its huge first errors, under one constraint after another, against β-VAEs of the same data.

    python -m experiments.stability grey_mnist_mlp [--betas 1 3 10 30 100] [--FIELD VALUE ...]

Trains the family's β-VAE at several β, and each of its experiments that have one constraint. Says how far
λ overshot, and what each rate is beside that of a β-VAE which reaches the same value of what is bounded.
The same command goes on where it was interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tyro
from etils import epath
from rich.console import Console
from rich.table import Table
from scipy.interpolate import PchipInterpolator

from experiments import command_line
from experiments.sweep import command as sweep
from experiments.sweep.measures import Row
from experiments.sweep.members import member_folder
from vaelab import plotting
from vaelab.checks import UsageError, check_at_least_one
from vaelab.constraints import Constraint
from vaelab.plotting import Settling
from vaelab.runs import workdir
from vaelab.training.metrics import read_metrics


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measures GECO's stability on one family; fields of the experiments may follow."""

    family: tyro.conf.Positional[str]
    """beginning of the experiments' names, for example grey_mnist_mlp; there must be a FAMILY_beta"""
    betas: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """weights of the rate of the β-VAEs"""
    seeds: int = 1
    """seeds 0, 1, ... of each model"""
    workdir: str | None = None
    """folder for everything; default runs/stability-<family>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""

    def __post_init__(self) -> None:
        if len(self.betas) < 2:
            raise UsageError(
                f"betas must be at least two, to interpolate between, got {self.betas}."
            )
        check_at_least_one(seeds=self.seeds)


def main(argv: Sequence[str]) -> None:
    arguments, overrides = command_line.parse_known(
        Arguments, argv, "experiments.stability", __doc__
    )
    folder = epath.Path(arguments.workdir or f"runs/stability-{arguments.family}")
    interrupted = "the same command goes on from the newest checkpoint, if there is one yet"
    with command_line.plain_errors(folder, interrupted=interrupted):
        constrained = family(arguments.family)
        also = {key: constraint for key, constraint in constrained.values()}
        settings = dict(seeds=arguments.seeds, data_dir=arguments.data_dir)
        name = f"{arguments.family}_beta"
        betas = sweep.Arguments(experiment=name, betas=arguments.betas, **settings)  # type: ignore[arg-type]
        reference = sweep.run_members(betas, overrides, folder / name, also=also)
        results, curves = [], []
        for name, (key, constraint) in constrained.items():
            one = sweep.Arguments(experiment=name, **settings)  # type: ignore[arg-type]
            rows = sweep.run_members(one, overrides, folder / name)
            results.append({"experiment": name} | summary(key, constraint, rows, reference))
            kept = [i for i, row in enumerate(rows) if settled(key, row)]
            logged = [read_metrics(member_folder(folder / name, i)) for i in kept]
            if kept:
                kept_rows = [rows[i] for i in kept]
                curves.append(settling(key, constraint, kept_rows, reference, logged))
        workdir.write_json(folder / "stability.json", {"results": results})
        if curves:
            figure = plotting.settling(curves, title=f"λ of {arguments.family}")
            workdir.write_figure(folder / "stability.png", figure)
    show(arguments.family, results)
    print(f"everything is in {folder}")


def family(name: str) -> dict[str, tuple[str, Constraint]]:
    """{experiment: (its constraint's name, the constraint)} of those with just one.

    Raises:
      UsageError: no experiment of that name's beginning has one, or there is no β-VAE beside them.
    """
    names = [n for n in command_line.names() if n.startswith(f"{name}_")]
    if f"{name}_beta" not in names:
        families = sorted(
            n.removesuffix("_beta") for n in command_line.names() if n.endswith("_beta")
        )
        raise UsageError(
            f"there is no experiment {name}_beta to compare with; families that have one are "
            f"{', '.join(families)}."
        )
    found = {n: dict(command_line.load(n).objective.constraints) for n in names}
    single = {n: next(iter(each.items())) for n, each in found.items() if len(each) == 1}
    if not single:
        raise UsageError(f"no experiment of {name} has exactly one constraint.")
    keys = [key for key, _ in single.values()]
    if len(set(keys)) < len(keys):  # the β-VAEs' table has a column for each
        raise UsageError(f"constraints of {name} must have names of their own, got {keys}.")
    return single


def summary(
    key: str, constraint: Constraint, rows: Sequence[Row], reference: Sequence[Row]
) -> dict[str, Any]:
    """What a constraint came to, means over the seeds that did not diverge; None where all did.

    `overshoot` is the largest λ divided by the last one, of the seed where that is worst. The β-VAE's
    rate is None beyond its β's values.
    """
    finite = [row for row in rows if settled(key, row)]
    result = {
        "constraint": constraint.describe(),
        "kappa": float(constraint.kappa),
        "outcomes": [row[f"{key}_outcome"] for row in rows],
        "seeds": len(rows),
        "diverged": len(rows) - len(finite),
    }
    if not finite:
        names = ("value", "train_value", "multiplier", "overshoot", "rate", "reference_rate")
        return result | dict.fromkeys((*names, "rate_ratio"))
    mean = lambda column: float(np.mean([row[column] for row in finite]))  # noqa: E731
    rate, value = mean("rate"), mean(f"{key}_test")
    theirs = rate_at(constraint, value, *frontier(key, reference))
    return result | {
        "value": value,
        "train_value": mean(f"{key}_train"),
        "multiplier": mean(f"{key}_multiplier"),
        "overshoot": max(r[f"{key}_max_multiplier"] / r[f"{key}_multiplier"] for r in finite),
        "rate": rate,
        "reference_rate": theirs,
        "rate_ratio": None if theirs is None else rate / theirs,
    }


def settled(key: str, row: Row) -> bool:
    """Whether a member did not diverge."""
    columns = (f"{key}_test", f"{key}_train", f"{key}_multiplier", "rate")
    return bool(np.isfinite([row[column] for column in columns]).all())


def frontier(key: str, reference: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Values of what is bounded [P], increasing, and the β-VAEs' rates there [P]; means over seeds."""
    betas = sorted({row["beta"] for row in reference})
    points = np.array([
        [np.mean([row[column] for row in reference if row["beta"] == beta])
         for column in (f"{key}_test", "rate")]
        for beta in betas
    ])  # fmt: skip
    points = points[np.isfinite(points).all(axis=1)]
    return tuple(points[np.argsort(points[:, 0])].T)


def rate_at(
    constraint: Constraint, value: float, values: np.ndarray, rates: np.ndarray
) -> float | None:
    """The rate between the β-VAEs' values, which increase; None outside them.

    A monotone cubic of the rate's root in the logarithm of what is left to be desired. With β's a factor
    of three apart it is within 3 % of Gaussian sources' rate-distortion functions; a chord, which lies
    above every convex curve, is up to a fourth too high, and makes GECO look good.

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


def settling(
    key: str,
    constraint: Constraint,
    rows: Sequence[Row],
    reference: Sequence[Row],
    logged: Sequence[Sequence[Mapping[str, Any]]],
) -> Settling:
    """What the picture shows of one constraint."""
    values, rates = frontier(key, reference)
    course = np.linspace(values[0], values[-1], 100) if len(values) else np.empty(0)
    between = [rate_at(constraint, value, values, rates) for value in course]
    return Settling(
        label=constraint.describe(),
        quantity=constraint.quantity,
        kappa=float(constraint.kappa),
        steps=[[row["step"] for row in each] for each in logged],
        multipliers=[[row[f"multiplier/{key}"] for row in each] for each in logged],
        points=[(row[f"{key}_test"], row["rate"]) for row in rows],
        reference=list(zip(values.tolist(), rates.tolist(), strict=True)),
        between=[(v, r) for v, r in zip(course.tolist(), between, strict=True) if r is not None],
    )


def show(name: str, results: Sequence[Mapping[str, Any]]) -> None:
    """A row for each constraint."""
    table = Table(title=f"{name}: GECO beside β-VAEs")
    for column in ("constraint", "training", "test", "λ", "largest λ / last", "rate",
                   "β-VAE's rate there", "ratio", "outcome"):  # fmt: skip
        table.add_column(column)
    for result in results:
        if result["rate"] is None:
            table.add_row(result["constraint"], "diverged")
            continue
        rate, ratio = result["reference_rate"], result["rate_ratio"]
        beyond = "beyond the β-VAEs"
        table.add_row(
            result["constraint"], f"{result['train_value']:.3g}", f"{result['value']:.3g}",
            f"{result['multiplier']:.3g}", f"{result['overshoot']:.3g}", f"{result['rate']:.3g}",
            beyond if rate is None else f"{rate:.3g}", "" if ratio is None else f"{ratio:.2f}",
            "; ".join(dict.fromkeys(result["outcomes"])),
        )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Writes the tables of README.md and experiments/README.md from results.json: `python -m experiments.tables`.

A table stands between `<!-- results: NAME -->` and `<!-- end of results -->`. The text around it stays.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from experiments import taming
from vaelab.runs.results import Estimate, Results, Row, read

RESULTS = Path(__file__).with_name("results.json")
DOCUMENTS = (Path(__file__).with_name("README.md"), Path(__file__).parents[1] / "README.md")

# The rows of the short table in README.md.
MAIN = (
    "digits_vhp_rewo", "dynamic_mnist_standard", "dynamic_mnist_mixture", "dynamic_mnist_vamp",
    "dynamic_mnist_vhp_rewo",
)  # fmt: skip

Cells = dict[str, str]


def likelihoods(row: Row) -> list[Cells]:
    """A run by its log-likelihood and its ELBO."""
    likelihood = row.estimates.get("log_likelihood")
    samples = images = ""
    if likelihood is not None:
        samples, images = f"{likelihood.num_samples:,}", f"{likelihood.num_test:,}"
    return [
        _short(row)
        | {"samples": samples, "images": images}
        | {"seeds": _seeds(row), "minutes": _optional(row.seconds and round(row.seconds / 60, 1))}
        | {"hardware": row.hardware, "commit": row.commit, "note": row.note}
    ]


def _short(row: Row) -> Cells:
    published = row.published
    beside = ""
    if published is not None and not row.changes:  # a changed run compares with nothing
        beside = number(Estimate(published.mean, deviation=published.deviation), 2)
    return {
        "experiment": f"`{row.experiment}`",
        "log p(x)": _estimate(row, "log_likelihood", 2),
        "log p(x) of all images": _estimate(row, "log_likelihood_of_all", 2),
        "ELBO": _estimate(row, "elbo", 2),
        "published log p(x)": beside,
        "epochs": ("shortened to " if "num_steps" in row.changes else "") + _optional(row.epochs),
    }


def priors(row: Row) -> list[Cells]:
    """A prior on the digits."""
    return [
        {"prior": row.experiment}
        | {"NLL": _estimate(row, "nll", 1), "ELBO": _estimate(row, "elbo", 1)}
        | {"rate": _estimate(row, "rate", 2), "marginal KL": _estimate(row, "marginal_kl", 2)}
        | {"holes, %": _estimate(row, "holes", 1), "seeds": _seeds(row), "commit": row.commit}
    ]


def constraints(row: Row) -> list[Cells]:
    """A run under one constraint."""
    (key, constraint), *_ = taming.EXPERIMENTS[row.experiment].objective.constraints.items()
    kappa = row.changes.get(f"objective.constraints.{key}.kappa", constraint.kappa)
    bound = dataclasses.replace(constraint, kappa=kappa)  # type: ignore[type-var]
    return [
        {"experiment": f"`{row.experiment}`", "constraint": bound.describe()}
        | {"steps": _optional(row.steps)}
        | {"in training": _estimate(row, "train"), "test": _estimate(row, "test")}
        | {"λ": _estimate(row, "multiplier"), "largest λ / last λ": _estimate(row, "overshoot")}
        | {"rate": _estimate(row, "rate"), "β-VAE's rate there": _estimate(row, "beta_vae_rate")}
        | {"seeds": _seeds(row), "commit": row.commit, "note": row.note}
    ]


def baselines(row: Row) -> list[Cells]:
    """A run without a constraint, by its error and its rate."""
    return [
        {"experiment": f"`{row.experiment}`", "steps": _optional(row.steps)}
        | {"RMSE": _estimate(row, "rmse"), "rate": _estimate(row, "rate")}
        | {"seeds": _seeds(row), "commit": row.commit}
    ]


def comparisons(row: Row) -> list[Cells]:
    """A line for each quantity in which an experiment is compared with a reference."""
    names = [name.removesuffix("/difference") for name in row.estimates if "/difference" in name]
    return [
        {"experiment": f"`{row.experiment}`", "steps": _optional(row.steps)}
        | {"reference": row.reference, "quantity": name}
        | {"GECO": _estimate(row, name), "of the reference": _estimate(row, f"{name}/reference")}
        | {"difference (95 % interval)": _difference(row.estimates[f"{name}/difference"])}
        | {"seeds": _seeds(row), "commit": row.commit, "note": "" if index else row.note}
        for index, name in enumerate(names)
    ]


# The lines of a row in each table.
TABLES: dict[str, Callable[[Row], list[Cells]]] = {
    "main": lambda row: [_short(row)],
    "digits": likelihoods,
    "mnist": likelihoods,
    "vampprior": likelihoods,
    "bits": likelihoods,
    "top_down": likelihoods,
    "digits_priors": priors,
    "constraints": constraints,
    "baselines": baselines,
    "comparisons": comparisons,
}


def rows(name: str, results: Results) -> list[Row]:
    """The rows of a table. Those of `MAIN` are chosen from two tables, without the repeated ones."""
    if name != "main":
        return results[name]
    everything = [*results["digits"], *results["vampprior"]]
    return [
        row for key in MAIN for row in everything if row.experiment == key and not row.tolerance
    ]


def number(estimate: Estimate, decimals: int | None = None) -> str:
    """A mean and its error in Markdown; without an error, the digits that are known.

    >>> number(Estimate(-84.4, standard_error=0.22), 2), number(Estimate(15200.0))
    ('−84.40 ± 0.22', '15,200')
    """
    errors = (estimate.standard_error, estimate.deviation)
    error = next((value for value in errors if value is not None), None)
    if error is None or decimals is None:
        text = f"{estimate.mean:,.6g}"
    else:
        text = f"{estimate.mean:.{decimals}f} ± {error:.{decimals}f}"
    return text.replace("-", "−")


def _estimate(row: Row, name: str, decimals: int | None = None) -> str:
    estimate = row.estimates.get(name)
    return "" if estimate is None else number(estimate, decimals)


def _difference(estimate: Estimate) -> str:
    low, high = estimate.interval or (float("nan"),) * 2
    return f"{estimate.mean:+.6g} ({low:+.6g} to {high:+.6g})".replace("-", "−")


def _seeds(row: Row) -> str:
    first, last = row.seeds[0], row.seeds[-1]
    if len(row.seeds) > 1 and row.seeds == tuple(range(first, last + 1)):
        return f"{first} to {last}"
    return ", ".join(map(str, row.seeds))


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"


def markdown(name: str, results: Results) -> str:
    """One table in Markdown. A column without content is left out."""
    lines = [cells for row in rows(name, results) for cells in TABLES[name](row)]
    columns = [column for column in lines[0] if any(cells[column] for cells in lines)]
    header = [columns, ["---"] * len(columns)]
    body = [[cells[column] for column in columns] for cells in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [*header, *body])


def render(text: str, results: Results) -> str:
    """A document with its tables made from the results."""
    pattern = r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)"
    return re.sub(
        pattern,
        lambda match: match[1] + markdown(match[2], results) + match[3],
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    results = read(RESULTS)
    for path in DOCUMENTS:
        path.write_text(render(path.read_text(), results))


if __name__ == "__main__":
    main()

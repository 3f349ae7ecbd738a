"""The table of results in experiments/README.md: one row per experiment, length and commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = (
    "experiment", "published log p(x)", "log p(x)", "ELBO", "seeds", "epochs", "hardware", "hours",
    "commit",
)  # fmt: skip

Row = dict[str, str]


def row(name: str, runs: Sequence[Mapping[str, Any]], published: str) -> Row:
    """What the finished runs of one experiment, each of another seed, come to."""
    reports = [run["report"] for run in runs]
    configs = [run["config"] for run in runs]
    likelihoods = [report["log_likelihood"] for report in reports]
    shortened = any("--num-steps" in config["overrides"] for config in configs)
    epochs = ", ".join(f"{report['epochs_trained']:.0f}" for report in reports)
    first = likelihoods[0]
    hours = sum(run["seconds"] for run in runs) / 3600
    return {
        "experiment": f"`{name}`",
        "published log p(x)": published,
        "log p(x)": f"{_summary(likelihoods)}, {first['num_samples']} samples, "
        f"{first['num_test']} images{_inner(first.get('prior_samples'))}",
        "ELBO": _summary([report["elbo"] for report in reports]),
        "seeds": ", ".join(str(config["configuration"]["seed"]) for config in configs),
        "epochs": f"shortened to {epochs}" if shortened else epochs,
        "hardware": ", ".join(sorted({config["hardware"] for config in configs})),
        "hours": f"{hours:.1f}",
        "commit": ", ".join(sorted({config["commit"] for config in configs})),
    }


def _inner(prior_samples: int | None) -> str:
    return "" if prior_samples is None else f", {prior_samples} inner samples of the prior each"


def _summary(estimates: Sequence[Mapping[str, float]]) -> str:
    """One seed: ± standard error over images; several: ± standard deviation over seeds."""
    means = [estimate["mean"] for estimate in estimates]
    if len(means) == 1:
        text = f"{means[0]:.2f} ± {estimates[0]['standard_error']:.2f} (s.e. over images)"
    else:
        text = f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f} (s.d. over seeds)"
    return text.replace("-", "−")


def write(path: Path, suite: str, new: Row) -> None:
    """Puts the row at the end of the suite's table, or in the place of the row it repeats.

    A row repeats another where experiment, epochs, seeds and commit are the same. The rest of the
    file stays as it is.
    """
    text = path.read_text() if path.exists() else "# Results\n"
    begin, end = f"<!-- {suite}: written by experiments.suite -->\n", f"<!-- end of {suite} -->\n"
    if begin not in text:
        text = text.rstrip("\n") + f"\n\n## {suite}\n\n{begin}{end}"
    before, rest = text.split(begin)
    table, after = rest.split(end)
    rows = [_cells(line) for line in table.splitlines()[2:]]
    same = [i for i, old in enumerate(rows) if _identity(old) == _identity(new)]
    if same:
        rows[same[0]] = new
    else:
        rows.append(new)
    header = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines = [*header, *map(as_line, rows)]
    path.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def as_line(cells: Row) -> str:
    """A row of the table in Markdown."""
    return "| " + " | ".join(cells[column] for column in COLUMNS) + " |"


def _cells(line: str) -> Row:
    values = [value.strip() for value in line.strip().strip("|").split("|")]
    return dict(zip(COLUMNS, values, strict=True))


def _identity(cells: Row) -> tuple[str, ...]:
    return tuple(cells[column] for column in ("experiment", "seeds", "epochs", "commit"))

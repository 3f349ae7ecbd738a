"""`vaelab suite FILE`: every experiment of a file, and its row in results.json."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from etils import epath
from rich.table import Table

from vaelab import runs
from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli.lookup import Found, find_file
from vaelab.cli.parsing import Command, end_if_interrupted, if_left_out
from vaelab.runs import display, results
from vaelab.runs.config import read_config
from vaelab.runs.report import Report
from vaelab.runs.result import Result
from vaelab.runs.training_files import TrainingFiles
from vaelab.storage import folder_at


@dataclasses.dataclass(frozen=True)
class Suite(Command):
    """Trains and evaluates the experiments of a file, one after the other, and keeps their results.

    Each run has a folder of its own; the same command continues where it was interrupted. Rows are added
    to results.json beside the file, in the table of the file's name.
    """

    continues: ClassVar[bool] = True

    suite: Annotated[str, tyro.conf.Positional]
    """Name of a file in experiments/, such as vampprior, or a path FILE.py."""
    only: tuple[str, ...] = ()
    """Experiments to run. Default: all of the file."""
    seeds: int = 1
    """Runs of each experiment, with the seeds 0, 1, ..."""
    num_steps: Annotated[int | None, if_left_out("the experiment's own")] = None
    """Length of every run, if it is not the experiment's own. The row names it."""
    num_samples: Annotated[int | None, if_left_out("the experiment's")] = None
    """Importance samples per test example. The row names it."""
    num_test: Annotated[int | None, if_left_out("the experiment's")] = None
    """Test examples for log p(x). The row names it."""
    workdir: Annotated[str | None, if_left_out("runs/SUITE")] = None
    """Folder of the runs."""
    data_dir: Annotated[str | None, if_left_out("$VAELAB_DATA, else ~/.cache/vaelab")] = None
    """Folder of the data files."""

    def __post_init__(self) -> None:
        check_at_least_one(
            seeds=self.seeds, num_steps=self.num_steps, num_samples=self.num_samples,
            num_test=self.num_test,
        )  # fmt: skip

    def run(self) -> None:
        experiments = find_file(self.suite)
        for name in self.only:
            if name not in experiments:
                nearest = difflib.get_close_matches(name, experiments, 1, cutoff=0.0)[0]
                raise UsageError(f"only = {name!r} is not in {self.suite}; the nearest name is {nearest!r}.")  # fmt: skip
        stem = Path(next(iter(experiments.values())).source).stem
        root = folder_at(self.workdir or f"runs/{stem}")
        path = Path(next(iter(experiments.values())).source).with_name("results.json")
        names = ("num_steps", "num_samples", "num_test")
        changes = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        for name in self.only or experiments:
            row = self._row(experiments[name], root, changes)
            tables = results.read(path) if path.exists() else {}
            tables[stem] = results.merge(tables.get(stem, []), [row])
            results.write(path, tables)
            display.show(_table(row))
        print(f"the rows are in {path}")

    def _row(self, found: Found, root: epath.Path, changes: dict[str, Any]) -> results.Row:
        finished, seconds, configs = [], 0.0, []
        for seed in range(self.seeds):
            folder = root / f"{found.name}-{seed}"
            result = runs.train(
                found.experiment, workdir=folder, name=found.name, source=found.source,
                data_dir=self.data_dir, seed=seed, **changes,
            )  # fmt: skip
            end_if_interrupted([result])
            finished.append(result)
            seconds += TrainingFiles(folder).seconds
            configs.append(read_config(folder))
        return make_row(found.name, finished, changes, seconds, configs)


def make_row(
    name: str,
    finished: Sequence[Result],
    changes: dict[str, Any],
    seconds: float,
    configs: Sequence[dict[str, Any]],
) -> results.Row:
    """The row of an experiment's finished runs, one for each seed."""
    reports = [result.report() for result in finished]
    estimates = {
        key: results.over_seeds([_estimate(report, key) for report in reports])
        for key in ("log_likelihood", "log_likelihood_of_all", "elbo", "rate")
        if all(getattr(report, key) is not None for report in reports)
    }
    return results.Row(
        experiment=name,
        estimates=estimates,
        changes=changes,
        seeds=tuple(result.run.experiment.seed for result in finished),
        steps=max(result.last_step for result in finished),
        epochs=round(max(report.epochs_trained for report in reports), 1),
        seconds=round(seconds, 1),
        hardware=", ".join(sorted({config["hardware"] for config in configs})),
        commit=", ".join(sorted({config["commit"] for config in configs})),
    )


def _estimate(report: Report, key: str) -> results.Estimate:
    estimate = getattr(report, key)
    likelihood = report.log_likelihood
    return results.Estimate(
        mean=estimate.mean,
        standard_error=estimate.standard_error,
        num_samples=likelihood.num_samples if key.startswith("log_likelihood") else None,
        num_test=likelihood.num_test if key == "log_likelihood" else report.num_test,
    )


def _table(row: results.Row) -> Table:
    rows = []
    for name, estimate in row.estimates.items():
        over_seeds = estimate.deviation is not None
        error = estimate.deviation if over_seeds else estimate.standard_error
        meaning = "s.d. over seeds" if over_seeds else "s.e. over test examples"
        rows.append((name, f"{estimate.mean:.2f}", f"{error:.2f}", meaning))
    return display.table(row.experiment, ("", "mean", "±", ""), rows)

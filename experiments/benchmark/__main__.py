"""Speed: `python -m experiments.benchmark [NAME ...]`. Run it while the machine does nothing else.

Everything is measured in turn, round by round, and compared within a round: a machine whose speed drifts does
no harm.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tyro
from etils import epath
from rich.table import Table
from scipy import stats

from experiments.benchmark import rates
from experiments.benchmark.rates import EXPERIMENTS, NUM_MEMBERS, SMALL, Rate
from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli import lookup, parsing
from vaelab.runs import display
from vaelab.runs.files import write_json
from vaelab.runs.run import Run

TOGETHER, ALONE = f"small VAE, {NUM_MEMBERS} members together", "small VAE, alone"

# What is compared with what, and the goal of the ratio.
COMPARISONS = (
    ("VAE / Pythae's bare loop", "VAE", "Pythae VAE, bare loop", "at least 2.0"),
    ("VAE / eager PyTorch", "VAE", "PyTorch VAE, eager", "at least 3.0"),
    ("time of mixture / standard prior", "VAE", "mixture", "at most 1.5"),
    ("time of GTM / standard prior", "VAE", "GTM", "at most 1.5"),
    ("time of flow / standard prior", "VAE", "flow", "at most 2.0"),
    ("VAMP / Pythae's bare loop", "VAMP", "Pythae VAMP, bare loop", "at least 4.0"),
    ("time of VHP + REWO / VHP", "VHP", "VHP + REWO", "interval reaches below 1.05"),
    ("log p(x) / Pythae's get_nll", "log p(x)", "Pythae VAE, get_nll", "at least 6.0"),
    (f"{NUM_MEMBERS} members together / alone", TOGETHER, ALONE, ""),
)


class Row(NamedTuple):
    """A rate: median, lowest and highest of the rounds. A ratio: median, and 95 % interval of the mean."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    goal: str = ""


@dataclasses.dataclass(frozen=True)
class Benchmark(parsing.Command):
    """Measures training steps and log-likelihoods per second, beside other libraries."""

    experiments: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of experiments whose training is measured, too, on their own data."""
    peer_python: str | None = None
    """Interpreter of an environment with PyTorch and Pythae 0.1.2."""
    peer_script: str | None = None
    """File of pythae_bench.py, which measures Pythae."""
    rounds: int = 5
    """Number of rounds."""
    steps: int = 400
    """Training steps in a timed block."""
    num_test: int = 100
    """Test images of the log-likelihood."""
    output: str = "benchmark.json"
    """File of the numbers."""
    data_dir: str | None = None
    """Folder of the data files. Default: $VAELAB_DATA, else ~/.cache/vaelab."""

    def __post_init__(self) -> None:
        check_at_least_one(rounds=self.rounds, steps=self.steps, num_test=self.num_test)
        if (self.peer_python is None) != (self.peer_script is None):
            raise UsageError("peer_python and peer_script belong together: give both, or neither.")

    def run(self) -> None:
        measured: dict[str, list[float]] = {}
        everything = self._rates()
        for number in range(self.rounds):
            for name, rate in everything.items():
                measured.setdefault(name, []).append(rate())
                print(f"round {number + 1}: {name} {measured[name][-1]:.1f}/s", file=sys.stderr)
        rows = [_rate_row(name, values) for name, values in measured.items()] + ratios(measured)
        write_json(epath.Path(self.output), {"machine": machine(), "rows": rows})
        display.show(table(rows))

    def _rates(self) -> dict[str, Rate]:
        splits, found = rates.images(), [lookup.find(name) for name in self.experiments]
        small = Run.load(SMALL, splits=rates.images(SMALL.model.decoder.shape))
        measured = {
            name: rates.training(Run.load(experiment, splits=splits), self.steps)
            for name, experiment in EXPERIMENTS.items()
        }
        for each in found:
            run = Run.load(each.experiment, self.data_dir, name=each.name)
            measured[each.name] = rates.training(run, self.steps)
        measured["log p(x)"] = rates.log_likelihood(self.num_test)
        measured[TOGETHER] = rates.together(small, self.steps)
        measured[ALONE] = rates.training(small, self.steps)
        if self.peer_python is None or self.peer_script is None:
            print("Pythae and PyTorch are left out: give --peer-python and --peer-script.")
            return measured
        return measured | dict(rates.peers(self.peer_python, self.peer_script))


def _rate_row(name: str, values: Sequence[float]) -> Row:
    unit = "images/s" if name in ("log p(x)", "Pythae VAE, get_nll") else "steps/s"
    return Row(name, unit, float(np.median(values)), min(values), max(values))


def ratios(measured: Mapping[str, Sequence[float]]) -> list[Row]:
    """The comparisons of what was measured, with t intervals over the rounds."""
    rows = []
    for name, ours, theirs, goal in COMPARISONS:
        if theirs not in measured:
            continue
        values = np.divide(measured[ours], measured[theirs])
        half = 0.0
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
        mean = float(values.mean())
        rows.append(Row(name, "ratio", float(np.median(values)), mean - half, mean + half, goal))
    return rows


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "device": jax.devices()[0].device_kind, "cpus": os.cpu_count(), "jax": jax.__version__,
        "python": platform.python_version(), "load": [round(v, 2) for v in os.getloadavg()],
    }  # fmt: skip


def table(rows: Sequence[Row]) -> Table:
    """A line for each rate and each ratio."""
    shown = Table(title="MLP 784-300-300-40, batches of 100 images")
    for column in ("", "median", "low", "high", "unit", "goal"):
        shown.add_column(column, justify="right" if column in ("median", "low", "high") else "left")
    for row in rows:
        numbers = (f"{number:.2f}" for number in (row.median, row.low, row.high))
        shown.add_row(row.name, *numbers, row.unit, row.goal)
    shown.caption = "Rates: lowest and highest of the rounds. Ratios: 95 % interval of the mean."
    return shown


if __name__ == "__main__":
    raise SystemExit(parsing.run(Benchmark, sys.argv[1:], prog="python -m experiments.benchmark"))

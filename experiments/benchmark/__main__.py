"""Speed: `python -m experiments.benchmark`. Run it while the machine does nothing else.

Everything is measured in turn, round by round, and compared within a round: a machine whose speed drifts does
no harm.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro
from etils import epath
from rich.table import Table
from scipy import stats

from experiments.study import main, of_length
from vaelab import evaluation
from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli import lookup, parsing
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.runs import Experiment, display
from vaelab.runs.files import write_json
from vaelab.runs.programs import Program
from vaelab.runs.run import Run
from vaelab.training.sharding import replicate
from vaelab.types import Examples, Splits

Rate = Callable[[], float]  # measures once, units per second

# Time of the first divided by the time of the second, and the goal.
COMPARISONS = (
    ("dynamic_mnist_mixture", "dynamic_mnist_standard", "at most 1.5"),
    ("dynamic_mnist_flow", "dynamic_mnist_standard", "at most 2.0"),
    ("mnist_vhp_rewo", "mnist_vhp_elbo", "interval reaches below 1.05"),
    ("Pythae VAE, bare loop", "plain VAE", "at least 2.0"),
    ("PyTorch VAE, eager", "plain VAE", "at least 3.0"),
    ("Pythae VAMP, bare loop", "plain VAMP", "at least 4.0"),
    ("Pythae VAE, get_nll", "log p(x) of plain VAE", "at least 6.0"),
)
NAMES = tuple(dict.fromkeys(name for pair in COMPARISONS[:3] for name in pair[:2]))


class Speed(NamedTuple):
    """A rate: median, lowest and highest of the rounds. A ratio: median, and 95 % interval of the mean."""

    name: str
    median: float
    low: float
    high: float
    goal: str = ""


@dataclasses.dataclass(frozen=True)
class Benchmark(parsing.Command):
    """Measures training steps and images of log p(x) per second, beside other libraries."""

    experiments: tyro.conf.Positional[tuple[str, ...]] = NAMES
    """Names of experiments on MNIST, whose training steps are measured on made images."""
    peer_python: str | None = None
    """Interpreter of an environment with PyTorch and Pythae 0.1.2."""
    peer_script: str | None = None
    """File of pythae_bench.py, which measures Pythae."""
    rounds: int = 5
    """Number of rounds."""
    steps: int = 400
    """Training steps in a timed block."""
    output: str = "benchmark.json"
    """File of the numbers."""

    def __post_init__(self) -> None:
        check_at_least_one(rounds=self.rounds, steps=self.steps)
        if (self.peer_python is None) != (self.peer_script is None):
            raise UsageError("peer_python and peer_script belong together: give both, or neither.")

    def run(self) -> None:
        rates, measured = self.rates(), dict[str, list[float]]()
        for number in range(self.rounds):
            for name, rate in rates.items():
                measured.setdefault(name, []).append(rate())
                print(f"round {number + 1}: {name} {measured[name][-1]:.1f}/s", file=sys.stderr)
        rows = [
            Speed(name, float(np.median(values)), min(values), max(values))
            for name, values in measured.items()
        ] + ratios(measured)
        machine = {
            "device": jax.devices()[0].device_kind, "cpus": os.cpu_count(), "jax": jax.__version__,
            "python": platform.python_version(), "load": os.getloadavg(),
        }  # fmt: skip
        write_json(epath.Path(self.output), {"machine": machine, "rows": rows})
        display.show(table(rows))

    def rates(self) -> dict[str, Rate]:
        """What is measured, by its name."""
        found = {name: lookup.find(name).experiment for name in self.experiments}
        vae = plain(lookup.find("dynamic_mnist_standard").experiment)
        vamp = plain(lookup.find("dynamic_mnist_vamp").experiment)
        found |= {"plain VAE": vae, "plain VAMP": vamp}
        rates = {name: training(experiment, self.steps) for name, experiment in found.items()}
        rates["log p(x) of plain VAE"] = log_likelihood(vae, num_test=100)
        if self.peer_python is None or self.peer_script is None:
            print("Pythae and PyTorch are left out: give --peer-python and --peer-script.")
            return rates
        return rates | peers(self.peer_python, self.peer_script)


def plain(experiment: Experiment) -> Experiment:
    """The experiment with the layers of the other libraries: 784-300-300-40 with ReLU."""
    encoder = ConditionalGaussian(MLP((300, 300), event_ndims=3), dim=40)
    decoder = BernoulliDecoder(MLP((300, 300)), shape=(28, 28, 1))
    return experiment.with_fields(model=VAE(encoder, decoder, experiment.model.prior))


def images() -> Splits:
    """Grey images of about MNIST's mean: the time depends on no file."""
    x = 0.26 * np.random.default_rng(0).random((10_000, 28, 28, 1), np.float32)
    binary = Examples(np.round(2 * x[:1000]))
    return Splits(Examples(x), binary, binary)


def training(experiment: Experiment, steps: int) -> Rate:
    """Training steps per second of the program that training runs."""
    experiment = of_length(experiment, steps).with_fields(log_every=steps, evaluate_every=steps)
    program = Program(Run.load(experiment, splits=images()))
    mesh = program.mesh()
    run_steps, source = program.compile_steps(mesh), replicate(program.run.source(), mesh)
    state = program.place(program.initial_state(), mesh)

    def dispatch() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(run_steps(state, source, num_steps=steps))

    return timed(dispatch, steps)


def log_likelihood(experiment: Experiment, num_test: int) -> Rate:
    """Test images per second at 5000 importance samples."""
    run = Run.load(experiment, splits=images())
    test, key = run.splits.test.take(slice(num_test)), jax.random.key(0)
    subject = run.subject(run.initial_params(), test)
    return timed(lambda: evaluation.log_likelihood(subject, key, num_samples=5000), num_test)


def timed(function: Callable[[], object], units: int) -> Rate:
    """Units per second of a function, which is called once before."""
    function()

    def rate() -> float:
        start = time.perf_counter()
        function()
        return units / (time.perf_counter() - start)

    return rate


def peers(python: str, script: str) -> dict[str, Rate]:
    """Pythae by its own benchmark, and eager PyTorch by ours, in another interpreter."""

    def measure(*command: str) -> float:
        output = subprocess.run([python, *command], capture_output=True, text=True, check=False)
        if output.returncode:
            raise UsageError(f"{python} {command[0]} failed: {output.stderr.strip()[-300:]}")
        return json.loads(output.stdout.strip().splitlines()[-1])["median"]

    options = ("--repeats", "3", "--nll_points", "20", "--mode")
    return {
        "Pythae VAE, bare loop": lambda: measure(script, "--models", "VAE", *options, "loop"),
        "Pythae VAMP, bare loop": lambda: measure(script, "--models", "VAMP", *options, "loop"),
        "Pythae VAE, get_nll": lambda: measure(script, "--models", "VAE", *options, "nll"),
        "PyTorch VAE, eager": lambda: measure(str(Path(__file__).with_name("eager_torch.py"))),
    }


def ratios(measured: Mapping[str, Sequence[float]]) -> list[Speed]:
    """The comparisons of what was measured, with t intervals over the rounds."""
    rows = []
    for first, second, goal in COMPARISONS:
        if first not in measured or second not in measured:
            continue
        values = np.divide(measured[second], measured[first])
        mean, half = float(values.mean()), 0.0
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
        name = f"time of {first} / {second}"
        rows.append(Speed(name, float(np.median(values)), mean - half, mean + half, goal))
    return rows


def table(rows: Sequence[Speed]) -> Table:
    """A line for each rate and each ratio."""
    shown = Table("", "median", "low", "high", "goal", title="Per second, batches of 100 images")
    for row in rows:
        shown.add_row(row.name, *(f"{number:.2f}" for number in row[1:4]), row.goal)
    shown.caption = "Rates: lowest and highest of the rounds. Ratios: 95 % interval of the mean."
    return shown


if __name__ == "__main__":
    main(Benchmark)

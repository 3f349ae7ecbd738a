"""Speed: `python -m experiments.benchmark`. Run it while the machine does nothing else.

Each row is a ratio of times that are measured in turn, round by round. A machine whose speed drifts does no
harm. The limit of a row is measured in the same rounds.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
import time
from typing import Annotated

import jax
import tyro
from etils import epath

from experiments.benchmark import blocks, likelihood, peers
from experiments.benchmark.limit import bare, triad
from experiments.benchmark.models import SMALL
from experiments.benchmark.rows import Row, row, table
from experiments.scaling.models import num_parameters, step_products
from experiments.scaling.work import ADAM_BYTES, total
from experiments.study import main
from vaelab.checks import UsageError, check_at_least_one
from vaelab.cli import parsing
from vaelab.runs import display
from vaelab.runs.files import write_json

LIMITS = {"VAE": 0.85} | dict.fromkeys(
    ("VAMP-500", "hierarchical prior", "IWAE-10", "flow posterior", "mixture-500", "GTM-484"), 0.8
)
OVERHEADS = ("GECO", "REWO")
SWEEPS = {"sweep of 16": 16, "sweep of 64": 64}
PEERS = ("PyTorch VAE", "Pythae VAE", "Pythae VAMP-500")
ROWS = (*LIMITS, *OVERHEADS, *SWEEPS)


@dataclasses.dataclass(frozen=True)
class Benchmark(parsing.Command):
    """Measures training steps against the limit of the machine, constraints, sweeps, other libraries and log p(x)."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ROWS
    """Rows to measure. Left out, all but those of other libraries and of log p(x)."""
    peer_python: str | None = None
    """Interpreter of an environment with PyTorch, and Pythae 0.1.2 for its rows."""
    peer_script: str | None = None
    """File of pythae_bench.py, which measures Pythae."""
    likelihood_run: Annotated[str | None, parsing.if_left_out("no row of log p(x)")] = None
    """Folder of a trained run, whose log p(x) is measured with q(z|x) and with refined proposals."""
    precision: str | None = None
    """Precision of matrix products on accelerators: bfloat16, tensorfloat32 or float32. Default: that of JAX."""
    cpu_time: bool = False
    """True measures CPU time, summed over cores, which other programs change less than time."""
    rounds: int = 7
    """Number of rounds."""
    steps: int = 100
    """Training steps in a timed block."""
    output: str = "benchmark.json"
    """File of the numbers."""

    def __post_init__(self) -> None:
        check_at_least_one(rounds=self.rounds, steps=self.steps)
        for name in self.rows:
            if name not in (*ROWS, *PEERS):
                raise UsageError(
                    f"there is no row {name!r}: choose from {', '.join((*ROWS, *PEERS))}."
                )
        for name in self.rows:
            if name in PEERS and self.peer_python is None:
                raise UsageError(f"the row {name!r} needs another environment: give --peer-python.")
            if name.startswith("Pythae") and self.peer_script is None:
                raise UsageError(f"the row {name!r} needs pythae_bench.py: give --peer-script.")

    @property
    def clock(self) -> blocks.Clock:
        """What measures time."""
        return time.process_time if self.cpu_time else time.perf_counter

    def run(self) -> None:
        rows = []
        with jax.default_matmul_precision(self.precision):
            for name in self.rows:
                rows.append(self.measure(name))
                print(rows[-1], file=sys.stderr)
            if self.likelihood_run is not None:
                rows += likelihood.measure(self.likelihood_run, self.rounds, self.clock)
        machine = {
            "device": jax.devices()[0].device_kind, "cpus": os.cpu_count(), "jax": jax.__version__,
            "python": platform.python_version(), "load": os.getloadavg(), "date": time.strftime("%Y-%m-%d"),
            "clock": "CPU time" if self.cpu_time else "time",
        }  # fmt: skip
        write_json(epath.Path(self.output), {"machine": machine, "rows": rows})
        display.show(table(rows))

    def measure(self, name: str) -> Row:
        """One row."""
        if name in LIMITS:
            return self._of_limit(name)
        if name in OVERHEADS:
            goal = "interval reaches below 1.05"
            with_it, without = self._steps(name), self._steps("hierarchical prior")
            (times, base) = self._in_turn(with_it, without)
            return row(f"{name} / the same model without", times, base, goal)
        if name in SWEEPS:
            settings = SMALL, SWEEPS[name], self.steps
            times, base = self._in_turn(blocks.in_turn(*settings), blocks.members(*settings))
            return row(f"{name}: one after another / in one program", times, base, "at least 2")
        other = peers.timer(name, self.peer_python, self.peer_script)
        ours = self._steps(name.split()[1])
        times, base = self._in_turn(other, ours)
        return row(f"{name} / vaelab", times, base)

    def _of_limit(self, name: str) -> Row:
        """Time of the products and bytes alone, divided by the time of a step."""
        run = blocks.made_run(name)
        made = step_products(run, run.experiment.batch_size)
        work = total(made)
        moved = ADAM_BYTES * num_parameters(run) + 2 * work.results
        copy, num_bytes = triad()
        times, products, per_byte = self._in_turn(
            blocks.steps(run, self.steps),
            blocks.timed(bare(made, self.steps), self.steps),
            blocks.timed(copy, num_bytes),
        )
        limits = [p + b * moved for p, b in zip(products, per_byte, strict=True)]
        measured = row(f"limit / step, {name}", limits, times, f"at least {LIMITS[name]}")
        return measured.with_parts(times, products, work.flops, per_byte, moved)

    def _steps(self, name: str) -> blocks.Timer:
        return blocks.steps(blocks.made_run(name), self.steps)

    def _in_turn(self, *timers: blocks.Timer) -> list[tuple[float, ...]]:
        """The seconds of each timer, measured in turn in each round."""
        rounds = ([timer(self.clock) for timer in timers] for _ in range(self.rounds))
        return list(zip(*rounds, strict=True))


if __name__ == "__main__":
    main(Benchmark)

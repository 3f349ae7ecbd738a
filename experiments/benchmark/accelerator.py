"""One accelerator: `python -m experiments.benchmark.accelerator`. It needs what is installed, and says what it skips.

The VAE's step beside PyTorch (eager, torch.compile, a captured CUDA graph); models times steps per second of
members in one program; bfloat16 matrix products, with the difference in the negative ELBO that they
cause; shares of the largest matrix-product rate that the same run measures.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from etils import epath
from rich.table import Table

from experiments.benchmark import blocks
from experiments.benchmark.models import EXPERIMENTS, images
from experiments.study import main
from vaelab.checks import check_at_least_one, check_sizes
from vaelab.cli import parsing
from vaelab.runs import Experiment, display
from vaelab.runs.files import write_json
from vaelab.runs.run import Run

MODELS = ("VAE", "VAMP-500", "hierarchical prior", "IWAE-10")
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Accelerator(parsing.Command):
    """Measures one accelerator in at most `minutes`."""

    members: tuple[int, ...] = (1, 8, 32, 128)
    """Numbers of members in one program."""
    steps: int = 200
    """Training steps in a timed block."""
    trained: int = 1000
    """Training steps before the ELBOs with both precisions are compared."""
    size: int = 8192
    """Rows of the square matrices whose product measures the largest rate."""
    peer_python: Annotated[str | None, parsing.if_left_out("this interpreter")] = None
    """Interpreter of an environment with PyTorch."""
    minutes: float = 10.0
    """No measurement starts after this time."""
    output: str = "accelerator.json"
    """File of the numbers."""

    def __post_init__(self) -> None:
        check_at_least_one(steps=self.steps, trained=self.trained, size=self.size)
        check_sizes(members=self.members)

    def run(self) -> None:
        started = time.monotonic()
        rows: list[dict[str, Any]] = []
        skipped: list[str] = []
        measurements: list[tuple[Any, ...]] = [
            *(("rate", precision) for precision in PRECISIONS),
            *(("step", precision, MODELS[0]) for precision in PRECISIONS),
            *(("torch", mode) for mode in ("eager", "compile", "graph")),
            *(("members", number) for number in self.members),
            ("elbo",),
            *(("step", precision, name) for name in MODELS[1:] for precision in PRECISIONS),
        ]  # the most important ones first
        for kind, *arguments in measurements:
            name = " ".join(map(str, (kind, *arguments)))
            if time.monotonic() - started > 60 * self.minutes:
                skipped.append(f"{name}: {self.minutes:g} minutes are over")
                continue
            row = getattr(self, f"measure_{kind}")(*arguments)
            (skipped if isinstance(row, str) else rows).append(row)
            print(name, row, file=sys.stderr)
        device = jax.devices()[0]
        rows = _with_shares(rows)
        numbers: dict[str, Any] = {"device": device.device_kind, "rows": rows, "skipped": skipped}
        write_json(epath.Path(self.output), numbers)
        columns = ("", "ms", "models · steps/s", "TFLOP/s", "share of the largest rate", "nats")
        table = Table(*columns, title=f"{device.device_kind}, batches of 100 images")
        for row in rows:
            cells = ("ms", "rate", "tflops", "share", "nats")
            table.add_row(row["name"], *(f"{row[c]:.4g}" if c in row else "" for c in cells))
        display.show(table, *(f"skipped: {reason}" for reason in skipped))

    def measure_rate(self, precision: str) -> dict:
        """The largest rate of matrix products: one product of large matrices."""
        a = jnp.full((self.size, self.size), 0.01)
        with jax.default_matmul_precision(precision):
            seconds = _median(blocks.timed(lambda: _product(a, a), 1))
        return {"name": f"product of {self.size}² matrices, {precision}", "ms": 1e3 * seconds, "tflops": 2e-12 * self.size**3 / seconds, "precision": precision, "largest": True}  # fmt: skip

    def measure_step(self, precision: str, name: str) -> dict:
        """A training step."""
        with jax.default_matmul_precision(precision):
            seconds = _median(blocks.steps(EXPERIMENTS[name], self.steps))
        flops = blocks.work(EXPERIMENTS[name]).flops
        return {"name": f"{name}, {precision}", "ms": 1e3 * seconds, "rate": 1 / seconds, "tflops": 1e-12 * flops / seconds, "precision": precision}  # fmt: skip

    def measure_members(self, number: int) -> dict:
        """A step of members in one program."""
        seconds = _median(blocks.members(EXPERIMENTS["VAE"], number, self.steps))
        flops = number * blocks.work(EXPERIMENTS["VAE"]).flops
        return {"name": f"{number} VAEs in one program", "ms": 1e3 * seconds, "rate": number / seconds, "tflops": 1e-12 * flops / seconds, "precision": "float32"}  # fmt: skip

    def measure_torch(self, mode: str) -> dict | str:
        """A step of PyTorch, or why there is none."""
        script = str(Path(__file__).with_name("torch_steps.py"))
        command = [self.peer_python or sys.executable, script, mode, str(self.steps)]
        try:
            output = subprocess.run(
                command, capture_output=True, text=True, timeout=120, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"PyTorch {mode}: {error}"
        if output.returncode:
            return f"PyTorch {mode}: {output.stderr.strip()[-200:]}"
        found = json.loads(output.stdout.strip().splitlines()[-1])
        if "skipped" in found:
            return f"PyTorch {mode}: {found['skipped']}"
        return {"name": f"PyTorch {mode} ({found['device']})", "ms": 1e3 * found["seconds"], "rate": 1 / found["seconds"]}  # fmt: skip

    def measure_elbo(self) -> dict:
        """The change of the negative ELBO that bfloat16 products cause, in evaluation alone and with training."""
        values = {p: _negative_elbos(EXPERIMENTS["VAE"], p, self.trained) for p in PRECISIONS}
        nats = values["bfloat16"]["bfloat16"] - values["float32"]["float32"]
        alone = values["float32"]["bfloat16"] - values["float32"]["float32"]
        return {"name": f"negative ELBO, bfloat16 − float32, {self.trained} steps (evaluation alone {alone:+.3f})", "nats": nats}  # fmt: skip


@jax.jit
def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return a @ b


def _median(timer: blocks.Timer, repeats: int = 5) -> float:
    return statistics.median(timer(time.perf_counter) for _ in range(repeats))


def _negative_elbos(experiment: Experiment, precision: str, num_steps: int) -> dict[str, float]:
    """Of parameters trained at this precision, by the precision of the evaluation."""
    run = Run.load(experiment, splits=images())
    with jax.default_matmul_precision(precision):
        variables = blocks.trained(run, num_steps)
    values = {}
    for name in PRECISIONS:
        with jax.default_matmul_precision(name):
            values[name] = -float(run.validate(variables)["validation/elbo"])
    return values


def _with_shares(rows: list[dict]) -> list[dict]:
    """Rows with their share of the largest measured rate at their precision."""
    largest = {row["precision"]: row["tflops"] for row in rows if row.pop("largest", False)}
    for row in rows:
        if row.get("precision") in largest:
            row["share"] = row["tflops"] / largest[row["precision"]]
    return rows


if __name__ == "__main__":
    main(Accelerator)

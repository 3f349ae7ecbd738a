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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from rich.table import Table

from experiments.benchmark import blocks
from experiments.benchmark.models import EXPERIMENTS, images
from experiments.scaling.models import step_products
from experiments.scaling.work import total
from experiments.study import main
from vaelab.checks import check_at_least_one, check_sizes
from vaelab.cli import parsing
from vaelab.runs import Experiment, display
from vaelab.runs.files import write_json
from vaelab.runs.run import Run

MODELS = ("VAE", "VAMP-500", "hierarchical prior", "IWAE-10")
PRECISIONS = ("float32", "bfloat16")
TORCH_MODES = ("eager", "compile", "graph")


class Skipped(Exception):  # noqa: N818  nothing is wrong
    """A measurement that is impossible here. The message is the reason."""


class Measured(NamedTuple):
    """A row. None is what it does not have."""

    name: str
    seconds: float | None = None
    rate: float | None = None  # models times steps per second; None for a product of matrices
    flops: float | None = None  # FLOP/s of the products
    precision: str | None = None
    nats: float | None = None


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
        rows: list[Measured] = []
        skipped: list[str] = []
        for name, measure in self._measurements():
            try:
                if time.monotonic() - started > 60 * self.minutes:
                    raise Skipped(f"{self.minutes:g} minutes are over")
                rows.append(measure())
                print(rows[-1], file=sys.stderr)
            except Skipped as reason:
                skipped.append(f"{name}: {reason}")
        kind = jax.devices()[0].device_kind
        write_json(epath.Path(self.output), {"device": kind, "rows": rows, "skipped": skipped})
        display.show(table(kind, rows), *(f"skipped: {reason}" for reason in skipped))

    def _measurements(self) -> list[tuple[str, Callable[[], Measured]]]:
        """(name, what measures a row), the most important ones first."""
        steps = [(name, precision) for name in MODELS for precision in PRECISIONS]
        of_steps = [
            (f"{name}, {precision}", partial(self.step, name, precision))
            for name, precision in steps
        ]
        first = len(PRECISIONS)  # the steps of the first model
        return [
            *((f"largest rate, {each}", partial(self.largest_rate, each)) for each in PRECISIONS),
            *of_steps[:first],
            *((f"PyTorch {mode}", partial(self.torch, mode)) for mode in TORCH_MODES),
            *((f"{n} members", partial(self.together, n)) for n in self.members),
            ("negative ELBO", self.negative_elbo),
            *of_steps[first:],
        ]

    def largest_rate(self, precision: str) -> Measured:
        """One product of large matrices."""
        a = jnp.full((self.size, self.size), 0.01)
        with jax.default_matmul_precision(precision):
            seconds = _median(blocks.timed(lambda: _product(a, a), 1))
        name = f"product of {self.size}² matrices, {precision}"
        return Measured(name, seconds, flops=2 * self.size**3 / seconds, precision=precision)

    def step(self, model: str, precision: str) -> Measured:
        """A training step."""
        run = blocks.made_run(model)
        with jax.default_matmul_precision(precision):
            seconds = _median(blocks.steps(run, self.steps))
        flops = total(step_products(run, run.experiment.batch_size)).flops
        return Measured(f"{model}, {precision}", seconds, 1 / seconds, flops / seconds, precision)

    def together(self, number: int) -> Measured:
        """A step of members in one program."""
        run = blocks.made_run("VAE")
        seconds = _median(blocks.members(run.experiment, number, self.steps))
        flops = number * total(step_products(run, run.experiment.batch_size)).flops
        name = f"{number} VAEs in one program"
        return Measured(name, seconds, number / seconds, flops / seconds, "float32")

    def torch(self, mode: str) -> Measured:
        """A step of PyTorch.

        Raises:
          Skipped: PyTorch cannot do it here.
        """
        script = str(Path(__file__).with_name("torch_steps.py"))
        command = [self.peer_python or sys.executable, script, mode, str(self.steps)]
        try:
            output = subprocess.run(
                command, capture_output=True, text=True, timeout=120, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Skipped(str(error)) from error
        if output.returncode:
            raise Skipped(output.stderr.strip()[-200:])
        found = json.loads(output.stdout.strip().splitlines()[-1])
        if "skipped" in found:
            raise Skipped(found["skipped"])
        seconds = found["seconds"]
        return Measured(f"PyTorch {mode} ({found['device']})", seconds, 1 / seconds)

    def negative_elbo(self) -> Measured:
        """The change of the negative ELBO that bfloat16 products cause, in evaluation alone and with training."""
        values = {p: _negative_elbos(EXPERIMENTS["VAE"], p, self.trained) for p in PRECISIONS}
        nats = values["bfloat16"]["bfloat16"] - values["float32"]["float32"]
        alone = values["float32"]["bfloat16"] - values["float32"]["float32"]
        name = f"negative ELBO, bfloat16 − float32, {self.trained} steps (evaluation alone {alone:+.3f})"
        return Measured(name, nats=nats)


def table(device: str, rows: Sequence[Measured]) -> Table:
    """A line for each row, with its share of the largest rate of products at its precision."""
    columns = ("", "ms", "models · steps/s", "TFLOP/s", "share of the largest rate", "nats")
    found = Table(*columns, title=f"{device}, batches of 100 images")
    largest: dict[str | None, float] = {}
    for each in rows:
        if each.rate is None and each.flops is not None:
            largest[each.precision] = each.flops
    for each in rows:
        share = None
        if each.rate is not None and each.flops is not None and each.precision in largest:
            share = each.flops / largest[each.precision]
        milliseconds = None if each.seconds is None else 1e3 * each.seconds
        teraflops = None if each.flops is None else 1e-12 * each.flops
        cells = (milliseconds, each.rate, teraflops, share, each.nats)
        found.add_row(each.name, *("" if cell is None else f"{cell:.4g}" for cell in cells))
    return found


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


if __name__ == "__main__":
    main(Accelerator)

"""What limits a training step on other machines: `python -m experiments.scaling`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import tyro
from etils import epath
from rich.table import Table

from experiments.scaling.here import Measured, measured, this_chip
from experiments.scaling.machines import MACHINES, Chip, Machine
from experiments.scaling.models import StepCost, step_cost
from experiments.study import main
from vaelab.checks import check_at_least_one
from vaelab.cli import lookup, parsing
from vaelab.runs import display
from vaelab.runs.files import write_json
from vaelab.runs.run import Run

NAMES = (
    "digits_vhp_rewo", "dynamic_mnist_standard", "dynamic_mnist_vamp", "mnist_vhp_rewo",
    "dynamic_mnist_ladder", "dynamic_mnist_deep", "color_mnist_convdraw_re", "color_mnist_nvp_re",
)  # fmt: skip
_PLANE = 1000  # members of a plane of two hyperparameters


class Limit(NamedTuple):
    """The least time of a step of an experiment on a machine, and what a chip holds."""

    name: str
    machine: str
    step: float
    """Seconds on one chip."""
    share: float
    """Seconds of one chip's share of the batch, with all chips at work."""
    all_reduce: float
    """Seconds of the gradient's all-reduce between all chips."""
    batch: float
    """Examples a chip from which a step takes longer to compute than to move; infinite if none do."""
    wider: float
    """Factor of the layers' widths from which large batches take longer to compute than to move."""
    members: int
    """Members whose states fill a chip's memory."""
    plane: float
    """Seconds of a step of 1,000 members on one chip."""


@dataclasses.dataclass(frozen=True)
class Scaling(parsing.Command):
    """Counts the work of training steps, and gives lower bounds of their times on other machines.

    A lower bound: work that is no product, and the time between two operations, are left out.
    """

    experiments: tyro.conf.Positional[tuple[str, ...]] = NAMES
    """Names of experiments."""
    measure: bool = True
    """True also measures each step on this machine, beside its limit."""
    steps: int = 20
    """Training steps in a timed block."""
    rounds: int = 5
    """Number of timed blocks."""
    data_dir: str | None = None
    """Folder of the data files. Default: $VAELAB_DATA, else ~/.cache/vaelab."""
    output: str = "scaling.json"
    """File of the numbers."""

    def __post_init__(self) -> None:
        check_at_least_one(steps=self.steps, rounds=self.rounds)

    def run(self) -> None:
        runs = [
            Run.load(lookup.find(name).experiment, self.data_dir, name=name)
            for name in self.experiments
        ]
        costs = [step_cost(run) for run in runs]
        chip, times = None, list[Measured]()
        if self.measure:
            chip = this_chip()
            times = [
                measured(cost, run, chip, num_steps=self.steps, rounds=self.rounds)
                for cost, run in zip(costs, runs, strict=True)
            ]
        limits = [limit(cost, machine) for machine in MACHINES for cost in costs]
        numbers = {"work": costs, "limits": limits, "this machine": chip, "measured": times}
        write_json(epath.Path(self.output), numbers)
        display.show(work_table(costs), *(limit_table(limits, machine) for machine in MACHINES))
        if chip is not None:
            display.show(measured_table(times, chip.flops, chip.bandwidth))


def limit(cost: StepCost, machine: Machine) -> Limit:
    """The numbers of an experiment on a machine."""
    chip, batch = machine.chip, cost.batch_size
    return Limit(
        cost.name,
        machine.name,
        chip.seconds(cost.work(batch)),
        chip.seconds(cost.work(batch / machine.num_chips)),
        machine.all_reduce(cost.gradient),
        compute_bound_batch(cost, chip),
        (chip.flops / chip.bandwidth) / (cost.example.flops / cost.example.moved),
        int(chip.memory // (cost.state + cost.gradient)),
        _PLANE * chip.seconds(cost.work(batch)),
    )


def compute_bound_batch(cost: StepCost, chip: Chip) -> float:
    """Examples a chip from which computing takes longer than moving. Infinite if moving always does."""
    fixed, example = (
        work.flops / chip.flops - work.moved / chip.bandwidth for work in (cost.fixed, cost.example)
    )
    if fixed >= 0:
        return 0.0
    return -fixed / example if example > 0 else float("inf")


def work_table(costs: Sequence[StepCost]) -> Table:
    """Work and state of each experiment."""
    rows = [
        (
            cost.name, str(cost.batch_size), f"{cost.parameters / 1e6:.2f}",
            f"{cost.work(cost.batch_size).flops / 1e9:.2f}",
            f"{cost.work(cost.batch_size).moved / 1e6:.0f}", f"{cost.state / 1e6:.1f}",
        )
        for cost in costs
    ]  # fmt: skip
    columns = ("", "batch", "10⁶ parameters", "GFLOP a step", "MB a step", "MB of state")
    return display.table("Work of a training step", columns, rows)


def limit_table(limits: Sequence[Limit], machine: Machine) -> Table:
    """The limits on one machine."""
    rows = [
        (
            each.name, f"{each.step * 1e6:.0f}", f"{each.share * 1e6:.0f}",
            f"{each.all_reduce * 1e6:.0f}",
            f"{each.batch:,.0f}" if math.isfinite(each.batch) else "–", f"{each.wider:.1f}",
            f"{each.members:,}",
            f"{each.plane * 1e3:.0f}",
        )
        for each in limits
        if each.machine == machine.name
    ]  # fmt: skip
    columns = (
        "", "step, µs", f"on {machine.num_chips}", "all-reduce", "batch", "wider", "members", "plane, ms",
    )  # fmt: skip
    caption = (
        "step, all-reduce: µs. batch, wider: examples a chip, or factor of the widths, from which a step is "
        "bound by computing. members: of which a chip holds the states. plane: a step of 1,000 members."
    )
    return display.table(f"Limits on {machine.name}", columns, rows, caption)


def measured_table(times: Sequence[Measured], flops: float, bandwidth: float) -> Table:
    """Steps of this machine beside their limits."""
    rows = [
        (each.name, f"{each.seconds * 1e3:.2f}", f"{each.least * 1e3:.2f}", f"{each.least / each.seconds:.2f}")
        for each in times
    ]  # fmt: skip
    caption = (
        f"This machine reaches {flops / 1e9:.0f} GFLOP/s and moves {bandwidth / 1e9:.1f} GB/s."
    )
    return display.table("Measured here", ("", "step, ms", "limit, ms", "share"), rows, caption)


if __name__ == "__main__":
    main(Scaling)

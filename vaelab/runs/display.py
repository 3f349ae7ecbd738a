"""What a user sees of a run: a progress bar, or plain lines where there is no terminal."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_SECONDS_BETWEEN_LINES = 5.0


class TrainingProgress:
    """Shows step, metrics, steps/s and time left; a context manager."""

    def __init__(self, num_steps: int, first_step: int):
        self._console = Console()
        self._num_steps = num_steps
        self._times: collections.deque[tuple[float, int]] = collections.deque(maxlen=20)
        self._last_line = 0.0
        self._metrics: dict[str, float] = {}
        bar = [BarColumn(20)] if self._console.width >= 100 else []
        self._bar = Progress(
            *bar,
            TextColumn("{task.completed}/{task.total}  {task.fields[metrics]}"),
            disable=not self._console.is_terminal,
            console=self._console,
        )
        self._task = self._bar.add_task("", total=num_steps, completed=first_step, metrics="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        self._metrics.update(metrics)
        if (
            self._times and step <= self._times[-1][1]
        ):  # the validation's metrics; they appear with the next step
            return
        now = time.monotonic()
        self._times.append((now, step))
        since, first = self._times[0]
        text = _line(self._metrics)
        if step > first:  # over the last dispatches, and not the first one, which was compiled
            rate = (step - first) / max(now - since, 1e-9)
            text += f" {rate:.0f} steps/s, {(self._num_steps - step) / rate:.0f} s"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, metrics=text)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self._num_steps:
            self._last_line = now
            print(f"{step}/{self._num_steps} {text}", flush=True)


def _line(metrics: Mapping[str, float]) -> str:
    parts = [f"{name} {metrics[name]:.1f}" for name in ("elbo", "rate", "distortion")]
    for name in metrics:
        if name.startswith("average/"):
            parts.append(f"{name.removeprefix('average/')} {metrics[name]:+.1f}")
        if name.startswith("multiplier/"):
            parts.append(f"λ {metrics[name]:.4g}")
    return " ".join(parts)


def track(description: str):
    """A progress wrapper for evaluations: batches -> the same batches, shown."""

    def wrap(batches: Sequence[int]):
        console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            yield from bar.track(batches, description=description)

    return wrap


def print_report(report: Mapping[str, Any]) -> None:
    """The numbers of report.json as a table, and its sentence on the bound."""
    table = _table(f"{report['experiment']}, step {report['step']}, test set (nats)")
    likelihood = report["log_likelihood"]
    table.add_row(
        "log p(x)", f"{likelihood['mean']:.2f}", f"{likelihood['standard_error']:.2f}",
        f"{likelihood['num_samples']} samples on {likelihood['num_test']} examples, effective "
        f"{likelihood['effective_sample_size']:.0f}"
        + (f", {likelihood['prior_samples']} inner" if likelihood["prior_samples"] else ""),
    )  # fmt: skip
    for name in ("elbo", "rate", "distortion"):
        value = report[name]
        samples = f"{report['posterior_samples']} samples on {report['num_test']} examples"
        table.add_row(name, f"{value['mean']:.2f}", f"{value['standard_error']:.2f}", samples)
    units = ", ".join(
        f"{n} of {d}" for n, d in zip(report["active_units"], report["latent_dims"], strict=True)
    )
    table.add_row("active units", units, "", "")
    for name, number in report["learned"].items():
        table.add_row(name.replace("_", " "), f"{number:.4g}", "", "learned")
    for name, constraint in report["constraints"].items():
        table.add_row(
            f"constraint {name}", f"{constraint['value']:.4f}", "",
            f"κ = {constraint['kappa']:g}, test set {'within' if constraint['satisfied'] else 'beyond'} it",
        )  # fmt: skip
        best = f"; best {constraint['best']:.4f}" if constraint["infeasible"] else ""
        table.add_row(
            "  moving average", f"{constraint['train_value']:.4f}", "", constraint["outcome"] + best
        )
        table.add_row(
            "  multiplier", f"{constraint['multiplier']:.4g}", "",
            f"violation {constraint['violation']:.2g}, λ · slack {constraint['complementarity']:.2g}, "
            f"both divided by {constraint['divisor']:.4g}",
        )  # fmt: skip
    if report["constraints"]:
        table.add_row(
            "stationarity",
            "noise" if report["stationarity"] is None else f"{report['stationarity']:.2g}", "",
            "‖∇ Lagrangian‖ / Σ ‖∇ of its parts‖",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(report["bound"])
    if likelihood["effective_sample_size"] < 5:
        console.print(
            f"log p(x) is a loose lower bound: {likelihood['effective_sample_size']:.1f} of "
            f"{likelihood['num_samples']} importance samples carry the weight. Increase --num-samples, or "
            "see the annealed estimate of experiments.evaluate."
        )


_SURGERY = {
    "rate": ("rate", "cross-entropy − conditional entropy"),
    "cross_entropy": ("cross-entropy", "of q(z) to the prior"),
    "conditional_entropy": ("conditional entropy", "of q(z|x)"),
    "mutual_information": (
        "mutual information",
        "rate − marginal KL, at most log {num_inputs} = {bound:.2f}",
    ),
    "marginal_kl": ("marginal KL", "KL(q(z) ‖ prior), q(z) of all inputs"),
    "total_correlation": ("total correlation", "KL(q(z) ‖ Π_d q(z_d))"),
    "dimension_wise_kl": (
        "dimension-wise KL",
        "Σ_d KL(q(z_d) ‖ prior_d), the rest of the marginal KL",
    ),
}


def print_marginal_report(marginal: Mapping[str, Any]) -> None:
    """The rate in its parts and the holes as a table, and the sentence on the inputs."""
    surgery, holes = marginal["surgery"], marginal["holes"]
    table = _table("prior and aggregated posterior q(z) of the training set (nats)")
    add = partial(_add, table)
    inputs = dict(num_inputs=surgery["num_inputs"], bound=math.log(surgery["num_inputs"]))
    for key, (name, meaning) in _SURGERY.items():
        if key != "dimension_wise_kl" or marginal["factorises"]:
            add(name, surgery[key], meaning.format(**inputs))
    for size, value in marginal["subsampled_marginal_kl"].items():
        if int(size) < surgery["num_inputs"]:
            add("marginal KL, biased", value, f"q(z) of {size} inputs only")
    add("KL(prior ‖ q(z))", holes["prior_to_aggregated"], "")
    add(
        "hole mass", holes["hole_mass"],
        f"of the prior where log q(z) < {holes['level']:.1f}, as of 1 % of q(z)",
    )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(marginal["inputs"])


def print_annealed_report(annealed: Mapping[str, Any]) -> None:
    """Annealed beside plain importance sampling as a table."""
    table = _table("log p(x) by two estimators (nats)")
    add = partial(_add, table)
    plain = annealed["importance_sampling"]
    add(
        "test log p(x), annealed", annealed,
        f"{annealed['num_chains']} chains of {annealed['num_temperatures']} temperatures on "
        f"{annealed['num_test']} examples, effective {annealed['effective_sample_size']:.0f}",
    )  # fmt: skip
    add("test log p(x)", plain, f"{plain['num_samples']} samples on the same examples, effective "
        f"{plain['effective_sample_size']:.0f}")  # fmt: skip
    looser = "both are lower bounds on average; one of an effective size near 1 may be far below"
    add("annealed − plain", annealed["difference"], looser)
    Console().print(table)


def _add(table: Table, name: str, value: Mapping[str, float], meaning: str) -> None:
    table.add_row(name, f"{value['mean']:.3f}", f"{value['standard_error']:.3f}", meaning)


def _table(title: str) -> Table:
    table = Table(title=title)
    for column, justify in (("", "left"), ("value", "right"), ("± s.e.", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    return table

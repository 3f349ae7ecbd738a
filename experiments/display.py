"""What a user sees of a run: a progress bar, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
        self._start = (time.monotonic(), first_step)
        self._last_line = 0.0
        self._shown = first_step
        self._metrics: dict[str, float] = {}
        self._bar = Progress(
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=num_steps, completed=first_step, metrics="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        self._metrics.update(metrics)
        now = time.monotonic()
        if step <= self._shown:  # the validation's metrics; they appear with the next step
            return
        self._shown = step
        if not hasattr(self, "_compiled"):  # the first dispatch is mostly compilation
            self._compiled, rate = (now, step), (step - self._start[1]) / (now - self._start[0])
        else:
            since, first = self._compiled
            rate = (step - first) / max(now - since, 1e-9) or float("nan")
        text = _line(self._metrics, rate)
        self._bar.update(self._task, completed=step, metrics=text)
        if self._console.is_terminal:
            return
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self._num_steps:
            self._last_line = now
            left = (self._num_steps - step) / rate
            print(f"step {step}/{self._num_steps}  {text}  {left:.0f} s left", flush=True)


def _line(metrics: Mapping[str, float], rate: float) -> str:
    parts = [f"{name} {metrics[name]:.2f}" for name in ("elbo", "rate", "distortion")]
    for name in metrics:
        if name.startswith("average/"):
            parts.append(f"{name.removeprefix('average/')} {metrics[name]:+.2f}")
        if name.startswith("multiplier/"):
            parts.append(f"λ {metrics[name]:.4g}")
    return "  ".join([*parts, f"{rate:.0f} steps/s"])


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
    """The figures of report.json as a table, and its sentence on the bound."""
    table = Table(title=f"{report['experiment']}, step {report['step']}, test set (nats)")
    for column, justify in (("", "left"), ("value", "right"), ("± s.e.", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    likelihood = report["log_likelihood"]
    table.add_row(
        "log p(x)", f"{likelihood['mean']:.2f}", f"{likelihood['standard_error']:.2f}",
        f"{likelihood['num_samples']} samples on {likelihood['num_test']} images, effective "
        f"{likelihood['effective_sample_size']:.0f}",
    )  # fmt: skip
    for name in ("elbo", "rate", "distortion"):
        value = report[name]
        table.add_row(name, f"{value['mean']:.2f}", f"{value['standard_error']:.2f}", "")
    units = ", ".join(
        f"{n} of {d}" for n, d in zip(report["active_units"], report["latent_dims"], strict=True)
    )
    table.add_row("active units", units, "", "")
    for name, constraint in report["constraints"].items():
        verdict = "met" if constraint["satisfied"] else "not met"
        table.add_row(
            f"constraint {name}", f"{constraint['value']:.4f}", "",
            f"κ = {constraint['kappa']:g}, {verdict} (training average "
            f"{constraint['train_value']:.4f})",
        )  # fmt: skip
        table.add_row(f"multiplier {name}", f"{report['multipliers'][name]:.4g}", "", "")
    console = Console()
    console.print(table)
    console.print(report["bound"])

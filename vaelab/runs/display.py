"""What a user sees: a progress bar, and tables. In a terminal, a file or a notebook."""

from __future__ import annotations

import collections
import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vaelab.training.hooks import Hook, Metrics

_SECONDS_BETWEEN_LINES = 5.0

# Yields a function that shows (step, text), and closes what it shows at its end.
Shown = Generator[Callable[[int, str], None], None, None]


def in_notebook() -> bool:
    """True inside a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class TrainingProgress(Hook):
    """Shows step, metrics, steps per second and the time left: a bar, one line in a notebook, or lines.

    Metrics are means over the latest steps. C(name) is the moving average of a constraint: it is met if
    C(name) ≤ 0.
    """

    def __init__(self, what: str, num_steps: int, first_step: int):
        self._what, self._num_steps, self._first_step = what, num_steps, first_step
        self._times: collections.deque[tuple[float, int]] = collections.deque(maxlen=20)
        self._metrics: dict[str, float] = {}
        self._show = _bar if Console().is_terminal else _lines
        if in_notebook():
            self._show = _notebook_line
        self._update: Callable[[int, str], None]

    def announce(self, place: str, resumed: bool, repeats: bool = False) -> None:
        """Says what is trained, where, and from which step. `repeats`: later steps are made once more."""
        where = f" in {place}" if place else ""
        if resumed:
            validation = ", the last validation" if repeats else ""
            print(f"continuing {self._what}{where} from step {self._first_step}{validation}")
        elif repeats:
            print(
                f"training {self._what}{where} again from step 0: the shorter run ended before its first "
                "validation"
            )
        elif place:
            print(f"training {self._what}{where}")

    def __enter__(self) -> TrainingProgress:
        self._shown = self._show(self._num_steps, self._first_step)
        self._update = next(self._shown)
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        with np.errstate(invalid="ignore"):
            means = {name: float(np.mean(v)) for name, v in metrics.items()}
            means["nonfinite"] = self._metrics.get("nonfinite", 0.0) + means.get("nonfinite", 0.0)
            self._metrics.update(means)
        if self._times and step <= self._times[-1][1]:  # a validation: shown with the next step
            return
        now = time.monotonic()
        self._times.append((now, step))
        since, first = self._times[0]
        text = _line(self._metrics)
        if step > first:  # the first dispatch is left out: it contains the compilation
            rate = (step - first) / max(now - since, 1e-9)
            text += f"  {rate:.0f} steps/s, {(self._num_steps - step) / rate:.0f} s left"
        self._update(step, text)


def _bar(num_steps: int, first_step: int) -> Shown:
    console = Console()
    columns = [BarColumn(20)] if console.width >= 100 else []
    text = TextColumn("{task.completed}/{task.total}  {task.fields[text]}")
    with Progress(*columns, text, console=console) as bar:
        task = bar.add_task("", total=num_steps, completed=first_step, text="compiling")
        yield lambda step, text: bar.update(task, completed=step, text=text)


def _lines(num_steps: int, first_step: int) -> Shown:
    last = first_step and -_SECONDS_BETWEEN_LINES

    def update(step: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES or step == num_steps:
            last = now
            print(f"{step}/{num_steps}  {text}", flush=True)

    yield update


def _notebook_line(num_steps: int, first_step: int) -> Shown:
    from IPython.display import HTML, display

    handle = display(HTML("compiling"), display_id=True)

    def update(step: int, text: str) -> None:
        bar = f'<progress value="{step}" max="{num_steps}"></progress>'
        handle.update(HTML(f"{bar} {step}/{num_steps} &nbsp; <code>{text}</code>"))

    yield update


def _line(metrics: Mapping[str, float]) -> str:
    shown = [name for name in ("elbo", "rate", "distortion") if name in metrics]
    parts = [f"{name} {metrics[name]:.1f}" for name in shown or ["loss"]]
    if metrics.get("nonfinite"):
        parts.append(f"not finite {metrics['nonfinite']:g}")
    for name, value in metrics.items():
        if name.startswith("average/"):
            parts.append(f"C({name.removeprefix('average/')}) {value:+.3g}")
        if name.startswith("multiplier/"):
            parts.append(f"λ {value:.4g}")
    return " ".join(parts)


def track(description: str) -> Callable[[Sequence[int]], Iterator[int]]:
    """A progress wrapper for evaluations: batches -> the same batches, shown in a terminal."""

    def wrap(batches: Sequence[int]) -> Iterator[int]:
        console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            yield from bar.track(batches, description=description)

    return wrap


def say(sentences: Sequence[str]) -> None:
    """Prints sentences for the user."""
    for sentence in sentences:
        print(f"note: {sentence}")


def show(*parts: Any) -> None:
    """Prints tables and sentences."""
    console = Console()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def as_text(*tables: Any) -> str:
    """Tables as plain text of 100 columns."""
    console = Console(
        file=io.StringIO(), width=100, force_jupyter=False, force_terminal=False, color_system=None
    )
    for table in tables:
        console.print(table)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def as_html(*tables: Table) -> str:
    """Tables as HTML, for notebooks."""
    return "".join(map(_html, tables))


def _html(table: Table) -> str:
    columns = table.columns
    cells = [[_plain(cell) for cell in column.cells] for column in columns]
    head = "".join(f"<th>{_plain(column.header)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:{c.justify}">{v}</td>' for c, v in zip(columns, row, strict=True)) + "</tr>"
        for row in zip(*cells, strict=True)
    )  # fmt: skip
    notes = "" if table.caption is None else f"<p>{_plain(table.caption)}</p>"
    title = "" if table.title is None else f"<b>{_plain(table.title)}</b>"
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _plain(cell: Any) -> str:
    text = cell.plain if isinstance(cell, Text) else str(cell)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str | None = None
) -> Table:
    """A table of texts. The first column is aligned to the left, the others to the right."""
    made = Table(title=Text(title), caption=None if caption is None else Text(caption))
    for index, column in enumerate(columns):
        made.add_column(Text(column), justify="right" if index else "left")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def with_error(mean: float, error: float, digits: int = 2) -> str:
    """A number and its standard error.

    >>> with_error(-84.416, 0.223)
    '-84.42 ± 0.22'
    """
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def estimates_table(title: str, caption: str | None = None) -> Table:
    """A table of numbers with standard errors: name, value, ± s.e., meaning."""
    made = table(title, ("", "value", "± s.e.", ""), (), caption)
    made.caption_justify = "left"
    for column in made.columns[:3]:
        column.no_wrap = True
    made.columns[3].justify = "left"
    return made

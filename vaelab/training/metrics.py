"""Metrics on disk: one JSON object a line, and TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Mapping

from etils import epath
from tensorboardX import SummaryWriter


class MetricsLog:
    """Appends rows to `metrics.jsonl` and TensorBoard events below one directory.

    `resume_step` is the step that training goes on from: rows after it, which an interrupted run
    left, are dropped, so that the file is the same as an uninterrupted run's. Without `events` there
    is only the file.
    """

    def __init__(self, directory: epath.PathLike, *, resume_step: int = 0, events: bool = True):
        self._path = epath.Path(directory) / "metrics.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_metrics(directory) if row["step"] <= resume_step]
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        partial.replace(self._path)  # a run killed here keeps the old rows
        self._events = None
        if events:
            folder = str(epath.Path(directory) / "tensorboard")
            self._events = SummaryWriter(folder, purge_step=resume_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step} | {name: float(value) for name, value in values.items()}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, float(value), step)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def read_metrics(directory: epath.PathLike) -> list[dict[str, float]]:
    """The rows of a run's `metrics.jsonl`; a last line cut off by an interruption is left out."""
    path = epath.Path(directory) / "metrics.jsonl"
    if not path.exists():
        return []
    *lines, rest = path.read_text().split("\n")
    del rest  # empty, or a line whose end was never written
    return [json.loads(line) for line in lines]

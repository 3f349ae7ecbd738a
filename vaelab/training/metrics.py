"""Metrics on disk: one JSON object per line, and TensorBoard events."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence

from etils import epath
from tensorboardX import SummaryWriter

from vaelab.untrusted import parse_json


class MetricsLog:
    """Appends rows to `metrics.jsonl` and TensorBoard events below one directory.

    The file starts with `rows`, those until the step at which training resumes. Later rows, which an
    interrupted run left, are dropped. Without `events` there is only the file.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        rows: Sequence[Mapping[str, float]] = (),
        *,
        events: bool = True,
    ):
        self._path = write_metrics(directory, rows)
        self._events = None
        if events:
            folder = str(epath.Path(directory) / "tensorboard")
            last = int(rows[-1]["step"]) if rows else 0
            self._events = SummaryWriter(folder, purge_step=last + 1)

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


def write_metrics(directory: epath.PathLike, rows: Sequence[Mapping[str, float]]) -> epath.Path:
    """Writes a whole `metrics.jsonl`, and returns its path. An interruption leaves the old file."""
    path = epath.Path(directory) / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # a link in a folder from elsewhere would lead out of it
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    partial.replace(path)
    return path


def read_metrics(directory: epath.PathLike) -> list[dict[str, float]]:
    """The rows of `metrics.jsonl`. The last line is left out if an interruption cut it off.

    Other lines that are no rows are dropped with a warning.
    """
    path = epath.Path(directory) / "metrics.jsonl"
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")  # the last one is empty, or was never finished
    rows, dropped = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = parse_json(line)
            rows.append({"step": _step(row.pop("step")), **{n: _number(v) for n, v in row.items()}})
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            dropped.append(number)
    if dropped:
        warnings.warn(
            f"{path} is damaged in line {dropped[0]}: {len(dropped)} lines are dropped.",
            stacklevel=2,
        )
    return rows


def _step(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise TypeError("a step is a whole number")
    return value


def _number(value: object) -> float:
    if type(value) is int or type(value) is float:
        return float(value)
    raise TypeError("a metric is a number")

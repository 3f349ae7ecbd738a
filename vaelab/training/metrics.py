"""Metrics on disk: one JSON object per line, and TensorBoard events."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from vaelab import processes
from vaelab.checks import counted
from vaelab.storage import is_remote, make_folder, writing
from vaelab.untrusted import parse_json


class MetricsLog:
    """Appends rows to `metrics.jsonl` and TensorBoard events below one directory.

    The file starts with `rows`, those until the step at which training resumes. Later rows, which an
    interrupted run left, are dropped. Without `events` there is only the file. A bucket has no append: `flush`
    writes the whole file there, and copies the events. Only the primary process writes.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        rows: Sequence[Mapping[str, float]] = (),
        *,
        events: bool = True,
    ):
        self._path = write_metrics(directory, rows)
        self._lines = list(map(_line, rows)) if is_remote(self._path) else None
        self._events: Any = None
        self._events_here: tempfile.TemporaryDirectory | None = None
        if events and processes.is_primary():
            from tensorboardX import SummaryWriter  # its import takes a sixth of a second

            self._events_folder = self._path.parent / "tensorboard"
            folder = str(self._events_folder)
            if is_remote(folder):
                self._events_here = tempfile.TemporaryDirectory(prefix="vaelab-events-")
                folder = self._events_here.name
            last = int(rows[-1]["step"]) if rows else 0
            # Files of the same second have the same name.
            self._events = SummaryWriter(folder, purge_step=last + 1, filename_suffix=f".{last}")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if not processes.is_primary():
            return
        line = _line({"step": step} | {name: float(value) for name, value in values.items()})
        if self._lines is None:
            with self._path.open("a") as file:
                file.write(line)
        else:
            self._lines.append(line)
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, float(value), step)

    def flush(self) -> None:
        """Writes what a bucket does not hold yet. To be called before a checkpoint of the same step."""
        if self._lines is None or not processes.is_primary():
            return
        self._path.write_bytes("".join(self._lines).encode())
        if self._events is not None and self._events_here is not None:
            self._events.flush()
            for path in epath.Path(self._events_here.name).iterdir():
                (self._events_folder / path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        try:
            self.flush()
        finally:
            if self._events is not None:
                self._events.close()
            if self._events_here is not None:
                self._events_here.cleanup()


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(row) + "\n"


def write_metrics(directory: epath.PathLike, rows: Sequence[Mapping[str, float]]) -> epath.Path:
    """Writes a whole `metrics.jsonl`, and returns its path. An interruption leaves the old file."""
    path = epath.Path(directory) / "metrics.jsonl"
    if not processes.is_primary():
        return path
    make_folder(path.parent)
    with writing(path) as file:
        file.writelines(map(_line, rows))
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
            f"{path} is damaged in line {dropped[0]}: {counted(len(dropped), 'line')} will be missing from the "
            "curves.",
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

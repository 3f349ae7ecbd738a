"""Measured numbers of experiments: what a file such as `results.json` holds, and how rows are added.

A file maps the name of a table to its rows. A row is what one experiment came to, over one or several
seeds, at one commit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from vaelab.runs.files import read_typed
from vaelab.storage import writing


class Estimate(NamedTuple):
    """A measured number. At most one of `standard_error`, `deviation` and `interval` is present."""

    mean: float
    standard_error: float | None = None  # over test examples, for one seed
    deviation: float | None = None  # standard deviation over seeds
    interval: tuple[float, float] | None = None  # 95 % confidence interval over seeds
    num_samples: int | None = None  # importance samples per example
    num_test: int | None = None  # test examples


class Published(NamedTuple):
    """The number that the literature reports for log p(x) of the whole protocol."""

    mean: float
    source: str
    deviation: float | None = None  # over seeds


class Row(NamedTuple):
    """The numbers of one experiment."""

    experiment: str
    estimates: Mapping[str, Estimate]
    changes: Mapping[
        str, Any
    ] = {}  # overridden fields by dotted name; empty for the whole protocol
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None  # training steps made
    epochs: float | None = None
    tolerance: Mapping[
        str, float
    ] = {}  # by estimate: largest difference of a repeated run elsewhere
    seconds: float | None = None  # wall time of all seeds
    hardware: str = ""
    commit: str = ""
    published: Published | None = None
    reference: str = ""  # what the experiment is compared with, in a table of comparisons
    note: str = ""


Results = dict[str, list[Row]]


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate as it is; several as their mean and their standard deviation over seeds.

    >>> over_seeds([Estimate(-84.0, 0.3), Estimate(-86.0, 0.3)])[:3]
    (-85.0, None, 1.4142135623730951)
    """
    if len(estimates) == 1:
        return estimates[0]
    means = [estimate.mean for estimate in estimates]
    return estimates[0]._replace(
        mean=float(np.mean(means)), standard_error=None, deviation=float(np.std(means, ddof=1))
    )


def merge(rows: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The rows with the new ones: each takes the place of the row that it repeats, or comes last.

    A row repeats another if experiment, reference, changes and seeds are equal. At the same commit it keeps
    the tolerance and the note. At another commit it stands beside a row with a tolerance, which is a test's.
    The published number of an experiment is that of its earlier rows.

    >>> [row.note for row in merge([Row("a", {}, note="mine"), Row("b", {})], [Row("a", {})])]
    ['mine', '']
    """
    merged = list(rows)
    for row in new:
        published = [old.published for old in merged if old.experiment == row.experiment]
        row = row._replace(published=next(filter(None, [row.published, *published]), None))
        repeated = [i for i, old in enumerate(merged) if _identity(old) == _identity(row)]
        same = [i for i in repeated if merged[i].commit == row.commit]
        older = [i for i in repeated if not merged[i].tolerance]
        if same:
            old = merged[same[0]]
            row = row._replace(tolerance=row.tolerance or old.tolerance, note=row.note or old.note)
        if places := same or older:
            merged[places[0]] = row
        else:
            merged.append(row)
    return merged


def read(path: str | os.PathLike[str]) -> Results:
    """The tables of a file.

    Raises:
      DamagedFileError: the file holds no results.
    """
    return read_typed(Results, epath.Path(path))


def write(path: str | os.PathLike[str], results: Results) -> None:
    """Writes a file that `read` reads: one line per field, so that a change is easy to review."""
    tables = []
    for table, rows in results.items():
        lines = [[f"{_json(n)}: {_json(v)}" for n, v in _plain(row).items()] for row in rows]
        texts = ["\n  {" + ",\n   ".join(fields) + "}" for fields in lines]
        tables.append(f" {_json(table)}: [" + ",".join(texts) + "\n ]")
    with writing(epath.Path(path), "wb") as file:
        file.write(("{\n" + ",\n".join(tables) + "\n}\n").encode())


def _identity(row: Row) -> tuple[Any, ...]:
    return row.experiment, row.reference, dict(row.changes), tuple(row.seeds)


def _plain(value: Any) -> Any:
    """NamedTuples as objects, without the fields that have their defaults."""
    if hasattr(value, "_asdict"):
        fields, defaults = value._asdict(), value._field_defaults
        return {n: _plain(v) for n, v in fields.items() if n not in defaults or v != defaults[n]}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

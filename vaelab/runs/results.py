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

from vaelab.checks import DamagedFileError


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

    A row repeats another if experiment, reference, changes, seeds and commit are equal.

    >>> [row.note for row in merge([Row("a", {}), Row("b", {})], [Row("a", {}, note="new")])]
    ['new', '']
    """
    merged = list(rows)
    for row in new:
        places = [i for i, old in enumerate(merged) if _identity(old) == _identity(row)]
        if places:
            merged[places[0]] = row
        else:
            merged.append(row)
    return merged


def read(path: str | os.PathLike[str]) -> Results:
    """The tables of a file.

    Raises:
      DamagedFileError: the file holds no results.
    """
    text = epath.Path(path).read_text()
    try:
        return {table: [_row(row) for row in rows] for table, rows in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(f"{path} holds no results ({error}): restore the file.") from error


def write(path: str | os.PathLike[str], results: Results) -> None:
    """Writes a file that `read` reads: one line per field, so that a change is easy to review."""
    tables = []
    for table, rows in results.items():
        texts = [_text(row) for row in rows]
        tables.append(f" {_json(table)}: [" + ",".join(f"\n  {text}" for text in texts) + "\n ]")
    target = epath.Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_text("{\n" + ",\n".join(tables) + "\n}\n")
    partial.replace(target)


def _identity(row: Row) -> tuple[Any, ...]:
    return row.experiment, row.reference, dict(row.changes), tuple(row.seeds), row.commit


def _row(fields: dict[str, Any]) -> Row:
    estimates = {name: _estimate(value) for name, value in fields["estimates"].items()}
    published = fields.get("published")
    return Row(
        **fields
        | {"estimates": estimates, "seeds": tuple(fields.get("seeds", (0,)))}
        | {"published": None if published is None else Published(**published)}
    )


def _estimate(fields: dict[str, Any]) -> Estimate:
    interval = fields.get("interval")
    return Estimate(**fields | {"interval": None if interval is None else tuple(interval)})


def _text(row: Row) -> str:
    """A row as JSON without the fields that have their defaults."""
    fields = _without_defaults(row)
    fields["estimates"] = {name: _without_defaults(e) for name, e in row.estimates.items()}
    if row.published is not None:
        fields["published"] = _without_defaults(row.published)
    lines = [f"{_json(name)}: {_json(value)}" for name, value in fields.items()]
    return "{" + ",\n   ".join(lines) + "}"


def _without_defaults(value: Any) -> dict[str, Any]:
    missing = object()
    defaults = value._field_defaults
    return {n: v for n, v in value._asdict().items() if v != defaults.get(n, missing)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

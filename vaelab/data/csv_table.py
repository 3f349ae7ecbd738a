"""Tables of numbers in csv files."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings

import numpy as np
from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import reading
from vaelab.untrusted import printable


def read_csv(
    path: epath.PathLike, *, label_column: str | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """x [N, D] float64, and the label column [N] or None.

    Labels are int64 if every label is written as an integer, and float64 if one of them has a decimal
    point or an exponent. Names of classes are numbered in alphabetical order, with a warning that says so.
    The first line holds the names of the columns if no cell of it is a number.

    Raises:
      UsageError: text, an empty cell or a row of another length, with its line and column; no such
        label column.
    """
    path = epath.Path(path)
    with reading(path):
        text = path.read_text(encoding="utf-8")
        text = text.removeprefix("\ufeff")  # the byte-order mark of spreadsheets
        lines = list(csv.reader(io.StringIO(text)))
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    names = None
    if numbered and all(_number(cell) is None for cell in numbered[0][1]):
        names = [cell.strip() for cell in numbered.pop(0)[1]]
    if not numbered:
        raise UsageError(f"{path} holds no row of numbers: give it one row for each example.")
    width = len(names or numbered[0][1])
    names = names or [str(column + 1) for column in range(width)]
    shown = [printable(name) for name in names]
    if label_column is not None and label_column not in names:
        raise UsageError(
            f"{path} has no column {label_column!r}: label_column must be one of {', '.join(shown)}."
        )
    index = None if label_column is None else names.index(label_column)
    for (
        number,
        line,
    ) in numbered:  # before the table is made: one long line may have many short ones
        if len(line) != width:
            raise UsageError(
                f"{path}, line {number} has {len(line)} values, and the first line has {width}: give every "
                "row one value for each column."
            )
    table = np.empty((len(numbered), width))
    for row, (number, line) in zip(table, numbered, strict=True):
        for column, cell in enumerate(line):
            value = 0.0 if column == index else _number(cell)
            if value is None or not math.isfinite(value):
                what = f"holds '{printable(cell.strip())}'" if cell.strip() else "is empty"
                raise UsageError(
                    f"{path}, line {number}, column {shown[column]} {what}: put a finite number there, or "
                    "remove the line."
                )
            row[column] = value
    if index is None:
        return table, None
    return np.delete(table, index, axis=1), _labels(path, numbered, index, names[index])


def _labels(
    path: epath.Path, numbered: list[tuple[int, list[str]]], index: int, name: str
) -> np.ndarray:
    """The cells of one column as classes or as targets, [N]."""
    cells = [line[index].strip() for _, line in numbered]
    for (number, _), cell in zip(numbered, cells, strict=True):
        if not cell:
            raise UsageError(
                f"{path}, line {number}, column {printable(name)} is empty: put a label there."
            )
    if all(re.fullmatch(r"[+-]?\d{1,18}", cell) for cell in cells):
        return np.array([int(cell) for cell in cells])
    values = [_number(cell) for cell in cells]
    numbers = [value for value in values if value is not None]
    if len(numbers) == len(cells):
        return np.array(numbers)
    if numbers:
        number = next(n for (n, _), value in zip(numbered, values, strict=True) if value is None)
        raise UsageError(
            f"{path}, line {number}, column {printable(name)} holds a word, and other lines hold numbers: give all "
            "labels as numbers, or all as names."
        )
    classes, labels = np.unique(cells, return_inverse=True)
    shown = ", ".join(f"{printable(each)} {place}" for place, each in enumerate(classes[:10]))
    warnings.warn(
        f"{path}: the classes of column {printable(name)} are numbered: {shown}.", stacklevel=4
    )
    return labels


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python reads 1_000
    except ValueError:
        return None

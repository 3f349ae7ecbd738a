"""Data of any form as a data set."""

from __future__ import annotations

import os
from typing import Any

from vaelab.checks import UsageError
from vaelab.data.arrays import Arrays
from vaelab.data.dataset import DataSet
from vaelab.data.own_files import Files
from vaelab.types import Examples, Splits


def as_data_set(value: Any) -> DataSet:
    """A data set of what is given. Everything but a path is read and checked at once.

    - a data set: itself.
    - an array [N, *event] of any library, a table, or nested lists: `Arrays(x)`.
    - a pair (x, labels), or `Examples`: `Arrays` with labels, context and groups.
    - `Splits`: `Arrays` that loads the same three parts.
    - a path: `Files`.

    Raises:
      UsageError: something else, or data that `Arrays` refuses.

    >>> as_data_set([[0.0, 1.0]] * 20)
    Arrays(float32 (20, 2), sha256 ...)
    >>> as_data_set("faces.npz")
    Files(path='faces.npz', ...)
    """
    if isinstance(value, DataSet):
        return value
    if isinstance(value, str | os.PathLike):
        return Files(os.fspath(value))
    if isinstance(value, Splits):
        return Arrays.of(value)
    if isinstance(value, Examples):
        return Arrays(value.x, value.labels, context=value.context, groups=value.groups)
    if isinstance(value, tuple) and len(value) == 2:
        return Arrays(*value)
    if (
        isinstance(value, type)
        or not hasattr(value, "__len__")
        or isinstance(value, bytes | dict | set)
    ):
        what = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise UsageError(
            "data must be a data set, an array [N, *event], a pair (x, labels), Examples, Splits or a "
            f"path, got {what}."
        )
    return Arrays(value)

"""array_record files, whose records are read in any order."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from typing import Any

import numpy as np
from etils import epath

from vaelab import npy
from vaelab.checks import MissingPackageError, UsageError
from vaelab.data.conversion import as_floats, as_integers
from vaelab.data.files import reading
from vaelab.data.image_folder import decode_image
from vaelab.streams import Stream
from vaelab.types import Examples

_NPZ = b"PK"
_REMEDY = "write each example as an npy, npz, PNG or JPEG file into a record of its own"


class Records(Stream):
    """The examples of array_record files, one in each record.

    A record is the content of a file: `.npy` with x; `.npz` with x and optional labels, context and groups;
    PNG or JPEG. All have one shape.

    Args:
      path: a file, or a folder of files, which are read in alphabetical order.
    """

    def __init__(self, path: epath.Path):
        self._path = path

    @property
    def num_examples(self) -> int:
        return len(self._source)

    def rows(self, rows: np.ndarray) -> Examples:
        with reading(self._path, _REMEDY):
            contents = [self._source[int(row)] for row in rows]
        examples = [self._example(each, row) for each, row in zip(contents, rows, strict=True)]
        columns = zip(*examples, strict=True)
        x, labels, context, groups = (
            None if leaves[0] is None else np.stack(leaves) for leaves in columns
        )
        return Examples(
            x if x is not None and x.dtype == np.uint8 else self._floats("x", x),
            None if labels is None else self._numbers("labels", labels),
            None if context is None else self._floats("context", context),
            None if groups is None else as_integers(f"{self._path}: groups", groups),
        )

    def _example(self, content: bytes, row: int) -> Examples:
        with reading(f"{self._path}, record {row},", _REMEDY):
            if content.startswith(_NPZ):
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    example = Examples(**npy.read_arrays(archive, npy.names_of(archive)))
            elif content.startswith(npy.MAGIC):
                example = Examples(npy.read_array(io.BytesIO(content), len(content)))
            else:
                example = Examples(decode_image(io.BytesIO(content)))
        if row == 0:
            return example
        for name, leaf, first in zip(Examples._fields, example, self._first, strict=True):
            if np.shape(leaf) != np.shape(first) or (leaf is None) != (first is None):
                raise UsageError(
                    f"{self._path}: {name} of record {row} has the shape {np.shape(leaf)}, and that of "
                    f"record 0 has {np.shape(first)}: give all examples one shape."
                )
            if leaf is not None and leaf.dtype != first.dtype:
                raise UsageError(
                    f"{self._path}: {name} of record {row} is {leaf.dtype}, and that of record 0 is "
                    f"{first.dtype}: give all examples one type."
                )
        return example

    def _floats(self, name: str, values: Any) -> np.ndarray:
        return as_floats(f"{self._path}: {name}", values)[0]

    def _numbers(self, name: str, values: np.ndarray) -> np.ndarray:
        """Classes as int32, targets as float32."""
        if values.dtype.kind in "biu":
            return as_integers(f"{self._path}: {name}", values)
        return self._floats(name, values)

    @functools.cached_property
    def _first(self) -> Examples:
        return self._example(self._source[0], 0)

    @functools.cached_property
    def _source(self) -> Any:
        try:
            from array_record.python.array_record_data_source import ArrayRecordDataSource
        except ModuleNotFoundError as error:
            raise MissingPackageError.of(error, "array_record files") from error
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        with reading(self._path):
            return ArrayRecordDataSource([os.fspath(file) for file in files])

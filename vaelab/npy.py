"""Arrays in npy and npz files. Nothing is unpickled, and sizes are checked before an array is made."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from vaelab.untrusted import check_size, printable, without_warnings

MAGIC = b"\x93NUMPY"


class PickledError(ValueError):
    """An array of Python objects, which only pickle reads."""


def read_array(file: IO[bytes], num_bytes: int) -> np.ndarray:
    """The array of an npy file of this length.

    Raises:
      PickledError: it holds objects.
      ValueError: it is damaged, or larger than the file.
    """
    with without_warnings():  # of headers that earlier versions wrote
        check_size(_checked_size(file, num_bytes))
        return np.lib.format.read_array(file, allow_pickle=False)


def mapped_array(file: IO[bytes], path: str) -> np.ndarray:
    """The array of an open npy file at this path of this machine, mapped into the memory, to be read.

    Raises:
      PickledError: it holds objects.
      ValueError: it is damaged, or larger than the file.
    """
    with without_warnings():
        _checked_size(file, os.path.getsize(path))
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _checked_size(file: IO[bytes], num_bytes: int) -> int:
    """The bytes of the array of an npy file of this length, whose header is checked. The file is at its start."""
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError("it is no npy file")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"the version {version} of npy is not that of an array of numbers")
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    try:
        shape, _, dtype = read_header(file)
    except Exception:  # of many types, with the values of a parser's own objects
        raise ValueError("its header is damaged") from None
    if dtype.hasobject:
        raise PickledError("it holds pickled objects")
    size = math.prod(shape) * dtype.itemsize
    if not dtype.itemsize or any(length < 0 for length in shape):
        raise ValueError(f"the type {dtype} and the shape {shape} are those of no array")
    if size > num_bytes - file.tell():
        raise ValueError(
            f"its header says {dtype} of the shape {printable(str(shape))}, and {num_bytes - file.tell()} "
            "bytes follow"
        )
    file.seek(0)
    return size


def names_of(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays of an npz file.

    Raises:
      ValueError: two arrays have one name.
    """
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"two arrays have the name {printable(twice)}")
    return names


def read_arrays(archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names in an npz file.

    Raises:
      PickledError: one holds objects; the message is its name.
      ValueError: one is damaged, or they do not fit into memory.
    """
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    check_size(sum(members[name].file_size for name in names))
    found = {}
    for name in names:
        with archive.open(members[name]) as file:
            try:
                found[name] = read_array(file, members[name].file_size)
            except PickledError:
                raise PickledError(name) from None
    return found

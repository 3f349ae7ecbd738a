"""Readers of npz, npy, MATLAB and idx files. Every error is a sentence that names the file."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, cast

import numpy as np
from etils import epath

from vaelab import npy
from vaelab.checks import DamagedFileError
from vaelab.data.files import FETCH_AGAIN, reading
from vaelab.untrusted import check_size, printable, read_at_most

_UINT8 = b"\x00\x00\x08"  # first bytes of an idx file of unsigned bytes
_GZIP = b"\x1f\x8b"
_MATLAB_NUMBERS = (
    "double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "logical",
)  # fmt: skip


def read_npz(
    path: epath.PathLike, names: Sequence[str], remedy: str = FETCH_AGAIN
) -> dict[str, np.ndarray]:
    """The arrays of these names in an npz file. Pickled objects are refused, never unpickled.

    Raises:
      DamagedFileError: the file is not npz, is damaged, or lacks one of the arrays.
    """
    path = epath.Path(path)
    with _opened_npz(path, remedy) as archive:
        there = npy.names_of(archive)
        if missing := [name for name in names if name not in there]:
            others = ", ".join(map(printable, there[:20])) or "none at all"
            raise DamagedFileError(
                f"{path} has no array {printable(missing[0])}, only {others}: {remedy}."
            )
        try:
            return npy.read_arrays(archive, names)
        except npy.PickledError as error:
            raise _pickled(f"{path}: {printable(str(error))}") from None


def names_in_npz(path: epath.PathLike, remedy: str = FETCH_AGAIN) -> list[str]:
    """The names of an npz file's arrays."""
    with _opened_npz(epath.Path(path), remedy) as archive:
        return npy.names_of(archive)


def read_npy(
    path: epath.PathLike, remedy: str = FETCH_AGAIN, *, mapped: bool = False
) -> np.ndarray:
    """The array of an npy file, or the file of this machine mapped into the memory.

    Pickled objects are refused, never unpickled.
    """
    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        _check_begins(file, path, npy.MAGIC, "npy", remedy)
        try:
            if mapped:
                return npy.mapped_array(file, os.fspath(path))
            return npy.read_array(file, path.stat().length)
        except npy.PickledError:
            raise _pickled(path) from None


def read_mat(
    path: epath.PathLike, names: Sequence[str], remedy: str = FETCH_AGAIN
) -> dict[str, np.ndarray]:
    """The arrays of these names in a MATLAB file of version 4 to 7. Other variables are not read.

    Raises:
      DamagedFileError: the file is damaged, lacks one of the arrays, or holds something else under its name.
    """
    from scipy.io import loadmat, whosmat

    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        there = {name: (shape, kind) for name, shape, kind in whosmat(file)}  # headers alone
        if missing := [name for name in names if name not in there]:
            raise DamagedFileError(f"{path} has no array {missing[0]}: {remedy}.")
        for name in names:
            shape, kind = there[name]
            if kind not in _MATLAB_NUMBERS or any(length < 0 for length in shape):
                raise ValueError(f"{name} is no array of numbers")
            check_size(8 * math.prod(map(int, shape)))
        file.seek(0)
        arrays = loadmat(file, variable_names=list(names))
        if missing := [name for name in names if not isinstance(arrays.get(name), np.ndarray)]:
            raise ValueError(f"{missing[0]} is no array of numbers")
    return {name: arrays[name] for name in names}


def read_idx(path: epath.PathLike) -> np.ndarray:
    """The uint8 array of an idx file, LeCun's format for MNIST. Its bytes, not its name, tell if it is compressed.

    The content is the bytes 00 00 08, the number of axes, each axis as a big-endian 32-bit integer, then the values in
    row-major order.

    Raises:
      DamagedFileError: the file is not idx, not uint8, or its length differs from its header.
    """
    path = epath.Path(path)
    with reading(path), opened_gzip(path) as file:
        begin = file.read(4)
        num_axes = begin[3] if len(begin) > 3 else 0
        axes = file.read(4 * num_axes)
        if begin[:3] != _UINT8 or not num_axes or len(axes) < 4 * num_axes:
            raise DamagedFileError(
                f"{path} is no idx file of unsigned bytes, it begins with {begin.hex(' ') or 'nothing'}: "
                f"{FETCH_AGAIN}."
            )
        shape = struct.unpack(f">{num_axes}I", axes)
        size = math.prod(shape)
        check_size(size)
        content = read_at_most(file, size + 1)
        if len(content) != size:
            found = f"{len(content)}" if len(content) < size else f"more than {size}"
            raise DamagedFileError(
                f"{path} holds {found} values, and its header says {printable(str(shape))}: {FETCH_AGAIN}."
            )
        return np.frombuffer(content, np.uint8).reshape(shape)


@contextlib.contextmanager
def opened_gzip(path: epath.Path) -> Iterator[IO[bytes]]:
    """The content of a file, decompressed if its first bytes are those of gzip."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.open(file) as content:
            yield cast(IO[bytes], content)


def check_shape(
    path: epath.PathLike, name: str, array: np.ndarray, shape: tuple[int | None, ...], remedy: str
) -> None:
    """Raises unless the array of a file is uint8 of this shape. None stands for any length above 0.

    Raises:
      DamagedFileError: one sentence with the file and the array's name.
    """
    fits = array.ndim == len(shape) and all(
        have and expected in (None, have) for expected, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.uint8:
        expected_shape = ", ".join("N" if length is None else str(length) for length in shape)
        raise DamagedFileError(
            f"{path}: {name} must be uint8 [{expected_shape}], got {array.dtype} of the shape {array.shape}: "
            f"{remedy}."
        )


@contextlib.contextmanager
def _opened_npz(path: epath.Path, remedy: str) -> Iterator[zipfile.ZipFile]:
    with reading(path, remedy), path.open("rb") as file:
        _check_begins(file, path, b"PK", "npz", remedy)
        with zipfile.ZipFile(file) as archive:
            yield archive


def _pickled(what: object) -> DamagedFileError:
    return DamagedFileError(
        f"{what} holds pickled objects, which vaelab never reads because they can run code: save it as a "
        "plain array."
    )


def _check_begins(file, path: epath.Path, magic: bytes, kind: str, remedy: str) -> None:
    """Raises unless the file begins with these bytes: numpy treats any other file as a pickle."""
    begins = file.read(len(magic))
    file.seek(0)
    if begins != magic:
        first = repr(begins)[1:] if begins else "nothing, it is empty"
        raise DamagedFileError(f"{path} is no {kind} file, it begins with {first}: {remedy}.")

"""Readers of npz, npy, MATLAB and idx files. Every error is a sentence that names the file."""

from __future__ import annotations

import gzip
import math
import os
import struct
from collections.abc import Sequence

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError
from vaelab.data.files import FETCH_AGAIN, reading

_UINT8 = b"\x00\x00\x08"  # first bytes of an idx file of unsigned bytes
_GZIP = b"\x1f\x8b"


def read_npz(
    path: epath.PathLike, names: Sequence[str], remedy: str = FETCH_AGAIN
) -> dict[str, np.ndarray]:
    """The arrays of these names in an npz file. Pickled objects are refused, never unpickled.

    Raises:
      DamagedFileError: the file is not npz, is damaged, or lacks one of the arrays.
    """
    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        _check_begins(file, path, b"PK", "npz", remedy)
        with np.load(file, allow_pickle=False) as arrays:
            if missing := [name for name in names if name not in arrays]:
                raise DamagedFileError(
                    f"{path} has no array {missing[0]}, only {', '.join(arrays) or 'none at all'}: {remedy}."
                )
            return {name: _loaded(path, name, arrays, remedy) for name in names}


def names_in_npz(path: epath.PathLike, remedy: str = FETCH_AGAIN) -> list[str]:
    """The names of an npz file's arrays."""
    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        _check_begins(file, path, b"PK", "npz", remedy)
        with np.load(file, allow_pickle=False) as arrays:
            return list(arrays)


def read_npy(
    path: epath.PathLike, remedy: str = FETCH_AGAIN, *, mapped: bool = False
) -> np.ndarray:
    """The array of an npy file, or the file of this machine mapped into the memory.

    Pickled objects are refused, never unpickled.
    """
    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        _check_begins(file, path, b"\x93NUMPY", "npy", remedy)
        try:
            if mapped:
                return np.load(os.fspath(path), mmap_mode="r", allow_pickle=False)
            return np.load(file, allow_pickle=False)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise DamagedFileError(
                f"{path} holds pickled objects, which vaelab never reads because they can run code: save it "
                "as a plain array."
            ) from error


def read_mat(
    path: epath.PathLike, names: Sequence[str], remedy: str = FETCH_AGAIN
) -> dict[str, np.ndarray]:
    """The arrays of these names in a MATLAB file of version 4 to 7.

    Raises:
      DamagedFileError: the file is damaged, or lacks one of the arrays.
    """
    from scipy.io import loadmat

    path = epath.Path(path)
    with reading(path, remedy), path.open("rb") as file:
        arrays = loadmat(file)
    if missing := [name for name in names if name not in arrays]:
        raise DamagedFileError(f"{path} has no array {missing[0]}: {remedy}.")
    return {name: arrays[name] for name in names}


def read_idx(path: epath.PathLike) -> np.ndarray:
    """The uint8 array of an idx file, LeCun's format for MNIST. Its bytes, not its name, tell if it is compressed.

    The content is the bytes 00 00 08, the number of axes, each axis as a big-endian 32-bit integer, then the values in
    row-major order.

    Raises:
      DamagedFileError: the file is not idx, not uint8, or its length differs from its header.
    """
    path = epath.Path(path)
    with reading(path):
        content = path.read_bytes()
        if content[:2] == _GZIP:
            content = gzip.decompress(content)
    num_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_axes
    if content[:3] != _UINT8 or len(content) < start:
        raise DamagedFileError(
            f"{path} is no idx file of unsigned bytes, it begins with {content[:4].hex(' ') or 'nothing'}: "
            f"{FETCH_AGAIN}."
        )
    shape = struct.unpack(f">{num_axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DamagedFileError(
            f"{path} holds {len(content) - start} values, and its header says {shape}: {FETCH_AGAIN}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


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


def _loaded(path: epath.Path, name: str, arrays, remedy: str) -> np.ndarray:
    try:
        return arrays[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DamagedFileError(
                f"{path}: {name} holds pickled objects, which vaelab never reads because they can "
                "run code: save it as a plain array."
            ) from None
        raise


def _check_begins(file, path: epath.Path, magic: bytes, kind: str, remedy: str) -> None:
    """Raises unless the file begins with these bytes: numpy treats any other file as a pickle."""
    begins = file.read(len(magic))
    file.seek(0)
    if begins != magic:
        first = repr(begins)[1:] if begins else "nothing, it is empty"
        raise DamagedFileError(f"{path} is no {kind} file, it begins with {first}: {remedy}.")

"""Where data files are, and how idx files are read."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib

import numpy as np
from etils import epath

_UINT8 = b"\x00\x00\x08"  # how an idx file of unsigned bytes begins


def data_directory(data_dir: str | None = None) -> epath.Path:
    """Where data files are looked for: `data_dir`, else $VAELAB_DATA, else ~/.cache/vaelab.

    >>> data_directory("gs://bucket/data").name
    'data'
    """
    place = data_dir or os.environ.get("VAELAB_DATA") or "~/.cache/vaelab"
    return epath.Path(place).expanduser()


def find_file(name: str, data_dir: str | None = None, *, remedy: str) -> epath.Path:
    """The file `name` in the data directory; one that ends in .gz may also lie there unpacked.

    Raises:
      FileNotFoundError: one sentence: the file, where it was looked for, and `remedy`, how to get it.
    """
    directory = data_directory(data_dir)
    for candidate in (name, name.removesuffix(".gz")):
        if (path := directory / candidate).exists():
            return path
    raise FileNotFoundError(
        f"{name} was not found in {directory}: {remedy}, or name another folder with --data-dir or "
        "$VAELAB_DATA."
    )


def read_idx(path: epath.PathLike) -> np.ndarray:
    """The uint8 array of an idx file, compressed or not: LeCun's format for MNIST.

    Bytes 00 00 08, the number of axes, each axis as a big-endian 32-bit integer, then the values in
    row-major order.

    Raises:
      ValueError: the file is not idx, not uint8, or not as long as its header says.
    """
    path = epath.Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): fetch the file again.") from error
    num_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_axes
    if content[:3] != _UINT8 or len(content) < start:
        raise ValueError(
            f"{path} begins with the bytes {content[:4].hex(' ') or '(none)'}, which is no idx file of "
            "unsigned bytes: fetch the file again."
        )
    shape = struct.unpack(f">{num_axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(content) - start} values where its header says {shape}: fetch the "
            "file again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)

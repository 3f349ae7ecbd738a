"""Digests of files, which tell two contents of one path apart."""

from __future__ import annotations

import hashlib

from etils import epath

from vaelab.data.files import reading

_BELOW = ("*", "*/*", "*/*/*")  # part/class/image


def content_digest(path: epath.Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files below a folder."""
    if not path.is_dir():
        return _digest(path)
    below = (file for pattern in _BELOW for file in path.glob(pattern))
    files = sorted(file for file in below if file.is_file())
    lines = [f"{_digest(file)}  {file.relative_to(path)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(path: epath.Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

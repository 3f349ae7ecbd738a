"""Compiled programs on disk, so that the next process need not compile them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import warnings
import zlib
from typing import Any

import jax
from etils import epath

_LEAST_SECONDS = 0.2  # programs that compile faster are not kept
_MOST_BYTES = 2 * 2**30
_STAMP = "checked"  # younger files have not been checked


def keep_programs(folder: epath.PathLike | None = None) -> epath.Path | None:
    """Keeps the programs of this process in a folder, and takes those that earlier processes left there.

    The commands call it. In a program of your own, call it before anything is compiled: it changes the
    configuration of JAX for the whole process. It does nothing if JAX has a folder already
    ($JAX_COMPILATION_CACHE_DIR), if its cache is switched off (JAX_ENABLE_COMPILATION_CACHE=false), or if
    the folder cannot be written to. Of the programs in the folder, the oldest beyond 2 GiB are removed.

    Programs are machine code. So the folder must belong to the user, and nobody else may write to it.

    Args:
      folder: None takes $XDG_CACHE_HOME/vaelab/programs, else ~/.cache/vaelab/programs. Each type of
        processor has a folder of its own in it.

    Returns:
      The folder of this processor, None if nothing is kept.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return None
    if folder is None:
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = epath.Path(home) / "vaelab" / "programs"
    place = epath.Path(folder).expanduser() / _processor()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _private(place):
            return None
        tidy(place)
    except OSError:  # a cache is not worth an error
        return None
    config.update("jax_compilation_cache_dir", os.fspath(place))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    # A full disk, or a file that another process is just writing: the program is compiled.
    message = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", message=message)
    return place


def tidy(folder: epath.Path, most_bytes: int = _MOST_BYTES) -> None:
    """Removes files that a killed process left incomplete, and the oldest beyond `most_bytes`.

    JAX would never replace an incomplete file. Its own limit of the size needs a lock, and fails after
    such a file.
    """
    stamp = folder / _STAMP
    last = stamp.stat().mtime if stamp.exists() else -1
    stamp.write_text("")
    total = 0
    ages = {path: path.stat() for path in folder.glob("*-cache")}
    for path, age in sorted(ages.items(), key=lambda item: -item[1].mtime):
        total += age.length
        if total > most_bytes or (age.mtime >= last and not _complete(path)):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.unlink()


def _complete(path: epath.Path) -> bool:
    """False if a compressed file ends too early. Files of other compressions than zlib's count as complete."""
    content = path.read_bytes()
    if content[:1] not in (b"x", b""):
        return True
    decompress = zlib.decompressobj()
    try:
        decompress.decompress(content)
    except zlib.error:
        return False
    return decompress.eof


def _processor() -> str:
    """A name for the instructions of this processor: machine code for others may fail."""
    described = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        described += next((line for line in file if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _private(folder: epath.Path) -> bool:
    """True if the folder belongs to the user, and nobody else may write to it."""
    if os.name == "nt":  # the user's profile is private there
        return True
    status = os.stat(folder)
    return status.st_uid == os.getuid() and not status.st_mode & 0o022

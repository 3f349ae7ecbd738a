"""Files in folders and in buckets. A bucket has no append, no rename of its own and no empty folder."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

from vaelab import processes
from vaelab.checks import MissingPackageError, UsageError
from vaelab.untrusted import reason_of


class UnreachableError(UsageError):
    """A bucket that cannot be reached. The message names the folder and the reason."""


def is_remote(path: epath.PathLike) -> bool:
    """True for a path in a bucket.

    >>> is_remote("gs://bucket/run"), is_remote("runs/digits")
    (True, False)
    """
    return "://" in os.fspath(path)


def folder_at(path: epath.PathLike) -> epath.Path:
    """The path that a user named, with ~ expanded. A bucket must be reachable.

    Raises:
      MissingPackageError: the client of the bucket is not installed.
      UnreachableError: the bucket cannot be reached.
    """
    folder = epath.Path(path).expanduser()
    if not is_remote(folder):
        return folder
    with reaching(folder):
        folder.exists()
    return folder


@contextlib.contextmanager
def reaching(folder: epath.Path) -> Iterator[None]:
    """Turns what the client of a bucket raises into one sentence. FileNotFoundError passes unchanged.

    Raises:
      MissingPackageError: the client is not installed.
      UnreachableError: anything else that happens on the way to the bucket.
    """
    try:
        yield
    except (FileNotFoundError, UsageError):
        raise
    except ImportError as error:
        raise MissingPackageError(
            f"{folder} needs the client of its bucket (gcsfs for gs://), which is not installed: run "
            'python -m pip install "vaelab[tpu]".'
        ) from error
    except Exception as error:  # clients raise many kinds
        if not is_remote(folder) or getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise UnreachableError(
            f"{folder} cannot be reached ({type(error).__name__}: {reason_of(error)}): correct the name "
            "of the bucket, the rights or the network, and run the same command again."
        ) from error


@contextlib.contextmanager
def writing(path: epath.Path, mode: str = "w") -> Iterator[Any]:
    """A file that appears under its name when it is complete. A failure leaves the old file.

    Only the primary process writes it.
    """
    if processes.is_primary():
        with _writing(path, mode) as file:
            yield file
    else:
        yield io.BytesIO() if "b" in mode else io.StringIO()


@contextlib.contextmanager
def _writing(path: epath.Path, mode: str) -> Iterator[Any]:
    if is_remote(path):  # closing a file makes an object, also after an exception: write it at once
        file: Any = io.BytesIO() if "b" in mode else io.StringIO()
        yield file
        content = file.getvalue()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # a link in a folder from elsewhere would lead out of it
    try:
        with partial.open(mode) as file:
            yield file
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def make_folder(path: epath.Path) -> None:
    """Makes a folder and its parents. A bucket has none: its folders are parts of names."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def copy_folder(source: epath.Path, target: epath.Path, *, last: str) -> None:
    """Copies every file, in any process. The file `last`, at the top, is copied after all others: with it the copy is whole."""
    names = sorted(_files_below(source), key=lambda name: name == last)
    for name in names:
        make_folder((target / name).parent)
        with _writing(target / name, "wb") as file:
            file.write((source / name).read_bytes())


def remove_folder(path: epath.Path, *, first: str) -> None:
    """Removes a folder, its file `first` before all others: without it the rest counts for nothing."""
    (path / first).unlink(missing_ok=True)
    if path.exists():
        path.rmtree(missing_ok=True)


def _files_below(folder: epath.Path, prefix: str = "") -> Iterator[str]:
    for path in folder.iterdir():
        name = f"{prefix}{path.name}"
        if path.is_dir():
            yield from _files_below(path, f"{name}/")
        else:
            yield name

"""Where data files are. Every error of reading one is a sentence that names it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from etils import epath

from vaelab.checks import DamagedFileError, MissingFileError, MissingPackageError, UsageError
from vaelab.untrusted import reason_of, without_warnings

FETCH_AGAIN = "fetch the file again"


def data_directory(data_dir: str | None = None) -> epath.Path:
    """The folder of data files: `data_dir`, else $VAELAB_DATA, else ~/.cache/vaelab. ~ is expanded.

    >>> data_directory("gs://bucket/data").name
    'data'
    """
    place = data_dir or os.environ.get("VAELAB_DATA") or "~/.cache/vaelab"
    return epath.Path(place).expanduser()


def find_file(name: str, data_dir: str | None = None, *, remedy: str) -> epath.Path:
    """The file `name` in the data directory, also under a name that unpacking may give it.

    `a-idx3-ubyte.gz` may also be `a-idx3-ubyte` or `a.idx3-ubyte`, each with or without .gz.

    Raises:
      MissingFileError: there is no such file. `remedy` says how to get it.
      UsageError: a folder is in its place.
    """
    directory = data_directory(data_dir)
    plain = name.removesuffix(".gz")
    candidates = [name, plain, plain.replace("-idx", ".idx"), f"{plain.replace('-idx', '.idx')}.gz"]
    folders = []
    for path in (directory / candidate for candidate in dict.fromkeys(candidates)):
        with reading(path, "correct the path"):
            if path.is_dir():
                folders.append(path)
            elif path.is_file():  # a device or a pipe may have no end
                return path
    if folders:
        raise UsageError(f"{folders[0]} is a folder and must be a file: move it, and {remedy}.")
    raise MissingFileError(
        f"{name} was not found in {directory}: {remedy}, or name another folder with --data-dir or "
        "$VAELAB_DATA."
    )


@contextlib.contextmanager
def reading(path: epath.PathLike, remedy: str = FETCH_AGAIN) -> Iterator[None]:
    """Inside, every error of reading a file becomes one sentence with the file's name.

    Warnings of libraries are dropped: a file is either read or refused.

    Raises:
      DamagedFileError: the file cannot be read, or has other contents than expected.
      MissingPackageError: reading needs a package that is not installed.
    """
    try:
        with without_warnings():
            yield
    except (DamagedFileError, MissingPackageError):
        raise
    except ImportError as error:
        raise MissingPackageError(
            f"{path} cannot be read without the package {error.name}: install it."
        ) from error
    except MemoryError as error:
        raise DamagedFileError(
            f"{path} cannot be read ({reason_of(error)}): free memory, or use a smaller file."
        ) from error
    except PermissionError as error:
        raise DamagedFileError(
            f"{path} cannot be read ({reason_of(error)}): allow this user to read it."
        ) from error
    except Exception as error:  # libraries raise errors of many types
        raise DamagedFileError(f"{path} cannot be read ({reason_of(error)}): {remedy}.") from error


@contextlib.contextmanager
def naming(path: epath.PathLike) -> Iterator[None]:
    """Inside, a sentence about data becomes a sentence about the data of this file.

    Raises:
      DamagedFileError: the sentence, after the file's name.
    """
    try:
        yield
    except DamagedFileError:
        raise  # it names the file already
    except UsageError as error:
        raise DamagedFileError(f"{path}: {error}") from None

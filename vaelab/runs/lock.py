"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator

from etils import epath

from vaelab import processes
from vaelab.checks import UsageError
from vaelab.runs.lock_bucket import BucketLock
from vaelab.runs.lock_file import LockFile
from vaelab.storage import is_remote, make_folder

Check = Callable[[], None]


@contextlib.contextmanager
def held(folder: epath.Path) -> Iterator[Check]:
    """Makes the folder and holds it for this process. A lock of a dead process is taken over.

    Yields a function that raises a `UsageError` if another process has taken the folder. A folder that was
    made here, and that nothing was written to, is removed at the end.

    Raises:
      UsageError: the folder cannot be made, or another process holds it; the sentence names process,
        host and time.
    """
    local = not is_remote(folder)
    lock = LockFile(folder) if local else BucketLock(folder)
    made = [path for path in (folder, *folder.parents) if local and not path.exists()]
    try:
        with contextlib.ExitStack() as stack:
            with _writable(folder):
                make_folder(folder)
                stack.enter_context(lock.held())
            yield lock.check
    finally:
        for path in made:
            with contextlib.suppress(OSError, ValueError):  # it holds files
                path.rmdir()


@contextlib.contextmanager
def shared(folder: epath.Path) -> Iterator[Check]:
    """Holds the folder for the processes of one training, whose primary process holds the lock.

    Yields a function that raises in the primary process if another training has taken the folder.

    Raises:
      UsageError: as `held`, in all processes; or the processes see different folders.
    """
    with processes.in_primary(held(folder)) as check:
        if processes.count() > 1:
            with processes.agreeing_on_errors():
                _check_seen(folder / "lock.json")
        yield check or _check_nothing


def _check_nothing() -> None:
    """The check of a process that holds no lock."""


def _check_seen(path: epath.Path) -> None:
    """Raises if this process does not see the lock of the primary. A network drive may show it late."""
    for _ in range(20):
        if path.exists():
            return
        time.sleep(0.5)
    raise UsageError(
        f"workdir {path.parent} is not the same folder in all processes: choose one that all hosts share."
    )


@contextlib.contextmanager
def _writable(folder: epath.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(
            f"workdir {folder} cannot be written ({error.strerror or error}): correct the "
            "rights, or choose another workdir."
        ) from error

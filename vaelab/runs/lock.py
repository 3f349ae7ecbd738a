"""One process at a time in a folder. In a bucket this is best effort, with time stamps."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from etils import epath

from vaelab import processes
from vaelab.checks import UsageError, is_number
from vaelab.preemption import calling_before_exit
from vaelab.storage import is_remote, make_folder
from vaelab.untrusted import parse_json, printable

RENEWED, EXPIRES = 60.0, 300.0  # seconds, of a lock in a bucket


@contextlib.contextmanager
def held(folder: epath.Path) -> Iterator[None]:
    """Makes the folder and holds it for this process. A lock of a dead process is taken over.

    A folder that was made here, and that nothing was written to, is removed at the end. In a bucket two
    processes that start at the same moment may both believe that they hold it. The lock is renewed there each
    minute, so that the lock of a machine that is gone ends after `EXPIRES` seconds.

    Raises:
      UsageError: the folder cannot be made, or another process holds it; the sentence names process,
        host and time.
    """
    local = not is_remote(folder)
    made = [path for path in (folder, *folder.parents) if local and not path.exists()]
    try:
        with contextlib.ExitStack() as stack:
            with _writable(folder):
                make_folder(folder)
                stack.enter_context(_locked(folder))
            yield
    finally:
        for path in made:
            with contextlib.suppress(OSError, ValueError):  # it holds files
                path.rmdir()


@contextlib.contextmanager
def shared(folder: epath.Path) -> Iterator[None]:
    """Holds the folder for the processes of one training, whose primary process holds the lock.

    Raises:
      UsageError: as `held`, in all processes; or the processes see different folders.
    """
    with processes.in_primary(held(folder)):
        if processes.count() > 1:
            with processes.together():
                _check_seen(folder / "lock.json")
        yield


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
        raise UsageError(
            f"workdir {folder} cannot be written ({error.strerror or error}): free space, correct the "
            "rights, or choose another workdir."
        ) from error


@contextlib.contextmanager
def _locked(folder: epath.Path) -> Iterator[None]:
    path = folder / "lock.json"
    mine = {
        "process": os.getpid(),
        "started": _start_of(os.getpid()),
        "host": socket.gethostname(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with _taken_in_a_bucket(path, mine) if is_remote(path) else _taken(path, mine):
        yield


@contextlib.contextmanager
def _taken(path: epath.Path, mine: dict[str, Any]) -> Iterator[None]:
    _take(path, json.dumps(mine))
    try:
        with calling_before_exit(partial(path.unlink, missing_ok=True)):
            yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _taken_in_a_bucket(path: epath.Path, mine: dict[str, Any]) -> Iterator[None]:
    """The lock with the time at which it was renewed last: nobody else knows if this machine still runs."""
    ended = threading.Event()

    def content() -> str:
        return json.dumps(mine | {"renewed": time.time()})

    def is_mine() -> bool:
        holder = _read(path)
        return holder is not None and mine.items() <= holder.items()

    def renew() -> None:
        while not ended.wait(RENEWED):
            # A network that fails for a minute ends no training.
            with contextlib.suppress(Exception):
                if is_mine():
                    path.write_bytes(content().encode())

    _take(path, content())
    thread = threading.Thread(target=renew, daemon=True)
    thread.start()

    def release() -> None:
        if is_mine():
            path.unlink(missing_ok=True)

    try:
        with calling_before_exit(release):
            yield
    finally:
        ended.set()
        thread.join()
        release()


def _take(path: epath.Path, content: str) -> None:
    for _ in range(2):
        try:
            _create(path, content)
            return
        except FileExistsError:
            holder = _read(path)
            if holder is not None and _alive(holder):
                raise UsageError(
                    f"workdir {path.parent} is in use by process {holder['process']} on {printable(holder['host'])} "
                    f"since {printable(holder['since'])}: wait for it, or choose another workdir. If that process "
                    f"no longer runs, delete {path}."
                ) from None
            _remove(path, holder)
    raise UsageError(
        f"workdir {path.parent} is in use: another process took it at this moment: start the command again, or choose another workdir."
    )


def _create(path: epath.Path, content: str) -> None:
    """Writes a file that must not exist yet, and appears with its content."""
    if is_remote(path):  # there is no exclusive creation: this is the best there is
        if path.exists():
            raise FileExistsError
        path.write_bytes(content.encode())
        if path.read_bytes() != content.encode():
            raise FileExistsError
        return
    partial = f"{os.fspath(path)}.{os.getpid()}.partial"
    try:
        with open(partial, "w") as file:
            file.write(content)
        try:
            os.link(partial, os.fspath(path))
        except FileExistsError:
            raise
        except OSError:  # a mounted drive without hard links
            with open(os.fspath(path), "x") as file:
                file.write(content)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _remove(path: epath.Path, holder: dict | None) -> None:
    """Removes the lock of a dead holder, unless another process has taken the lock meanwhile."""
    if is_remote(path):
        if _read(path) == holder:
            path.unlink(missing_ok=True)
        return
    aside = path.with_name(f"{path.name}.{os.getpid()}.dead")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != holder:
            aside.rename(path)
    aside.unlink(missing_ok=True)


def _read(path: epath.Path) -> dict | None:
    """The holder of a lock; None if there is no lock, or a damaged one."""
    try:
        holder = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    kinds = {"process": int, "started": str | None, "host": str, "since": str}
    if not isinstance(holder, dict) or not all(
        name in holder and isinstance(holder[name], kind) for name, kind in kinds.items()
    ):
        return None
    if not 0 < holder["process"] < 2**31:
        return None
    return holder if is_number(holder.get("renewed", 0.0)) else None


def _alive(holder: dict) -> bool:
    """False only if the holder's process is known to be gone."""
    if time.time() - holder.get("renewed", math.inf) > EXPIRES:
        return False
    if holder["host"] != socket.gethostname():
        return True
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return holder["started"] == _start_of(holder["process"])  # numbers of processes are used again


def _start_of(process: int) -> str | None:
    """When a process started, in clock ticks since boot; None where the system does not say."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None

"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator

from etils import epath

from vaelab.checks import UsageError
from vaelab.untrusted import parse_json, printable


@contextlib.contextmanager
def held(folder: epath.Path) -> Iterator[None]:
    """Makes the folder and holds it for this process. A lock of a dead process is taken over.

    A folder that was made here, and that nothing was written to, is removed at the end.

    Raises:
      UsageError: the folder cannot be made, or another process holds it; the sentence names process,
        host and time.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with contextlib.ExitStack() as stack:
            with _writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(folder))
            yield
    finally:
        for path in made:
            with contextlib.suppress(OSError, ValueError):  # it holds files
                path.rmdir()


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
    _take(path, json.dumps(mine))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


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
    raise UsageError(f"workdir {path.parent} is in use: another process took it at this moment.")


def _create(path: epath.Path, content: str) -> None:
    """Writes a file that must not exist yet, and appears with its content."""
    if "://" in os.fspath(path):  # a bucket has no exclusive creation: this is the best there is
        if path.exists():
            raise FileExistsError
        path.write_text(content)
        return
    partial = f"{os.fspath(path)}.{os.getpid()}.partial"
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
        os.unlink(partial)


def _remove(path: epath.Path, holder: dict | None) -> None:
    """Removes the lock of a dead holder, unless another process has taken the lock meanwhile."""
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
    return holder if 0 < holder["process"] < 2**31 else None


def _alive(holder: dict) -> bool:
    """False only if the holder's process is known to be gone."""
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

"""The lock of a folder: a file with the process that holds it."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from vaelab.checks import UsageError
from vaelab.runs.files import read_typed
from vaelab.signals import calling_before_exit
from vaelab.untrusted import printable

EXPIRES = 300.0  # seconds after which a lock that is not renewed counts for nothing


class Holder(NamedTuple):
    """The process that holds a folder, as lock.json describes it."""

    process: int
    started: str | None  # clock ticks since boot: numbers of processes are used again
    host: str
    since: str
    renewed: float = math.inf  # in a bucket: when the lock was renewed last

    def __str__(self) -> str:
        return f"process {self.process} on {printable(self.host)} since {printable(self.since)}"

    @property
    def alive(self) -> bool:
        """False only if the process is known to be gone."""
        if time.time() - self.renewed > EXPIRES:
            return False
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return self.started == _start_of(self.process)


class LockFile:
    """lock.json of a folder, which appears with its content: a hard link is made only once."""

    def __init__(self, folder: epath.Path):
        self.path = folder / "lock.json"
        self.mine = Holder(
            os.getpid(), _start_of(os.getpid()), socket.gethostname(),
            datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        )  # fmt: skip

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Takes the lock, also that of a dead process, and removes it at the end.

        Raises:
          UsageError: another process holds it.
        """
        self._take()
        try:
            with calling_before_exit(self._release):
                yield
        finally:
            self._release()

    def check(self) -> None:
        """Raises if another process has taken the lock meanwhile.

        Raises:
          UsageError: process, host and time of the new holder.
        """
        holder = self.read()
        if holder is not None and not self._is_mine(holder):
            raise UsageError(
                f"workdir {self.path.parent} was taken by {holder}, and this process ends without another "
                "checkpoint: let that process train, or choose another workdir."
            )

    def read(self) -> Holder | None:
        """The holder of the lock. None if there is no lock, or a damaged one."""
        return _holder(self.path)

    def _take(self) -> None:
        for _ in range(2):
            try:
                self._create()
                return
            except FileExistsError:
                holder = self.read()
                if holder is not None and holder.alive:
                    raise UsageError(
                        f"workdir {self.path.parent} is in use by {holder}: wait for it, or choose another "
                        f"workdir. If that process no longer runs, delete {self.path}."
                    ) from None
                self._remove(holder)
        raise UsageError(
            f"workdir {self.path.parent} is in use: another process took it at this moment: start the "
            "command again, or choose another workdir."
        )

    def _is_mine(self, holder: Holder) -> bool:
        return holder._replace(renewed=self.mine.renewed) == self.mine

    def _release(self) -> None:
        holder = self.read()
        if holder is not None and self._is_mine(holder):
            self.path.unlink(missing_ok=True)

    def _create(self) -> None:
        """Writes the file, which must not exist yet.

        Raises:
          FileExistsError: there is a lock.
        """
        fields = self.mine._asdict()
        del fields["renewed"]  # a machine sees whether its own processes run
        content = json.dumps(fields)
        partial = f"{os.fspath(self.path)}.{os.getpid()}.partial"
        try:
            with open(partial, "w") as file:
                file.write(content)
            try:
                os.link(partial, os.fspath(self.path))
            except FileExistsError:
                raise
            except OSError:  # a mounted drive without hard links
                with open(os.fspath(self.path), "x") as file:
                    file.write(content)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)

    def _remove(self, holder: Holder | None) -> None:
        """Removes the lock of a dead holder, unless another process has taken the lock meanwhile."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.dead")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if _holder(aside) != holder:
                aside.rename(self.path)
        aside.unlink(missing_ok=True)


def _holder(path: epath.Path) -> Holder | None:
    try:
        holder = read_typed(Holder, path)
    except (OSError, UsageError):
        return None
    return holder if 0 < holder.process < 2**31 else None


def _start_of(process: int) -> str | None:
    """When a process started, in clock ticks since boot; None if the system does not say."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None

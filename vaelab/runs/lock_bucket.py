"""The lock of a folder in a bucket: best effort, with time stamps."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator

from vaelab.runs.lock_file import Holder, LockFile

RENEWED = 60.0  # seconds


class BucketLock(LockFile):
    """A bucket cannot make an object exclusively: two processes that start at the same moment may both hold it.

    A thread renews the time stamp each minute, as other machines cannot see whether this process still runs.
    """

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEWED):
                # A network that fails for a minute ends no training.
                with contextlib.suppress(Exception):
                    holder = self.read()
                    if holder is not None and self._is_mine(holder):
                        self._write()

        with super().held():
            thread = threading.Thread(target=renew, daemon=True)
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()

    def _create(self) -> None:
        if self.path.exists():
            raise FileExistsError
        content = self._write()
        if self.path.read_bytes() != content:
            raise FileExistsError

    def _write(self) -> bytes:
        content = json.dumps(self.mine._replace(renewed=time.time())._asdict()).encode()
        self.path.write_bytes(content)
        return content

    def _remove(self, holder: Holder | None) -> None:
        if self.read() == holder:
            self.path.unlink(missing_ok=True)

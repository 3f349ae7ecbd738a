"""Ctrl-C ends training between two dispatches, with all that was trained."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that is True after the first Ctrl-C. The second Ctrl-C raises KeyboardInterrupt.

    The handler of signals is restored at the end. Only the main thread receives signals; in another
    thread nothing changes.
    """
    interrupted = False

    def handle(number, frame):
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: interrupted
    finally:
        signal.signal(signal.SIGINT, before)

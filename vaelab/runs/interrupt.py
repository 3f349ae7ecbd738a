"""Ctrl-C and preemption end training between two dispatches, with all that was trained."""

from __future__ import annotations

import contextlib
import enum
import signal
import threading
from collections.abc import Callable, Iterator


class Reason(enum.IntEnum):
    """Why training ends before its end. False if it does not."""

    NONE = 0
    INTERRUPT = 1
    PREEMPTION = 2


@contextlib.contextmanager
def interruptible(*, preemptible: bool = False) -> Iterator[Callable[[], Reason]]:
    """Yields a function: INTERRUPT after the first Ctrl-C. The second Ctrl-C raises KeyboardInterrupt.

    Where training keeps checkpoints it is `preemptible`: PREEMPTION after the first SIGTERM. The handlers of
    signals are restored at the end. Only the main thread receives signals; in another thread nothing changes.
    """
    reason = Reason.NONE

    def interrupt(number, frame):
        nonlocal reason
        if reason is Reason.INTERRUPT:
            raise KeyboardInterrupt
        reason = max(reason, Reason.INTERRUPT)

    def preempt(number, frame):
        nonlocal reason
        reason = Reason.PREEMPTION

    if threading.current_thread() is not threading.main_thread():
        yield lambda: Reason.NONE
        return
    handlers = {signal.SIGINT: interrupt} | ({signal.SIGTERM: preempt} if preemptible else {})
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield lambda: reason
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What Ctrl-C and SIGTERM do. A machine that is taken away sends SIGTERM, and kills the process half a minute later."""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from vaelab import processes

GRACE = 25.0  # seconds after SIGTERM at which a process that has not ended yet is ended
CONTINUES = "preempted; the same command continues."

_before_exit: list[Callable[[], object]] = []


@contextlib.contextmanager
def calling_before_exit(function: Callable[[], object]) -> Iterator[None]:
    """Calls the function if `preemptible` ends the process while the block runs."""
    _before_exit.append(function)
    try:
        yield
    finally:
        _before_exit.remove(function)


class Reason(enum.IntEnum):
    """Why training ends before its end. False if it does not."""

    NONE = 0
    INTERRUPT = 1
    PREEMPTION = 2


@contextlib.contextmanager
def interruptible(*, resumable: bool = False) -> Iterator[Callable[[], Reason]]:
    """Yields a function: INTERRUPT after the first Ctrl-C. The second Ctrl-C raises KeyboardInterrupt.

    If training keeps checkpoints, it is `resumable`: PREEMPTION after the first SIGTERM. The handlers of
    signals are restored at the end. Only the main thread receives signals; in another thread nothing changes.
    """
    reason = Reason.NONE

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal reason
        if reason is Reason.INTERRUPT:
            raise KeyboardInterrupt
        _tell_of("Ctrl-C")
        reason = max(reason, Reason.INTERRUPT)

    def preempt(number: int, frame: FrameType | None) -> None:
        nonlocal reason
        if reason is not Reason.PREEMPTION:
            _tell_of("SIGTERM")
        reason = Reason.PREEMPTION

    if threading.current_thread() is not threading.main_thread():
        yield lambda: Reason.NONE
        return
    handlers = {signal.SIGINT: interrupt} | ({signal.SIGTERM: preempt} if resumable else {})
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield lambda: reason
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_of(name: str) -> None:
    """Of several processes only the one that receives a signal knows of it, and all end together."""
    if processes.count() > 1:
        print(
            f"{name}: all processes end together, after their next steps",
            file=sys.stderr,
            flush=True,
        )


class Preempted(SystemExit):
    """The process ends with exit code 0, and the same command continues. `sentence` is for the user."""

    def __init__(self, sentence: str, *, alone: bool = False):
        """`alone`: of several processes this one ends without waiting for the others."""
        super().__init__(0)
        self.sentence, self.alone = sentence, alone


@contextlib.contextmanager
def preemptible() -> Iterator[None]:
    """SIGTERM raises `Preempted` here. If that does not end the process within `GRACE` seconds, a thread does.

    Python receives a signal only after a compilation or a dispatch has returned, which may take too long. The
    thread receives it at once. Only the main thread has signals; in another thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # One SIGTERM is enough.
        raise Preempted(CONTINUES, alone=True)

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ended = threading.Event()
    watch = threading.Thread(target=_end_in_time, args=(theirs, ended), daemon=True)
    watch.start()
    before = signal.signal(signal.SIGTERM, handle)
    wakeup = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, before)
        ended.set()
        ours.close()  # ends the thread, which waits for a signal
        watch.join()
        theirs.close()


def _end_in_time(signals: socket.socket, ended: threading.Event) -> None:
    while number := signals.recv(1):
        if number[0] == signal.SIGTERM:
            if not ended.wait(GRACE):
                # Checkpoints and files appear whole, so that the process may end at any moment.
                print(CONTINUES, file=sys.stderr, flush=True)
                for function in list(_before_exit):
                    with contextlib.suppress(Exception):
                        function()
                os._exit(0)
            return

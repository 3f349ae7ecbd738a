"""How a command ends: one sentence for what the user can correct, a traceback for everything else."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator

from vaelab import processes
from vaelab.checks import UsageError, out_of_memory
from vaelab.signals import Preempted
from vaelab.untrusted import one_line


class Outcome:
    """The exit code of a command."""

    code = 0


@contextlib.contextmanager
def plain_errors() -> Iterator[Outcome]:
    """Turns an exception into a message on standard error and an exit code. Nothing changes for good.

    `UsageError` is one sentence and exit code 2, Ctrl-C is 130, preemption is a sentence and 0. With
    $VAELAB_TRACEBACK every exception is raised.
    """
    outcome = Outcome()
    with _quiet_process():
        try:
            try:
                yield outcome
            finally:
                sys.stdout.flush()  # a broken pipe shows here, and not at Python's exit
        except Preempted as end:
            print(end.sentence)
            if end.alone:
                end_without_the_others(0)
        except SystemExit as exit_:  # tyro's messages, and --help
            outcome.code = (
                exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
            )
        except BrokenPipeError:  # the reader, such as `head`, has gone
            outcome.code = 128 + 13
            _drop_output()
        except KeyboardInterrupt:
            print("\ninterrupted.", file=sys.stderr)
            outcome.code = 130
        except Exception as error:
            if os.environ.get("VAELAB_TRACEBACK"):
                raise
            outcome.code = 2
            if (sentence := _sentence(error)) is not None:
                print(f"error: {one_line(sentence, 2000)}", file=sys.stderr)
            else:
                traceback.print_exc()
                print("This is a bug of vaelab or of your own code.", file=sys.stderr)
                outcome.code = 1


def _sentence(error: Exception) -> str | None:
    """What the user can correct, or None for a bug."""
    if isinstance(error, UsageError):
        return str(error)
    if (sentence := lost_process_sentence(error)) is not None:
        return sentence
    if out_of_memory(error):
        return f"there is not enough memory ({one_line(str(error), 200)}): choose smaller sizes."
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EFBIG, errno.EDQUOT):
        return (
            f"a file cannot grow further ({error.strerror}): raise the limit of this user, and run the same "
            "command again."
        )
    if error.errno == errno.ENOSPC:
        what = "" if error.filename is None else f" ({error.filename})"
        return f"the disk is full{what}: free space, and run the same command again."
    if error.filename is None or error.strerror is None:
        return None
    return f"{error.filename}: {error.strerror}. Correct the path or the rights, and run the command again."


def lost_process_sentence(error: Exception) -> str | None:
    """The sentence if an error means that another process has ended. None for other errors."""
    text = str(error)
    signs = (
        "Gloo", "Connection closed", "heartbeat", "coordination service", "UNAVAILABLE", "barrier",
    )  # fmt: skip
    if processes.count() == 1 or not any(sign in text for sign in signs):
        return None
    return (
        "another process of this training has ended or cannot be reached: its own last message says "
        "why, and the same command in all processes continues from the last checkpoint "
        f"({one_line(text, 200)})."
    )


def end_without_the_others(code: int) -> None:
    """Ends this process at once if there are others. Python's exit would wait for them."""
    if processes.count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _quiet_process() -> Iterator[None]:
    """Warnings are sentences, characters that cannot be shown are replaced, background threads are quiet.

    Orbax and TensorBoard write in threads, which print a traceback each when the disk is full. The main
    thread raises the error where it waits for them.
    """
    hooks = (threading.excepthook, sys.unraisablehook)
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    streams = [s for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    handlers = [stream.errors for stream in streams]
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _warn(message)
        threading.excepthook = lambda _: None
        sys.unraisablehook = lambda _: None
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        for stream in streams:
            stream.reconfigure(errors="replace")
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = hooks
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for stream, handler in zip(streams, handlers, strict=True):
                with contextlib.suppress(ValueError, OSError):  # the stream is closed
                    stream.reconfigure(errors=handler)


def _warn(message: object) -> None:
    if processes.is_primary():
        print(f"warning: {one_line(str(message), 2000)}", file=sys.stderr)


def _drop_output() -> None:
    """Python flushes standard output at its exit, which would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

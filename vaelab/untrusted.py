"""Text, numbers and sizes from files that others made."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 2**20  # bytes read at once
_MOST_LEVELS = 100  # of JSON, which recursive functions read


def printable(text: str, limit: int = 60) -> str:
    """Text from a file, for a sentence: one line of at most `limit` characters.

    Other characters, such as those that control a terminal, are escaped.

    >>> printable("two\\nlines \\x1b[31m")
    'two\\\\nlines \\\\x1b[31m'
    >>> printable("x" * 100, 8)
    'xxxxx...'
    """
    cut = text if len(text) <= limit else f"{text[: limit - 3]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def one_line(text: str, limit: int = 500) -> str:
    """Text that may hold text from a file, on one line and without addresses of objects.

    >>> one_line("two\\n  lines of <object at 0x7fb61efe7910>")
    'two lines of <object>'
    """
    return printable(re.sub(r" at 0x[0-9a-f]+", "", " ".join(text.split())), limit)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Drops warnings of libraries in the main thread. Other threads share the filters, and leave them alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_size(num_bytes: int) -> None:
    """Raises unless an array of this size fits into half of this machine's memory.

    Files from elsewhere state sizes that they do not have, and small ones are decompressed to any size.

    Raises:
      ValueError: the reason, for a sentence about the file.

    >>> check_size(10**18)
    Traceback (most recent call last):
    ValueError: it takes 1,000,000,000,000,000,000 bytes, more than half of the memory
    """
    if num_bytes > host_memory() // 2:
        raise ValueError(f"it takes {num_bytes:,} bytes, more than half of the memory")


def host_memory() -> int:
    """Bytes of this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # the system does not report its memory
        return 2**36


def read_at_most(file: IO[bytes], num_bytes: int) -> bytes:
    """The next bytes of a file, fewer at its end. Memory is taken as bytes come, whatever is expected.

    >>> import io
    >>> read_at_most(io.BytesIO(b"abc"), 10**15)
    b'abc'
    """
    found = bytearray()
    while chunk := file.read(min(_CHUNK, num_bytes - len(found))):
        found += chunk
    return bytes(found)


def read_whole(file: IO[bytes], limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
      ValueError: the file is larger.

    >>> import io
    >>> read_whole(io.BytesIO(b"abc"), 2)
    Traceback (most recent call last):
    ValueError: it has more than 2 bytes
    """
    content = read_at_most(file, limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit:,} bytes")
    return content


def reason_of(error: BaseException) -> str:
    """The message of an error on one line, without a final stop. If it is empty, the error's type.

    >>> reason_of(ValueError("two\\nlines."))
    'two lines'
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return one_line(reason, 200).rstrip(".") or type(error).__name__


def parse_json(content: bytes) -> Any:
    """The values of a JSON document.

    Raises:
      ValueError: it is no JSON, or is nested too deeply.

    >>> parse_json(b"[" * 200 + b"]" * 200)
    Traceback (most recent call last):
    ValueError: it is nested more than 100 levels deep
    """
    deep = ValueError(f"it is nested more than {_MOST_LEVELS} levels deep")
    try:
        value = json.loads(content)
    except RecursionError:
        raise deep from None
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            item
            for each in level
            if isinstance(each, list | dict)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise deep
    return value

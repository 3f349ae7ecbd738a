"""The lines of ASF and AMC files, with any line ends, also compressed."""

from __future__ import annotations

import math
from typing import NamedTuple

from etils import epath

from vaelab.checks import UsageError
from vaelab.data.files import reading
from vaelab.data.readers import opened_gzip
from vaelab.untrusted import printable, read_whole

_LARGEST_TEXT = 2**26  # bytes; the largest clips of CMU have 2**24
_MOST_LINES = 2**22
_LARGEST = 1e9  # an angle or a length that float32 can hold, and whose square, too


class Line(NamedTuple):
    """The words of a line."""

    number: int  # from 1
    words: list[str]


def read_lines(path: epath.Path) -> list[Line]:
    """The lines of a text file with words in them. Lines end in LF, CRLF or CR. Its first bytes show if it is compressed."""
    with reading(path):
        with opened_gzip(path) as file:
            content = read_whole(file, _LARGEST_TEXT)
        if content.count(b"\n") + content.count(b"\r") > _MOST_LINES:
            raise ValueError(f"it has more than {_MOST_LINES:,} lines")
    # Names of files in comments are not always UTF-8. Latin 1 has a character for each byte.
    lines = content.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [Line(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]


def numbers(where: str, words: list[str], count: int) -> tuple[float, ...]:
    """`count` finite numbers from these words.

    Raises:
      UsageError: a word that is no finite number, a number above 10⁹ in size, or another count. The sentence begins with `where`.
    """
    if len(words) != count:
        found = printable(" ".join(words)) or "nothing"
        raise UsageError(f"{where} must hold {count} numbers, got {found}: repair the file.")
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UsageError(
                f"{where} holds {printable(word)}, which is not a finite number: repair the file."
            )
        if abs(value) > _LARGEST:
            raise UsageError(
                f"{where} holds {printable(word)}, which is larger than {_LARGEST:.0g}: repair the file."
            )
        values.append(value)
    return tuple(values)

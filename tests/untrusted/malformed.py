"""Malformed inputs: damages of valid files, and the one thing that may come of them."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import resource
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vaelab.checks import UsageError

# All of them: python -m pytest -m slow tests/untrusted
num_inputs = pytest.mark.parametrize(
    "num_inputs", [60, pytest.param(1000, marks=pytest.mark.slow)], ids=["some", "all"]
)
NUMBERS = [
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"inf",
    b"99999999999999999999",
    b"1e308",
    b"",
    b"9" * 5000,
]
SPLICES = st.sampled_from([b"\x00", b"\xff" * 8, b"\r\n", b"\x1b[31m", b"{", b"[", b'"', b"PK\x03\x04", b",", b"\xc2\x85"]) | st.binary(max_size=16)  # fmt: skip


def for_all(
    num_inputs: int, check: Callable[..., bool], *strategies: Any, some_are_read: bool = True
) -> None:
    """Calls `check` with this many inputs, the same in each run. Memory stays bounded.

    `check` returns True if the input was read. Some inputs are read, and some are refused: otherwise the
    inputs, or a path, are wrong.
    """
    quiet = settings(
        max_examples=num_inputs, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    outcomes: collections.Counter[bool] = collections.Counter()
    _reset_peak()
    before = _peak()
    quiet(given(st.tuples(*strategies))(lambda values: outcomes.update([check(*values)])))()
    grown = _peak() - before
    assert grown < 2**20, f"{grown} KiB"  # 1 GiB
    assert outcomes.keys() == ({True, False} if some_are_read else {False}), outcomes


def _reset_peak() -> None:
    """The peak of the memory is that of the process until now: an earlier test may have set it."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The largest memory of this process since then, in KiB."""
    try:
        (line,) = (
            each
            for each in pathlib.Path("/proc/self/status").read_text().splitlines()
            if each.startswith("VmHWM:")
        )
        return int(line.split()[1])
    except (OSError, ValueError):  # a system without /proc
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@st.composite
def damaged(draw, valid: bytes) -> bytes:
    """The bytes of a file after up to three damages."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(0, min(len(content), 400) - 1) if draw(st.booleans()) else len(content)))  # fmt: skip
        stop = min(len(content), place + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "flip", "splice", "repeat", "drop", "number"]))
        if kind == "cut":
            del content[place:]
        elif kind == "flip":
            for index in range(place, min(stop, place + 4)):
                content[index] ^= draw(st.integers(1, 255))
        elif kind == "splice":
            content[place:place] = draw(SPLICES)
        elif kind == "repeat":
            content[place:place] = content[place:stop] * draw(st.sampled_from([1, 2, 50]))
        elif kind == "drop":
            del content[place:stop]
        else:
            content[:] = _with_number(bytes(content), place, draw(st.sampled_from(NUMBERS)))
    return bytes(content)


def _with_number(content: bytes, place: int, number: bytes) -> bytes:
    """Replaces the first number after a place."""
    digits = b"0123456789."
    start = next((i for i in range(place, len(content)) if content[i] in digits), len(content))
    stop = next((i for i in range(start, len(content)) if content[i] not in digits), len(content))
    return content[:start] + number + content[stop:]


def reads_or_refuses(
    read: Callable[[], Any],
    accept: Callable[[Any], Any] = lambda value: None,
    *,
    folder: pathlib.Path | None = None,
    may_warn: str | None = None,
) -> bool:
    """True if `read` returns a value that `accept` accepts; False if it raises one clear sentence.

    Nothing else may happen: no other error, no warning (but one that begins like `may_warn`), no file.
    """
    before = None if folder is None else sorted(folder.rglob("*"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = read()
        except UsageError as error:
            is_sentence(str(error))
            done = False
        else:
            accept(value)
            done = True
    for each in caught:
        assert may_warn is not None, each.message
        assert may_warn in str(each.message), each.message
        is_sentence(str(each.message))
    if folder is not None:
        assert sorted(folder.rglob("*")) == before
    return done


def is_sentence(text: str) -> None:
    """One printable line of some words, which ends in a stop and shows nothing of Python's insides."""
    assert text.isprintable(), text
    assert text.endswith("."), text
    assert 10 < len(text) < 1500, text
    assert "Traceback" not in text, text
    assert " at 0x" not in text, text

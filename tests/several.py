"""Processes that train together, and their metrics."""

from __future__ import annotations

import socket
import subprocess

import numpy as np
from conftest import ROOT


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start(command, number: int, argv, *, devices: int = 1, **variables) -> list[subprocess.Popen]:
    """A process for each number, which argv(process, port) describes."""
    port = free_port()
    paths = f"{ROOT}:{ROOT / 'tests'}"
    return [
        command.start(
            *argv(process, port), devices=devices, quick=True, PYTHONPATH=paths, **variables
        )
        for process in range(number)
    ]


def ends(started: list[subprocess.Popen], timeout: float) -> list[tuple[int, str, str]]:
    """(exit code, output, errors) of each process."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(started, outputs, strict=True)]


def assert_equal_metrics(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        # A rate near 0 is a difference of numbers near 1.
        np.testing.assert_allclose(list(a.values()), [b[name] for name in a], rtol=1e-5, atol=1e-6)

"""Streaming on several devices, of one process and of two."""

from __future__ import annotations

import json

import numpy as np
import pytest
import streaming_processes
from conftest import ROOT
from several import ends, start

SCRIPT = ROOT / "tests" / "streaming_processes.py"


@pytest.fixture(scope="module")
def in_memory():
    """The metrics of one device that holds the training set."""
    return streaming_processes.histories(streaming=False)


@pytest.mark.parametrize(
    ("number", "devices"), [(2, 2), pytest.param(1, 8, marks=pytest.mark.slow)]
)
def test_devices_and_processes_stream_the_batches_of_memory(number, devices, command, in_memory):
    """A process reads the rows of its own devices: a half of each batch of 16."""
    started = start(command, number, lambda i, port: (SCRIPT, i, number, port), devices=devices)
    for code, output, errors in ends(started, 280):
        assert code == 0, errors
        found = json.loads(output.splitlines()[-1])
        assert found["devices"] == number * devices
        assert found["hold"]
        assert found["read"] == 16 // number
        for ours, theirs in zip(found["histories"], in_memory, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.keys() == b.keys()
                np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5, atol=1e-7)

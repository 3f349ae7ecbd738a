"""Several processes train as one does. Each is a process of its own, and they talk through gloo."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import time

import numpy as np
import pytest
import several_processes
from conftest import ROOT

from vaelab import processes, runs
from vaelab.training.checkpoint import Checkpoints

SCRIPT = ROOT / "tests" / "several_processes.py"


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


@pytest.fixture(
    scope="module",
    params=[(2, 2), pytest.param((4, 1), marks=pytest.mark.slow)],
    ids=["2 processes of 2 devices", "4 processes"],
)
def several(request, command, tmp_path_factory):
    """The folder that several processes shared, and what each of them measured."""
    number, devices = request.param
    folder = tmp_path_factory.mktemp("several")
    started = start(
        command, number, lambda i, port: (SCRIPT, folder, i, number, port), devices=devices
    )
    for code, _, errors in ends(started, 280):
        assert code == 0, errors
    return folder, [json.loads((folder / f"{i}.json").read_text()) for i in range(number)]


@pytest.fixture(scope="module")
def alone(without_plots):
    """The same run and the same sweep on one device of one process."""
    del without_plots
    return several_processes.train(None), several_processes.sweep(None)


def assert_equal_metrics(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        # A rate near 0 is a difference of numbers near 1.
        np.testing.assert_allclose(list(a.values()), [b[name] for name in a], rtol=1e-5, atol=1e-6)


def test_processes_have_the_metrics_of_one(several, alone):
    folder, outputs = several
    expected = several_processes.measured(alone[0])
    assert len(expected["metrics"]) == several_processes.NUM_STEPS + 2
    for output in outputs:
        assert output["replicated"]
        assert output["devices"] == 4
        assert_equal_metrics(output["run"]["metrics"], expected["metrics"])
        np.testing.assert_allclose(output["run"]["numbers"], expected["numbers"], rtol=1e-4)
    kept = runs.load(folder / "run")
    assert kept.step == several_processes.NUM_STEPS
    assert_equal_metrics(kept.history.rows, expected["metrics"])


def test_members_of_processes_have_the_metrics_of_one(several, alone):
    folder, outputs = several
    for output in outputs:
        for ours, theirs in zip(output["members"], alone[1], strict=True):
            assert_equal_metrics(ours, theirs.history.rows)
    for index, theirs in enumerate(alone[1]):
        kept = runs.load(folder / "sweep" / "members" / f"{index:03d}")
        assert_equal_metrics(kept.history.rows, theirs.history.rows)


def test_one_process_continues_what_several_began(several, alone):
    folder, _ = several
    assert Checkpoints(folder / "half" / "checkpoints").steps() == [25]
    result = several_processes.train(folder / "half")
    assert_equal_metrics(result.history.rows, alone[0].history.rows)


def test_one_process_writes_the_files(several):
    folder, _ = several
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"config.json", "report.json", "metrics.jsonl", "training.png"} <= names
    assert "lock.json" not in names
    assert not list(folder.rglob("*.partial"))
    assert len(list((folder / "run" / "tensorboard").iterdir())) == 1


def test_a_refusal_of_one_process_is_that_of_all(several):
    _, outputs = several
    for output in outputs:
        assert "differs in seed" in output["of another experiment"]
        assert output["a hook"] == "the primary stops here."


def train_together(command, folder: pathlib.Path, number: int, *options: str, **variables):
    """The small training of the command line, in several processes."""
    return start(
        command,
        number,
        lambda i, port: (
            *command.training(folder, *options),
            "--distributed", "--coordinator", f"localhost:{port}",
            "--num-processes", number, "--process-id", i,
        ),
        **variables,
    )  # fmt: skip


@pytest.mark.parametrize("dead", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_the_death_of_a_process_ends_the_others(dead, command, tmp_path):
    """`kill -9` of one of two: the other ends within the time of a heartbeat, and says why.

    JAX ends the processes itself if the primary dies, and may do so before the sentence is printed.
    """
    started = train_together(command, tmp_path / "run", 2, "--num-steps", "1000000")
    left = started[1 - dead]
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "checkpoints" / "40").exists():
            assert time.monotonic() < deadline
            assert left.poll() is None, left.communicate()
            time.sleep(0.2)
        started[dead].kill()
        killed = time.monotonic()
        _, errors = left.communicate(timeout=processes.HEARTBEAT_SECONDS + 30)
    finally:
        for process in started:
            process.kill()
        started[dead].communicate()
    assert time.monotonic() - killed < processes.HEARTBEAT_SECONDS + 30
    assert left.returncode not in (0, None)
    sentences = ["another process of this training has ended"]
    sentences += ["indicates that another task died"] if dead == 0 else []
    assert any(sentence in errors for sentence in sentences), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--process-id", "0"], "add --distributed"),
        (["--distributed", "--process-id", "0"], "the processes could not be joined"),
    ],
)
def test_processes_that_cannot_be_joined_are_a_sentence(options, sentence, refusal):
    assert sentence in refusal("digits_vae_elbo", *options)

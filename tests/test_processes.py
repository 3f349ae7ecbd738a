"""Several processes train as one does. Each is a process of its own, and they talk through gloo."""

from __future__ import annotations

import json
import pathlib
import time

import numpy as np
import pytest
import several_processes
from conftest import ROOT, Command
from several import assert_equal_metrics, ends, free_port, start

from vaelab import processes, runs
from vaelab.checks import UsageError
from vaelab.training.checkpoint import Checkpoints

SCRIPT = ROOT / "tests" / "several_processes.py"


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


def of_command(folder: pathlib.Path, seconds: float, *options) -> list:
    """The small training of the command line, with another time until a process counts as dead or missing."""
    code = (
        "import sys; from vaelab import cli, processes; "
        "processes.HEARTBEAT_SECONDS = processes.JOIN_SECONDS = int(sys.argv.pop(1)); cli.entry()"
    )
    module, name, *argv = Command.training(folder, *options)
    assert (module, name) == ("-m", "vaelab")
    return ["-c", code, seconds, *argv]


def joining(port: int, process: int) -> list:
    """The options of one of two processes."""
    return [
        "--distributed", "--coordinator", f"localhost:{port}", "--num-processes", 2,
        "--process-id", process,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dead", "seconds"),
    [
        (1, 8),
        pytest.param(1, processes.HEARTBEAT_SECONDS, marks=pytest.mark.slow),
        pytest.param(0, processes.HEARTBEAT_SECONDS, marks=pytest.mark.slow),
    ],
)
def test_the_death_of_a_process_ends_the_others(dead, seconds, command, tmp_path):
    """`kill -9` of one of two: the other ends within the time of a heartbeat, and says why.

    JAX ends the processes itself if the primary dies, and may do so before the sentence is printed.
    """
    options = ("--num-steps", "1000000")
    started = start(
        command,
        2,
        lambda i, port: of_command(tmp_path / "run", seconds, *options, *joining(port, i)),
    )
    left = started[1 - dead]
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "checkpoints" / "40").exists():
            assert time.monotonic() < deadline
            assert left.poll() is None, left.communicate()
            time.sleep(0.2)
        started[dead].kill()
        killed = time.monotonic()
        _, errors = left.communicate(timeout=seconds + 30)
    finally:
        for process in started:
            process.kill()
        started[dead].communicate()
    assert time.monotonic() - killed < seconds + 30
    assert left.returncode not in (0, None)
    sentences = ["another process of this training has ended"]
    sentences += ["indicates that another task died"] if dead == 0 else []
    assert any(sentence in errors for sentence in sentences), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("process", [0, 1])
def test_a_process_whose_others_do_not_come_ends_with_a_sentence(process, command, tmp_path):
    port = free_port()
    result = command(*of_command(tmp_path / "run", 3, *joining(port, process)))
    assert result.returncode == 2, result.stderr
    assert (
        f"waiting for 2 processes at localhost:{port} (this is process {process})\n"
        in result.stderr
    )
    assert f"error: 2 processes did not come at localhost:{port} within 3 s: start" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--process-id", "0"], "add --distributed"),
        (["--distributed", "--process-id", "0"], "the processes could not be joined"),
        (["--distributed", "--coordinator", "localhost"], "coordinator must be HOST:PORT, got"),
        (
            ["--distributed", "--num-processes", "2", "--process-id", "2"],
            "process_id must be from 0 to 1, got 2",
        ),
    ],
)
def test_processes_that_cannot_be_joined_are_a_sentence(options, sentence, refusal):
    assert sentence in refusal("digits_vae_elbo", *options)


def test_first_states_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "gather", lambda value: np.array([value, 2**32 - 1]))
    processes.check_same_start(2**32 - 1)
    with pytest.raises(UsageError, match="the first states of the processes differ"):
        processes.check_same_start(7)

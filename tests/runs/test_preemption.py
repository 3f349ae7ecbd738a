"""SIGTERM ends training with a checkpoint and exit code 0, and the run continues as if it had not come."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import pytest
from conftest import files
from small import bits, constrained

from vaelab import runs
from vaelab.cli.errors import plain_errors
from vaelab.runs.result import Result
from vaelab.signals import CONTINUES, Preempted, preemptible
from vaelab.training import pace
from vaelab.training.checkpoint_reading import read_raw
from vaelab.training.pace import Pace

pytestmark = pytest.mark.usefixtures("without_plots", "shared_programs")

MEMBERS = [{"seed": 0}, {"seed": 3}]


def train(workdir, members=None, **settings):
    return runs.train(constrained(), workdir=workdir, members=members, progress=False, **settings)


@pytest.fixture(scope="module", params=[None, MEMBERS], ids=["run", "sweep"])
def alone(request, tmp_path_factory):
    """(members, the folder of a run or a sweep that nothing ended)."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(folder, request.param)
    return request.param, folder


@pytest.fixture
def slow(monkeypatch):
    """Each dispatch makes one step, as if a step took more than the longest dispatch."""
    monkeypatch.setattr(pace, "FIRST_STEPS", 1)
    monkeypatch.setattr(pace, "LONGEST", 0.0)


def assert_same_files(workdir, reference):
    """Checkpoints array by array, and every number of the run or of each member."""
    ours, theirs = files(workdir), files(reference)
    for name in theirs:
        if name.endswith(("metrics.jsonl", "report.json")):
            assert ours[name] == theirs[name], name
    places = [path.parent for path in reference.rglob("checkpoints")]
    assert places
    for place in places:
        folder = workdir / place.relative_to(reference) / "checkpoints"
        assert bits(read_raw(folder)) == bits(read_raw(place / "checkpoints"))


def preempted_at_dispatch(monkeypatch, number):
    """SIGTERM after that many dispatches."""
    made = []
    dispatched = Pace.dispatched

    def call(self, num_steps, metrics):
        made.append(num_steps)
        if len(made) == number:
            signal.raise_signal(signal.SIGTERM)
        dispatched(self, num_steps, metrics)

    monkeypatch.setattr(Pace, "dispatched", call)
    return made


@pytest.mark.parametrize("number", [3, 10, 12])
def test_a_preempted_run_continues_bit_for_bit(alone, slow, monkeypatch, tmp_path, number):
    """Between two rows of the log, at a validation, and between two rows after it."""
    members, reference = alone
    with monkeypatch.context() as patch:
        made = preempted_at_dispatch(patch, number)
        with pytest.raises(Preempted) as end:
            train(tmp_path / "run", members)
    assert made == [1] * number
    assert end.value.code == 0
    assert end.value.sentence == (
        f"preempted at step {number}; the same command continues from there."
    )
    assert not (tmp_path / "run" / "lock.json").exists()
    assert not list((tmp_path / "run").rglob("report.json"))
    train(tmp_path / "run", members)
    assert_same_files(tmp_path / "run", reference)
    assert not list((tmp_path / "run").rglob("unlogged.npz"))


def test_a_slow_step_changes_no_number(alone, slow, tmp_path):
    members, reference = alone
    train(tmp_path / "run", members)
    assert_same_files(tmp_path / "run", reference)


def test_metrics_of_another_step_are_not_used(slow, monkeypatch, tmp_path):
    """A damaged file, and one that a later checkpoint left behind."""
    with monkeypatch.context() as patch:
        preempted_at_dispatch(patch, 3)
        with pytest.raises(Preempted):
            train(tmp_path / "run")
    (tmp_path / "run" / "unlogged.npz").write_bytes(b"PK damaged")
    train(tmp_path / "run")
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 5


def test_preemption_in_the_report_makes_it_at_the_restart(monkeypatch, tmp_path, capsys):
    """The command's handler acts there at once, because nothing has to be saved."""
    with monkeypatch.context() as patch:
        patch.setattr(Result, "report", lambda result: signal.raise_signal(signal.SIGTERM))
        with plain_errors() as outcome, preemptible():
            train(tmp_path / "run")
    assert outcome.code == 0
    assert capsys.readouterr().out == f"{CONTINUES}\n"
    assert not (tmp_path / "run" / "report.json").exists()
    assert not (tmp_path / "run" / "lock.json").exists()
    assert train(tmp_path / "run").last_step == 20
    assert (tmp_path / "run" / "report.json").exists()


def test_handlers_are_those_of_before(tmp_path):
    def handlers():
        found = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        return *found, wakeup

    before = handlers()
    with contextlib.suppress(Preempted), preemptible():
        signal.raise_signal(signal.SIGTERM)
    assert handlers() == before
    runs.train(constrained(), progress=False, num_steps=2)
    assert handlers() == before


STUCK = """
import os, signal, threading, time
import jax
from vaelab import signals
signals.GRACE = 0.5
with signals.preemptible():
    try:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        {body}
    except signals.Preempted:
        time.sleep(100)  # its end takes too long
"""


DISPATCH = "jax.lax.fori_loop(0, 2 * 10**9, lambda i, x: x + i, 0).block_until_ready()"


@pytest.mark.parametrize("body", ["time.sleep(100)", DISPATCH])
def test_a_process_that_does_not_end_is_ended(command, body):
    """Python answers the signal and does not finish; or it waits for a dispatch, and cannot answer."""
    start = time.monotonic()
    result = command("-c", STUCK.format(body=body))
    assert result.returncode == 0, result.stderr
    assert result.stderr == f"{CONTINUES}\n"
    assert time.monotonic() - start < 60

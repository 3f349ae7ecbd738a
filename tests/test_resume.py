"""Runs that are killed, and go on as if nothing had happened."""

from __future__ import annotations

import pathlib
import random
import shutil
import signal
import time

import pytest
from conftest import files
from test_checkpoint import bits

from experiments import command_line
from vaelab.runs.run import Run
from vaelab.training.checkpoint import Checkpoints


def final_bits(workdir: pathlib.Path, command):
    """Every array of a run's last checkpoint."""
    argv = command.training(workdir)
    run = Run.load(command_line.override(argv[2], argv[3:]).experiment, None)
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = checkpoints.restore(run.initial_state())
    checkpoints.close()
    return bits(state)


def assert_same_run(workdir, reference, command):
    for name in ("report.json", "metrics.jsonl"):
        assert (workdir / name).read_text() == (reference / name).read_text()
    assert final_bits(workdir, command) == final_bits(reference, command)
    for name in ("training", "reconstructions", "samples", "latent_space"):
        assert (workdir / f"{name}.png").read_bytes() == (reference / f"{name}.png").read_bytes()


def stop_when(process, happened, number=signal.SIGKILL, seconds=120.0):
    """Sends the signal as soon as `happened()`; (exit code, stdout, stderr)."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not happened() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(number)
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def test_a_run_stopped_again_and_again_ends_as_one_left_alone(command, finished, tmp_path):
    """Killed at start-up, interrupted by Ctrl-C, killed in a checkpoint and in the evaluation; at
    last its newest checkpoint is cut in half."""
    workdir = tmp_path / "run"
    checkpoints = workdir / "checkpoints"

    def run_until(happened, number=signal.SIGKILL):
        return stop_when(command.start(*command.training(workdir)), happened, number)

    assert run_until(lambda: True)[0] == -signal.SIGKILL
    code, out, err = run_until((workdir / "metrics.jsonl").exists, signal.SIGINT)
    assert code == 130
    assert not err
    assert out.splitlines()[-1] == (
        f"interrupted; the same command goes on from {checkpoints}, if there is one yet."
    )
    assert run_until(lambda: any(checkpoints.glob("*-tmp*")))[0] == -signal.SIGKILL
    assert run_until((checkpoints / "60").exists)[0] == -signal.SIGKILL
    assert not (workdir / "report.json").exists()

    data = max((checkpoints / "60" / "default").rglob("d/*"), key=lambda p: p.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    result = command.train(workdir)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("warning: checkpoint 60 cannot be read (")
    assert result.stderr.count("\n") == 1
    assert f"resuming {workdir} from step 40" in result.stdout
    assert_same_run(workdir, finished, command)


def test_a_finished_run_is_left_as_it_is(command, finished):
    before, start = files(finished), time.monotonic()
    result = command.train(finished)
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout
    assert "The ELBO is a lower bound" in result.stdout
    assert files(finished) == before
    assert time.monotonic() - start < 60


@pytest.mark.slow
def test_soak(command, tmp_path):
    """A longer run, killed at twelve random moments: start-up, training, evaluation, pictures."""
    longer = ["--num-steps", "1500", "--evaluate-every", "40", "--log-every", "20"]
    reference, workdir = tmp_path / "reference", tmp_path / "run"
    assert command.train(reference, *longer).returncode == 0
    shutil.rmtree(reference)
    start = time.monotonic()
    assert command.train(reference, *longer).returncode == 0
    duration = time.monotonic() - start  # with everything compiled, as in the runs below
    generator, kills = random.Random(0), 0
    while kills < 12:
        end = time.monotonic() + generator.uniform(0.0, 0.4 * duration)
        process = command.start(*command.training(workdir, *longer))
        code, _, err = stop_when(process, lambda end=end: time.monotonic() > end)
        assert code in (0, -signal.SIGKILL), err
        kills += code != 0
        (workdir / "report.json").unlink(missing_ok=True)  # evaluate and draw once more
    result = command.train(workdir, *longer)
    assert result.returncode == 0, result.stderr
    assert_same_run(workdir, reference, command)

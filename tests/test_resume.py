"""Runs that are killed, and go on as if nothing had happened."""

from __future__ import annotations

import pathlib
import random
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import files
from test_checkpoint import bits

from experiments import command_line
from experiments.run import Run
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


def kill_when(process, happened, seconds=120.0) -> bool:
    """SIGKILL as soon as `happened()`; False where the process ended before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if happened():
            process.kill()
            process.communicate()
            return True
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    return False


def test_a_run_killed_again_and_again_ends_as_one_left_alone(command, finished, tmp_path):
    workdir = tmp_path / "run"
    checkpoints = workdir / "checkpoints"
    moments = {
        "start-up": lambda: True,
        "first metrics": (workdir / "metrics.jsonl").exists,
        "a checkpoint being written": lambda: any(checkpoints.glob("*-tmp*")),
        "evaluation, after the last step": (checkpoints / "60").exists,
    }
    for moment, happened in moments.items():
        killed = kill_when(command.start(*command.training(workdir)), happened)
        assert killed, f"the run ended before {moment}"
    assert not (workdir / "report.json").exists()
    result = command.train(workdir)
    assert result.returncode == 0, result.stderr
    assert_same_run(workdir, finished, command)


def test_a_finished_run_is_left_as_it_is(command, finished):
    before, start = files(finished), time.monotonic()
    result = command.train(finished)
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout
    assert "The ELBO is a lower bound" in result.stdout
    assert files(finished) == before
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("damage", ["truncated", "lost"])
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    command, finished, tmp_path, damage
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    (workdir / "report.json").unlink()
    newest = workdir / "checkpoints" / "60"
    data = max((newest / "default").rglob("d/*"), key=lambda path: path.stat().st_size)
    if damage == "lost":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    result = command.train(workdir)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("warning: checkpoint 60 cannot be read (")
    assert result.stderr.count("\n") == 1
    assert f"resuming {workdir} from step 40" in result.stdout
    assert_same_run(workdir, finished, command)


def test_an_interrupted_run_says_so_and_goes_on(command, finished, tmp_path):
    workdir = tmp_path / "run"
    process = command.start(*command.training(workdir))
    while process.poll() is None and not (workdir / "metrics.jsonl").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert not err
    last = out.splitlines()[-1]
    assert last == f"interrupted; the same command goes on from {workdir / 'checkpoints'}."
    result = command.train(workdir)
    assert result.returncode == 0, result.stderr
    assert_same_run(workdir, finished, command)


@pytest.mark.slow
def test_soak(command, tmp_path):
    """Twenty kills at random moments of a longer run."""
    longer = ["--num-steps", "2000", "--evaluate-every", "40", "--log-every", "20"]
    reference, workdir = tmp_path / "reference", tmp_path / "run"
    start = time.monotonic()
    assert command.train(reference, *longer).returncode == 0
    start, _ = time.monotonic(), shutil.rmtree(reference)
    assert command.train(reference, *longer).returncode == 0
    duration = time.monotonic() - start  # with everything compiled, as in the runs below
    rng, kills, steps = random.Random(0), 0, []
    while not (workdir / "report.json").exists():
        process = command.start(*command.training(workdir, *longer))
        wait = rng.uniform(0.0, duration) if kills < 20 else 600.0
        end = time.monotonic() + wait
        if kill_when(process, lambda end=end: time.monotonic() > end, seconds=900.0):
            kills += 1
            there = (workdir / "checkpoints").glob("[0-9]*")
            steps.append(max((int(p.name) for p in there if p.name.isdigit()), default=0))
        if kills < 10:
            shutil.rmtree(workdir / "report.json", ignore_errors=True)
            (workdir / "report.json").unlink(missing_ok=True)
    assert kills >= 10
    assert np.all(np.diff(steps) >= 0)
    for name in ("report.json", "metrics.jsonl"):
        assert (workdir / name).read_text() == (reference / name).read_text()
    assert final_bits(workdir, command) == final_bits(reference, command)

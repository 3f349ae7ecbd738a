"""Runs that are killed at twenty random moments end as runs left alone."""

from __future__ import annotations

import random
import shutil
import signal
import time

import pytest
from conftest import SMALL
from small import bits

from vaelab.training.checkpoint_reading import read_raw

LONGER = ["--num-steps", "1500", "--evaluate-every", "40", "--log-every", "20"]
COMMANDS = {
    "run": ["train", "digits_vhp_rewo", *SMALL, *LONGER],
    "streaming": ["train", "digits_vhp_rewo", *SMALL, *LONGER, "--streaming", "True"],
    "sweep": ["sweep", "digits_vhp_rewo", *SMALL, *LONGER, "--seeds", "2"],
}
KILLS = 20


def last_steps(workdir):
    """The newest complete checkpoint of each run and group of members."""
    found = {}
    for folder in workdir.rglob("checkpoints"):
        numbers = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        found[folder] = max(numbers, default=0)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_run_killed_at_twenty_random_moments_ends_as_one_left_alone(command, tmp_path, kind):
    """Start-up, training, checkpoints, evaluation and plots. No kill loses a checkpoint."""
    reference, workdir = tmp_path / "reference", tmp_path / "run"
    argv = ["-m", "vaelab", *COMMANDS[kind], "--workdir"]
    assert command(*argv, reference, quick=True).returncode == 0
    shutil.rmtree(reference)
    start = time.monotonic()
    assert command(*argv, reference, quick=True).returncode == 0
    duration = time.monotonic() - start  # with everything compiled, as in the runs below
    generator, kills, before = random.Random(0), 0, {}
    while kills < KILLS:
        process = command.start(*argv, workdir, quick=True)
        end = time.monotonic() + generator.uniform(0.0, 0.5 * duration)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        code = process.wait(timeout=60)
        _, err = process.communicate()
        assert code in (0, -signal.SIGKILL), err
        kills += code != 0
        steps = last_steps(workdir)
        assert all(steps[folder] >= step for folder, step in before.items())
        before = steps
        for report in workdir.rglob("report.json"):
            report.unlink()  # evaluate and draw once more
    result = command(*argv, workdir, quick=True)
    assert result.returncode == 0, result.stderr
    assert_same(workdir, reference)


def assert_same(workdir, reference):
    """Every number and plot, and every array of the last checkpoints."""
    compared = 0
    for path in sorted(reference.rglob("*")):
        ours = workdir / path.relative_to(reference)
        if path.name in ("report.json", "metrics.jsonl", "measures.json", "sweep.csv"):
            assert ours.read_text() == path.read_text(), path
            compared += 1
        if path.suffix == ".png":
            assert ours.read_bytes() == path.read_bytes(), path
        if path.name == "checkpoints":
            assert bits(read_raw(ours)) == bits(read_raw(path))
            compared += 1
    assert compared >= 2

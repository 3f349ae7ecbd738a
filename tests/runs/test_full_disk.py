"""A disk that is full at any file: one sentence, nothing half-written under its name, and the run can continue."""

from __future__ import annotations

import builtins
import errno
import json
import os

import matplotlib.image
import pytest
from conftest import files
from small import bits, constrained

from vaelab import runs
from vaelab.cli.errors import plain_errors

pytestmark = pytest.mark.usefixtures("shared_programs")

MEMBERS = [{"seed": 0}, {"seed": 3}]
SMALL_FILES = ["config.json", "metrics.jsonl", "seconds.json", "report.json", "lock.json"]
PLOTS = ["reconstructions.png", "training.png"]


class Full:
    """A file on a disk that has room for half of what is written."""

    def __init__(self, file):
        self._file = file

    def write(self, content):
        self._file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writelines(self, lines):
        self.write("".join(lines))

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


@pytest.fixture
def full_at(monkeypatch):
    """Writing a file of this name fails in its middle."""

    def fill(name):
        opened = builtins.open

        def open_(path, mode="r", *arguments, **keywords):
            file = opened(path, mode, *arguments, **keywords)
            is_it = (
                name in os.path.basename(os.fspath(path)) if not isinstance(path, int) else False
            )
            return Full(file) if is_it and mode[0] in "wax" else file

        monkeypatch.setattr(builtins, "open", open_)

    return fill


def train(workdir, members=None):
    return runs.train(constrained(), workdir=workdir, members=members, progress=False)


@pytest.fixture(scope="module")
def alone():
    return train(None)


def assert_whole(folder):
    """Each file can be read."""
    for name in files(folder):
        path = folder / name
        assert not name.endswith(".partial"), name
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".png":
            matplotlib.image.imread(path)


@pytest.mark.parametrize("name", SMALL_FILES + PLOTS)
def test_a_full_disk_ends_a_run_with_a_sentence_and_the_run_continues(
    alone, full_at, monkeypatch, tmp_path, capsys, name
):
    full_at(name)
    with plain_errors() as outcome:
        train(tmp_path / "run")
    monkeypatch.undo()
    error = capsys.readouterr().err
    assert outcome.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "the disk is full" in error
    if (tmp_path / "run").exists():
        assert_whole(tmp_path / "run")
    assert bits(train(tmp_path / "run").state) == bits(alone.state)
    assert_whole(tmp_path / "run")
    assert {"report.json", *PLOTS} <= files(tmp_path / "run").keys()


@pytest.mark.parametrize("name", ["sweep.json", "metrics.jsonl", "config.json"])
def test_a_full_disk_ends_a_sweep_with_a_sentence_and_the_sweep_continues(
    full_at, monkeypatch, tmp_path, capsys, name
):
    full_at(name)
    with plain_errors() as outcome:
        train(tmp_path / "run", MEMBERS)
    monkeypatch.undo()
    assert outcome.code == 2
    assert "the disk is full" in capsys.readouterr().err
    if (tmp_path / "run").exists():
        assert_whole(tmp_path / "run")
    first, second = train(tmp_path / "run", MEMBERS)
    assert_whole(tmp_path / "run")
    assert (first.last_step, second.last_step) == (20, 20)

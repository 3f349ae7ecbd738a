"""One process at a time in a folder: who holds it, and what a dead process leaves."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

import pytest
from etils import epath
from small import elbo

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.runs.lock import held
from vaelab.runs.lock_file import Holder


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path / "a" / "run")


def lock_of(folder, **changes):
    """Writes the lock that this process would hold, with changes."""
    with held(folder):
        holder = json.loads((folder / "lock.json").read_text())
        (folder / "keep").write_text("")
    (folder / "lock.json").write_text(json.dumps(holder | changes))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_process_is_refused_and_told_who_is_there(folder, tmp_path):
    code = (
        "import sys; from etils import epath; from vaelab.runs.lock import held\n"
        "with held(epath.Path(sys.argv[1])):\n  print('held', flush=True); sys.stdin.read()"
    )
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], **pipes)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as error, held(folder):
            pass
        host = re.escape(socket.gethostname())
        assert re.match(
            rf"workdir {folder} is in use by process {process.pid} on {host} since \d{{4}}-\d\d-\d\dT",
            str(error.value),
        )
        with pytest.raises(UsageError, match="is in use by process"):
            runs.train(elbo(num_steps=1, log_every=1), workdir=folder, progress=False)
    finally:
        process.communicate("")
    with held(folder):  # it is free again
        pass
    assert not (tmp_path / "a").exists()


def test_the_same_process_is_refused_as_well(folder):
    with held(folder), pytest.raises(UsageError, match=f"process {os.getpid()} on"):  # noqa: SIM117
        with held(folder):
            pass


def test_a_dead_process_loses_its_lock(folder):
    lock_of(folder, process=dead_process())
    with held(folder):
        assert json.loads((folder / "lock.json").read_text())["process"] == os.getpid()
    assert [path.name for path in folder.iterdir()] == ["keep"]


def test_a_process_number_that_is_used_again_is_another_process(folder):
    """The number lives, with another start."""
    lock_of(folder, started="1")
    with held(folder):
        pass
    lock_of(folder)
    with pytest.raises(UsageError, match="in use"), held(folder):
        pass


def test_a_process_of_another_host_counts_as_alive(folder):
    lock_of(folder, host="elsewhere", process=dead_process())
    with (
        pytest.raises(UsageError, match=r"on elsewhere since .* delete .*lock\.json"),
        held(folder),
    ):
        pass


@pytest.mark.parametrize("content", ["", "\0\0", "[]", "{}", '{"process": 1}'])
def test_a_damaged_lock_is_taken_over(folder, content):
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(content)
    with held(folder):
        assert json.loads((folder / "lock.json").read_text())["process"] == os.getpid()
    assert not (folder / "lock.json").exists()


def test_a_lock_that_was_taken_meanwhile_is_left_alone(folder, monkeypatch):
    """Between reading a dead lock and removing it another process takes the folder."""
    lock_of(folder, process=dead_process())
    alive = Holder.alive

    def taken_meanwhile(holder):
        answer = alive.fget(holder)
        monkeypatch.setattr(Holder, "alive", alive)
        lock_of(folder)
        return answer

    monkeypatch.setattr(Holder, "alive", property(taken_meanwhile))
    with pytest.raises(UsageError, match="in use"), held(folder):
        pass
    assert json.loads((folder / "lock.json").read_text())["started"]


def test_a_file_system_without_links_has_locks_too(folder, monkeypatch):
    def link(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with held(folder), pytest.raises(UsageError, match="in use"):  # noqa: SIM117
        with held(folder):
            pass
    assert not folder.exists()


def test_nothing_written_leaves_no_folder(folder, tmp_path):
    with held(folder):
        assert folder.exists()
    assert not (tmp_path / "a").exists()
    with held(folder):
        (folder / "file").write_text("")
    assert (folder / "file").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=rf"^workdir {tmp_path}/file/run cannot be written \("):  # noqa: SIM117
        with held(epath.Path(tmp_path / "file" / "run")):
            pass

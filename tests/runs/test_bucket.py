"""Workdirs in a bucket: an object store without append, folders or renames, cut off at every change."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import numpy as np
import pytest
from object_store import Killed, ObjectStore
from small import bits, constrained

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.runs import lock_bucket, lock_file
from vaelab.runs.workdir import Workdir
from vaelab.storage import UnreachableError, folder_at, writing
from vaelab.training.checkpoint import METADATA
from vaelab.training.checkpoint_reading import open_checkpoints
from vaelab.training.hooks import Hook
from vaelab.training.metrics import read_metrics

pytestmark = pytest.mark.usefixtures("without_plots", "shared_programs")

RUN = "gs://bucket/run"
HOLDER = {"process": 1, "started": "1", "host": "another", "since": "2026-01-01T00:00:00+00:00"}
TAKEN = json.dumps(HOLDER | {"renewed": 1e12}).encode()


def experiment(**changes):
    return constrained(log_every=2, **changes)


def train(workdir=RUN, **settings):
    return runs.train(experiment(), workdir=workdir, progress=False, **settings)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run in a folder."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    return train(workdir=folder), folder


def names_below(objects, folder):
    return {name.removeprefix(folder) for name in objects if name.startswith(folder)}


class Interruption(Hook):
    """Ctrl-C while the metrics of a step are reported, when the next dispatch is already made."""

    def __init__(self, step):
        self.step = step

    def on_metrics(self, step, metrics):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


def test_a_run_in_a_bucket_is_the_run_in_a_folder(alone, bucket):
    """Interrupted, resumed, reported, loaded, lengthened; every file as in a folder."""
    result, folder = alone
    assert train(hooks=[Interruption(12)]).last_step == 14
    assert "bucket/run/checkpoints/14/" + METADATA in bucket
    resumed = train()
    assert bits(resumed.state) == bits(result.state)
    assert json.loads(bucket["bucket/run/report.json"]) == json.loads(
        (folder / "report.json").read_bytes()
    )
    assert bucket["bucket/run/metrics.jsonl"] == (folder / "metrics.jsonl").read_bytes()
    steps = {name.split("/")[0] for name in names_below(bucket, "bucket/run/checkpoints/")}
    assert steps == {"10", "14", "20"}
    assert len(names_below(bucket, "bucket/run/tensorboard/")) == 2
    assert "bucket/run/lock.json" not in bucket
    assert not [name for name in bucket if name.endswith((".partial", ".dead"))]
    x = np.zeros((3, 4, 4, 1), np.float32)
    loaded = runs.load(RUN)
    np.testing.assert_array_equal(loaded.encode(x), result.encode(x))
    assert loaded.history.rows == result.history.rows
    longer, before = train(num_steps=30), runs.train(experiment(num_steps=30), progress=False)
    assert bits(longer.state) == bits(before.state)
    assert runs.train(experiment(num_steps=40), start=RUN, progress=False).last_step == 40


def test_a_bucket_copied_to_a_folder_continues_there(alone, bucket, tmp_path):
    train(hooks=[Interruption(12)])
    for name, content in bucket.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert bits(train(workdir=tmp_path / "bucket/run").state) == bits(alone[0].state)


def test_a_sweep_in_a_bucket_is_the_sweep_in_a_folder(bucket, tmp_path):
    members = [{"seed": 0}, {"seed": 3}]
    interrupted = train(members=members, hooks=[Interruption(12)])
    assert [result.interrupted for result in interrupted] == [True, True]
    results, there = train(members=members), train(members=members, workdir=tmp_path / "sweep")
    for index, (ours, theirs) in enumerate(zip(results, there, strict=True)):
        assert bits(ours.state) == bits(theirs.state)
        name = f"members/00{index}/metrics.jsonl"
        assert bucket[f"bucket/run/{name}"] == (tmp_path / "sweep" / name).read_bytes()
        assert runs.load(f"{RUN}/members/00{index}").step == 20


def test_a_run_killed_at_any_change_of_the_bucket_loses_only_its_last_steps(alone, bucket):
    """At every second change in turn the process ends. What is there then continues to the same end."""
    result, _ = alone
    train(hooks=[Interruption(8)])
    first, starts = dict(bucket), []

    def killed_and_continued(**when) -> bool:
        """Whether the run was killed before its end."""
        bucket.clear()
        bucket.update(first)
        for name, value in when.items():
            setattr(ObjectStore, name, value)
        try:
            train()
            return False
        except Killed:
            ObjectStore.changes_left, ObjectStore.last_name = float("inf"), None
        bucket.pop("bucket/run/lock.json", None)  # this process, which is alive, still holds it
        with contextlib.closing(open_checkpoints(f"{RUN}/checkpoints")) as checkpoints:
            starts.append(checkpoints.steps()[-1])
        assert bits(train().state) == bits(result.state)
        assert [row["step"] for row in read_metrics(RUN)] == [
            *range(2, 12, 2),
            *range(10, 22, 2),
            20,
        ]
        assert "bucket/run/report.json" in bucket
        return True

    assert killed_and_continued(changes_left=0)
    assert starts == [10]
    assert killed_and_continued(last_name="bucket/run/report.json")
    assert starts == [10, 20]
    changes = 2
    while killed_and_continued(changes_left=changes):
        changes += 2
    assert changes > 20
    assert set(starts) == {10, 20}


def test_a_lock_in_a_bucket_ends_when_its_machine_does(bucket, monkeypatch):
    """Another machine's lock holds for as long as it is renewed."""
    seconds_ago = {"fresh": 10.0, "old": lock_file.EXPIRES + 10.0}
    for age, seconds in seconds_ago.items():
        content = json.dumps(HOLDER | {"renewed": time.time() - seconds}).encode()
        bucket["bucket/run/lock.json"] = content
        if age == "old":
            with Workdir(RUN).opened():
                assert json.loads(bucket["bucket/run/lock.json"])["process"] == os.getpid()
            assert "bucket/run/lock.json" not in bucket
        else:
            with pytest.raises(
                UsageError, match=r"^workdir gs://bucket/run is in use by process 1 on"
            ):
                train()
            assert bucket["bucket/run/lock.json"] == content


def test_a_lock_in_a_bucket_is_renewed_unless_it_was_taken(bucket, monkeypatch):
    monkeypatch.setattr(lock_bucket, "RENEWED", 0.01)

    def renewed():
        return json.loads(bucket["bucket/run/lock.json"])["renewed"]

    with Workdir(RUN).opened():
        first, deadline = renewed(), time.monotonic() + 20
        while renewed() == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert renewed() > first
        bucket["bucket/run/lock.json"] = TAKEN  # by a process that came at the same moment
        time.sleep(0.1)
        assert bucket["bucket/run/lock.json"] == TAKEN
    assert bucket == {"bucket/run/lock.json": TAKEN}


class Theft(Hook):
    """Another machine takes the lock at the first validation."""

    def __init__(self, bucket):
        self._bucket = bucket

    def on_metrics(self, step, metrics):
        self._bucket["bucket/run/lock.json"] = TAKEN


@pytest.mark.parametrize("members", [None, [{"seed": 0}, {"seed": 1}]])
def test_a_run_whose_lock_was_taken_writes_no_further_checkpoint(bucket, members):
    with pytest.raises(
        UsageError, match=r"^workdir gs://bucket/run was taken by process 1 on another"
    ):
        train(hooks=[Theft(bucket)], members=members)
    assert not [name for name in bucket if "checkpoints" in name]
    assert bucket["bucket/run/lock.json"] == TAKEN


def test_a_file_that_fails_leaves_the_old_object(bucket):
    """The client makes an object of what was written when an exception closes its file."""
    path = folder_at("gs://bucket/file")
    with writing(path) as file:
        file.write("old")
    with pytest.raises(TypeError), writing(path) as file:
        file.writelines(["half of the n", 1])
    assert bucket == {"bucket/file": b"old"}


@pytest.mark.parametrize("kind", [ImportError, PermissionError, RuntimeError])
def test_a_bucket_that_cannot_be_reached_is_one_sentence(bucket, monkeypatch, refusal, kind):
    def fail(store, path, **kwargs):
        raise kind("no way\nat all")

    monkeypatch.setattr(ObjectStore, "exists", fail)
    sentence = refusal("digits_vhp_rewo", "--workdir", RUN)
    if kind is ImportError:
        assert sentence == (
            f"{RUN} needs the client of its bucket (gcsfs for gs://), which is not installed: run python "
            '-m pip install "vaelab[tpu]".'
        )
    else:
        assert sentence.startswith(
            f"{RUN} cannot be reached ({kind.__name__}: no way at all): correct the"
        )


def test_a_network_that_fails_sets_no_checkpoint_aside(alone, bucket, monkeypatch):
    train(hooks=[Interruption(12)])
    before = dict(bucket)

    def fail(store, path, mode="rb", **kwargs):
        if "/checkpoints/14/default/" in path:
            raise ConnectionError("reset")
        return opened(store, path, mode, **kwargs)

    opened = ObjectStore._open
    monkeypatch.setattr(ObjectStore, "_open", fail)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        train()
    assert {n: c for n, c in bucket.items() if "checkpoints" in n} == {
        n: c for n, c in before.items() if "checkpoints" in n
    }
    monkeypatch.setattr(ObjectStore, "_open", opened)
    assert bits(train().state) == bits(alone[0].state)


def test_a_damaged_checkpoint_in_a_bucket_is_set_aside(alone, bucket):
    train(hooks=[Interruption(12)])
    largest = max((n for n in bucket if "/14/default/" in n), key=lambda n: len(bucket[n]))
    bucket[largest] = b""
    with pytest.warns(UserWarning, match=r"^checkpoint 14 cannot be read .* checkpoint 10 is used"):
        result = train()
    assert bits(result.state) == bits(alone[0].state)
    assert any(name.startswith("bucket/run/checkpoints/unreadable/14/") for name in bucket)

"""Several processes whose workdir is in a bucket: what TPU pods do."""

from __future__ import annotations

import json

import pytest
import several_processes
from conftest import ROOT
from processes_in_bucket import RUN, SWEEP, open_bucket
from several import assert_equal_metrics, ends, start

from vaelab import runs

SCRIPT = ROOT / "tests" / "processes_in_bucket.py"


@pytest.fixture(scope="module")
def several(command, tmp_path_factory):
    """The folder of a run and a sweep of two processes, each continued once, and what they measured."""
    folder = tmp_path_factory.mktemp("bucket")
    for code, _, errors in ends(
        start(command, 2, lambda i, port: (SCRIPT, folder, i, 2, port)), 280
    ):
        assert code == 0, errors
    return folder, [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]


def test_processes_in_a_bucket_have_the_metrics_of_one(several, without_plots, bucket):
    """Another process, by itself, then continues the run and a member from their checkpoints."""
    folder, outputs = several
    alone, members = several_processes.train(None), several_processes.sweep(None)
    for output in outputs:
        assert_equal_metrics(output["run"], alone.history.rows)
        for ours, theirs in zip(output["members"], members, strict=True):
            assert_equal_metrics(ours, theirs.history.rows)
    open_bucket(folder / "bucket")
    for place in (RUN, f"{SWEEP}/members/000"):
        kept = runs.load(place)
        assert kept.step == several_processes.NUM_STEPS
    names = {
        name.split("/")[2] for name in map(str, open_bucket(folder / "bucket")) if "/run/" in name
    }
    assert {"config.json", "report.json", "metrics.jsonl", "training.png", "checkpoints"} <= names
    assert "lock.json" not in names

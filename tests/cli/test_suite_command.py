"""`vaelab suite`: the rows of results.json."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vaelab import cli, runs
from vaelab.runs import results


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Runs the suite of a file with one experiment, and gives its rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_suite.py").write_text(
        "from small import elbo\nEXPERIMENTS = {'mine': elbo()}\n"
    )

    def run(*options):
        assert cli.main(["suite", "own_suite.py", *options]) == 0
        return results.read("results.json")["own_suite"]

    return run


def test_a_row_is_the_report_of_its_run(suite):
    (row,) = suite()
    report = json.loads(Path("runs/own_suite/mine-0/report.json").read_text())
    assert (row.experiment, row.steps, row.seeds) == ("mine", 20, (0,))
    for name in ("log_likelihood", "log_likelihood_of_all", "elbo", "rate"):
        assert row.estimates[name].mean == report[name]["mean"]
        assert row.estimates[name].standard_error == report[name]["standard_error"]
    assert (row.estimates["log_likelihood"].num_test, row.estimates["elbo"].num_test) == (4, 10)
    assert row.estimates["log_likelihood_of_all"][4:] == (5, 10)  # samples, examples
    assert [row.changes for row in suite("--num-samples", "3")] == [{}, {"num_samples": 3}]


def test_a_repeated_suite_keeps_the_newest_measurement(suite):
    """Tolerance and note are written by hand, so they stay at their commit."""
    (row,) = suite()
    mine = row._replace(tolerance={"elbo": 0.5}, note="shared cores")
    results.write("results.json", {"own_suite": [mine]})
    assert suite() == [mine]
    results.write("results.json", {"own_suite": [row._replace(commit="older")]})
    assert suite() == [row]
    tested = mine._replace(commit="older")
    results.write("results.json", {"own_suite": [tested]})
    assert suite() == [tested, row]


def test_an_interrupted_suite_writes_no_row(suite, tmp_path, monkeypatch, capsys):
    stopped = SimpleNamespace(interrupted=True, last_step=7)
    monkeypatch.setattr(runs, "train", lambda *_, **__: stopped)
    assert cli.main(["suite", "own_suite.py"]) == 130
    assert "interrupted at step 7; the same command continues" in capsys.readouterr().out
    assert not (tmp_path / "results.json").exists()

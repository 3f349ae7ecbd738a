"""Suites and their table of results."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments import command_line, suite


def test_a_suite_trains_once_and_writes_its_table(tmp_path, monkeypatch, finished, capsys):
    """Runs that are finished are left alone: here they are, before the suite starts."""
    suites = {"tiny": suite.Suite("a test", {"digits_vhp_rewo": "published"})}
    monkeypatch.setattr(suite, "SUITES", suites)
    started = []

    def train(argv):
        started.append(argv)
        folder = tmp_path / "runs" / argv[-1].rsplit("/", 1)[-1]
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            folder.symlink_to(finished)

    monkeypatch.setattr(suite.train, "main", train)
    table = tmp_path / "README.md"
    arguments = suite.Arguments("tiny", workdir=str(tmp_path / "runs"), table=str(table))
    suite.main(arguments)
    suite.main(dataclasses.replace(arguments, data_dir="data"))
    assert started[0] == ["digits_vhp_rewo", "--seed", "0", "--workdir", started[0][-1]]
    assert started[1][1:3] == ["--data-dir", "data"]
    report = json.loads((finished / "report.json").read_text())
    shown = f"{report['log_likelihood']['mean']:.2f}".replace("-", "−")
    assert table.read_text().count(shown) == 1
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"suite": "mnist_prior"}, "suite = 'mnist_prior' is not known; the nearest name is "),
        ({"only": ("dynamic_mnist_vam",)}, "nearest name is 'dynamic_mnist_vamp'"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
    ],
)
def test_mistakes_are_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        suite.Arguments(**({"suite": "mnist_priors"} | changes))


def test_every_experiment_of_a_suite_exists():
    for one in suite.SUITES.values():
        assert set(one.published) <= set(command_line.names())

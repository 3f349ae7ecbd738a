"""Suites and their table of results."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments import command_line, results, suite


def run(mean: float, error: float, *, seed: int = 0, epochs: float = 700.0, overrides=()):
    """What `suite` reads of a finished run."""
    estimate = {"mean": mean, "standard_error": error}
    likelihood = estimate | {"num_samples": 5000, "num_test": 10_000}
    return {
        "report": {"log_likelihood": likelihood, "elbo": estimate, "epochs_trained": epochs},
        "config": {
            "configuration": {"seed": seed}, "overrides": list(overrides),
            "hardware": "2 CPU cores", "commit": "abc123",
        },
        "seconds": 5400.0,
    }  # fmt: skip


def test_one_seed_has_a_standard_error_over_images():
    row = results.row("mnist", [run(-84.5, 0.31)], "−84.45 ± .12")
    assert row["log p(x)"] == "−84.50 ± 0.31 (s.e. over images), 5000 samples, 10000 images"
    assert (row["hours"], row["epochs"], row["commit"]) == ("1.5", "700", "abc123")
    assert row["published log p(x)"] == "−84.45 ± .12"


def test_several_seeds_have_a_standard_deviation_over_seeds():
    row = results.row("mnist", [run(-84.0, 0.3), run(-85.0, 0.3, seed=1)], "")
    assert row["log p(x)"].startswith("−84.50 ± 0.71 (s.d. over seeds)")  # √½
    assert (row["seeds"], row["hours"]) == ("0, 1", "3.0")


def test_a_shortened_run_says_so():
    row = results.row("mnist", [run(-90.0, 0.3, epochs=20.0, overrides=["--num-steps", "9"])], "")
    assert row["epochs"] == "shortened to 20"


def test_the_table_appends_replaces_and_keeps_the_rest(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Experiments\n\nText before.\n")
    first = results.row("a", [run(-1.0, 0.1)], "")
    results.write(path, "suite", first)
    results.write(path, "suite", results.row("b", [run(-2.0, 0.1)], ""))
    path.write_text(path.read_text() + "\nText after.\n")
    results.write(path, "other", results.row("c", [run(-3.0, 0.1)], ""))
    results.write(path, "suite", results.row("a", [run(-1.5, 0.1)], ""))
    text = path.read_text()
    assert text.startswith("# Experiments\n\nText before.\n")
    assert [text.count(name) for name in ("`a`", "`b`", "`c`", "Text after.")] == [1, 1, 1, 1]
    assert "−1.50" in text
    assert "−1.00" not in text
    assert text.index("`a`") < text.index("`b`") < text.index("Text after.") < text.index("`c`")


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

"""A recurrent model through the commands: trained, reported, drawn, evaluated."""

import json

import pytest

from experiments import evaluate, train
from experiments.evaluate import Arguments

TINY = [
    "--model.hidden", "4", "--model.num-steps", "2", "--model.latent-channels", "1",
    "--model.canvas-channels", "2", "--num-steps", "20", "--log-every", "10",
    "--evaluate-every", "20", "--num-samples", "5", "--num-test", "20", "--batch-size", "20",
]  # fmt: skip


@pytest.mark.slow  # compiles a dozen programs
def test_convdraw_is_trained_and_evaluated_by_the_commands(tmp_path, capsys):
    train.main(["grey_digits_convdraw_re", "--workdir", str(tmp_path), *TINY])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["latent_dims"] == [4, 4]
    constraint = report["constraints"]["re"]
    assert constraint["value"] > 0.1
    assert constraint["outcome"] == "not met yet: λ was still rising"
    assert constraint["violation"] > 0
    assert report["elbo"]["mean"] == pytest.approx(
        -(report["rate"]["mean"] + report["distortion"]["mean"]), abs=1e-2
    )
    for picture in ("training", "reconstructions", "samples"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 1000
    evaluate.main(Arguments(str(tmp_path)))
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["constraints"]["re"]["value"] == constraint["value"]
    assert "marginal" not in evaluation
    assert "left out" in capsys.readouterr().out

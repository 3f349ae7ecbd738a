"""A recurrent model through the commands: trained, reported, drawn, evaluated."""

from __future__ import annotations

import json
import math

import pytest

from vaelab import cli

TINY = [
    "--model.hidden", "4", "--model.num-steps", "2", "--model.latent-channels", "1",
    "--model.canvas-channels", "2", "--num-steps", "20", "--log-every", "10",
    "--evaluate-every", "20", "--num-samples", "5", "--num-test", "20", "--batch-size", "20",
]  # fmt: skip


@pytest.mark.slow  # compiles a dozen programs
def test_convdraw_is_trained_and_evaluated_by_the_commands(tmp_path, capsys):
    argv = ["train", "grey_digits_convdraw_re", "--workdir", str(tmp_path), *TINY]
    assert cli.main(argv) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["latent_dims"] == [4, 4]
    constraint = report["constraints"]["re"]
    assert constraint["value"] > constraint["kappa"] == 0.1
    assert constraint["outcome"] == "not met yet: λ was still rising"
    # C relative to its threshold, (RMSE / κ)² − 1, is about the same on training and test images.
    assert constraint["violation"] == pytest.approx((constraint["value"] / 0.1) ** 2 - 1, rel=0.1)
    assert report["elbo"]["mean"] == pytest.approx(
        -(report["rate"]["mean"] + report["distortion"]["mean"]), abs=1e-2
    )
    for plot in ("training", "reconstructions", "samples"):
        assert (tmp_path / f"{plot}.png").stat().st_size > 1000
    assert cli.main(["evaluate", str(tmp_path), "--annealed-points", "0"]) == 0
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    again = evaluation["report"]["constraints"]["re"]
    assert again["value"] == constraint["value"]
    assert math.isfinite(evaluation["report"]["log_likelihood"]["mean"])
    # Only the first step has a prior that depends on no other step.
    assert [each["level"] for each in evaluation["marginals"]] == [0]
    assert "left out: level 1 of ConvDRAW" in capsys.readouterr().out

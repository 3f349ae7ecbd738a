"""Proposing κ, κ as a fraction of a pilot, comparisons by pairs, and objectives side by side."""

import json

import numpy as np
import pytest
from etils import epath
from scipy import stats
from test_sweep_command import NAME, SMALL

from experiments import blocks, calibrate, command_line, train
from experiments.sweep import comparison
from vaelab.constraints import CLA, NLL, RE

SHORT = ["--log-every", "10", "--evaluate-every", "20", "--num-samples", "20"]


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    folder = epath.Path(tmp_path_factory.mktemp("pilot") / "run")
    calibrate.main(
        [NAME, "--fraction", "0.9", "--num-steps", "20", "--workdir", str(folder), *SMALL, *SHORT]
    )
    return folder


def test_the_proposal_is_the_fraction_of_what_the_pilot_reached(pilot):
    result = json.loads((pilot / "calibration.json").read_text())
    assert result["steps"] == 20
    assert 0.3 < result["reached"]["nll"] < 0.8  # nats per pixel of an untrained model
    assert result["kappa"]["nll"] == pytest.approx(0.9 * result["reached"]["nll"])


@pytest.mark.slow  # a whole run
def test_a_pilots_fraction_becomes_a_number_in_the_configuration(pilot, tmp_path):
    """config.json alone says what κ is: the pilot may be gone when the run is evaluated."""
    folder = tmp_path / "run"
    train.main(
        [NAME, "--pilot", str(pilot), "--pilot-fraction", "0.8", "--workdir", str(folder),
         "--num-steps", "20", *SMALL, *SHORT]
    )  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    reached = json.loads((pilot / "calibration.json").read_text())["reached"]["nll"]
    kappa = config["configuration"]["objective"]["constraints"]["nll"]["kappa"]
    assert kappa == pytest.approx(0.8 * reached, rel=1e-5)
    again = command_line.override(NAME, config["overrides"])
    assert again.pilot is None
    assert again.experiment.objective.constraints["nll"].kappa == kappa


@pytest.mark.parametrize(
    ("constraint", "value", "fraction", "kappa"),
    [
        (RE(0.1), 0.2, 0.5, 0.1),
        (NLL(0.1), 0.4, 0.5, 0.2),
        (NLL(-1.0), -2.0, 0.5, -3.0),  # a lower NLL asks for more
        (CLA(0.9, classifier=np.sum), 0.8, 0.5, 0.9),  # half the shortfall
        (CLA(0.9, classifier=np.sum), 0.8, 1.0, 0.8),
    ],
)
def test_fractions_ask_for_so_much_of_the_shortfall(constraint, value, fraction, kappa):
    assert constraint.kappa_from_pilot(value, fraction) == pytest.approx(kappa)


def test_wrong_arguments_get_one_sentence(refusal, tmp_path):
    run = ("--workdir", tmp_path / "run")
    assert "has no constraints" in refusal("digits_vae_elbo", *run, main=calibrate.main)
    assert "fraction must be positive" in refusal(
        NAME, "--fraction", "0", *run, main=calibrate.main
    )
    assert "holds no calibration.json" in refusal(NAME, "--pilot", tmp_path, *run)
    (tmp_path / "calibration.json").write_text('{"experiment": "grey_mnist_mlp_re"}')
    sentence = refusal(NAME, "--pilot", tmp_path, *run)
    assert f"is one of grey_mnist_mlp_re, not of {NAME}" in sentence
    assert "no experiment's name begins with nothing_" in refusal("nothing", *run, main=blocks.main)


def test_pairs_are_compared_as_a_t_test_does():
    rng = np.random.default_rng(0)
    first, second = rng.normal(3, 1, 5), rng.normal(1, 1, 5)
    result = comparison.paired(first, second)
    expected = stats.ttest_rel(first, second).confidence_interval()
    np.testing.assert_allclose(result["interval"], expected)
    assert result["difference"] == pytest.approx(np.mean(first - second))
    assert comparison.paired([2.0], [1.0])["interval"] == [None, None]


def test_objectives_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "names", lambda: [NAME])
    blocks.main(["digits_vhp", "--workdir", str(tmp_path), "--num-steps", "20", *SMALL, *SHORT])
    assert (tmp_path / "blocks.png").stat().st_size > 1000
    assert (tmp_path / NAME / "config.json").exists()

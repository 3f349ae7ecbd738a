"""`vaelab sweep` and `vaelab calibrate`: members, their numbers and plots, and proposals of κ."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, files

from vaelab import cli, plotting, runs
from vaelab.cli.calibrate_command import with_pilot
from vaelab.constraints import CLA, NLL, RE
from vaelab.runs.measures import read_measures

NAME = "digits_vhp_geco"
TINY = [
    "--model.encoder.trunk.hidden", "8", "--model.decoder.trunk.hidden", "8",
    "--model.prior.num-samples", "2", "--batch-size", "20", "--posterior-samples", "2",
    "--prior-samples", "2", "--num-test", "20", "--num-samples", "5",
    "--log-every", "10", "--evaluate-every", "20", "--num-steps", "40",
]  # fmt: skip
RATES = ["--learning-rates", "5e-4", "2e-3"]
KAPPA, RATE = "objective.constraints.nll.kappa", "optimiser.learning_rate"


@pytest.fixture(autouse=True, scope="module")
def _in_the_project():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


def sweep(folder, *options) -> int:
    return cli.main(["sweep", NAME, *TINY, "--workdir", str(folder), *options])


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a finished sweep of two members."""
    folder = tmp_path_factory.mktemp("sweep") / "run"
    assert sweep(folder, "--kappas", "0.3", *RATES) == 0
    return folder


def test_a_sweep_leaves_a_row_for_each_member(swept):
    rows = read_measures(swept)
    assert [row.values for row in rows] == [
        {KAPPA: 0.3, RATE: rate, "seed": 0} for rate in (5e-4, 2e-3)
    ]
    for row in rows:
        assert row.elbo.mean == pytest.approx(-(row.rate.mean + row.distortion.mean), abs=1e-3)
        assert row.constraints["nll"].kappa == 0.3
        assert row.constraints["nll"].test == pytest.approx(row.distortion.mean / 64, rel=1e-4)
        assert row.step == 40
    assert rows[0].elbo != rows[1].elbo
    for plot in ("information_plane.png", "trajectory.png"):
        assert (swept / plot).stat().st_size > 1000
    header, *lines = (swept / "sweep.csv").read_text().splitlines()
    assert header.startswith(f"member,{KAPPA},{RATE},seed,step,elbo")
    assert len(lines) == 2


def test_a_finished_sweep_is_left_as_it_is(swept):
    before = files(swept)
    assert sweep(swept, "--kappas", "0.3", *RATES) == 0
    assert files(swept) == before


def test_a_sweep_given_more_values_trains_the_new_members(swept, tmp_path):
    folder = shutil.copytree(swept, tmp_path / "run")
    before = files(folder)
    assert sweep(folder, "--kappas", "0.3", "0.4", *RATES, "--seeds", "2") == 0
    after = files(folder)
    assert {name: text for name, text in after.items() if name in before and name.startswith(("members", "groups"))} == {name: text for name, text in before.items() if name.startswith(("members", "groups"))}  # fmt: skip
    rows = read_measures(folder)
    assert len(rows) == 8
    old = {tuple(row.values.values()): row for row in read_measures(swept)}
    for row in rows:
        if tuple(row.values.values()) in old:
            assert row[2:] == old[tuple(row.values.values())][2:]


def test_a_member_is_a_run(swept):
    trained = runs.load(swept / "members" / "001")
    assert trained.record["optimiser"]["learning_rate"] == 2e-3
    assert trained.encode(np.zeros((3, 8, 8, 1), np.float32)).shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("digits_vae_elbo", ["--kappas", "0.1"], "kappas need an experiment with a constraint"),
        (NAME, ["--betas", "0.1"], "has no 'beta'"),
        (NAME, ["--kappas", "-1e400"], "must be finite"),
        (NAME, ["--constraint", "re", "--kappas", "0.1"], "constraint must be one of nll, got 're'"),
        (NAME, ["--constraint", "nll"], "constraint names the one that kappas belong to: give kappas"),
        (NAME, ["--seeds", "0"], "seeds must be at least 1, got 0"),
        (NAME, ["--marginal-inputs", "-1"], "marginal_inputs must be finite and not negative"),
        (NAME, ["--trajectory", "3"], "trajectory must be a member from 0 to 0, got 3"),
        ("mnist_rotate_convdraw_re", ["--marginal-inputs", "10"], "this model is conditional"),
        (NAME, ["--beside", "/nowhere"], "there is no file /nowhere/sweep.json"),
        ("digits_vhp_gecko", [], "nearest name is 'digits_vhp_geco'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_wrong_options_are_one_sentence(refusal, tmp_path, name, options, sentence):
    argv = ["sweep", name, *options, "--workdir", tmp_path / "a" / "run"]
    assert sentence in refusal(*argv, main=cli.main)
    assert not list(tmp_path.iterdir())


def test_any_interrupted_member_ends_the_sweep(tmp_path, monkeypatch, capsys):
    """Members of an earlier group are finished when a later group is interrupted."""
    done, stopped = (SimpleNamespace(interrupted=stop, last_step=20) for stop in (False, True))
    monkeypatch.setattr(runs, "train", lambda *_, **__: [done, stopped])
    assert sweep(tmp_path, *RATES) == 130
    assert capsys.readouterr().out.endswith(
        "interrupted at step 20; the same command continues from there.\n"
    )
    assert not list(tmp_path.iterdir())


def test_sweeps_of_one_experiment_stand_side_by_side(swept, tmp_path, monkeypatch):
    """Two sweeps of one experiment are named by their folders."""
    series = []
    draw = plotting.information_plane
    monkeypatch.setattr(
        plotting,
        "information_plane",
        lambda each, **rest: series.extend(each) or draw(each, **rest),
    )
    folder = shutil.copytree(swept, tmp_path / "run")
    assert sweep(folder, "--kappas", "0.3", *RATES, "--beside", str(swept)) == 0
    assert [each.label for each in series] == [str(folder), str(swept)]


# κ from a pilot.


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pilot") / "run"
    options = ["--fraction", "0.9", "--pilot-steps", "20", "--workdir", str(folder)]
    assert cli.main(["calibrate", NAME, *TINY, *options]) == 0
    return folder


def test_the_proposal_is_the_fraction_of_what_the_pilot_reached(pilot):
    result = json.loads((pilot / "calibration.json").read_text())
    assert (result["experiment"], result["steps"], result["fraction"]) == (NAME, 20, 0.9)
    assert 0.3 < result["reached"]["nll"] < 0.8  # nats per pixel of an untrained model
    assert result["kappa"]["nll"] == pytest.approx(0.9 * result["reached"]["nll"])


def test_a_pilots_fraction_becomes_a_number_of_the_configuration(pilot):
    """config.json alone says what κ is: the pilot may be gone when the run is evaluated."""
    from experiments import digits

    reached = json.loads((pilot / "calibration.json").read_text())["reached"]["nll"]
    experiment = with_pilot(digits.EXPERIMENTS[NAME], str(pilot), 0.8)
    assert experiment.objective.constraints["nll"].kappa == pytest.approx(0.8 * reached, rel=1e-5)
    assert with_pilot(experiment, None, 0.8) is experiment


@pytest.mark.parametrize(
    ("constraint", "value", "fraction", "kappa"),
    [
        (RE(0.1), 0.2, 0.5, 0.1),
        (NLL(0.1), 0.4, 0.5, 0.2),
        (NLL(-1.0), -2.0, 0.5, -3.0),  # a lower NLL requires more
        (CLA(0.9, classifier=np.sum), 0.8, 0.5, 0.9),  # half of 1 − accuracy
        (CLA(0.9, classifier=np.sum), 0.8, 1.0, 0.8),
    ],
)
def test_fractions_are_of_the_pilots_error(constraint, value, fraction, kappa):
    assert constraint.kappa_from_pilot(value, fraction) == pytest.approx(kappa)


def test_wrong_pilots_are_one_sentence(refusal, tmp_path):
    def calibrate(*options):
        argv = ["calibrate", *options, "--workdir", tmp_path / "run"]
        return refusal(*argv, main=cli.main)

    assert "digits_vae_elbo has no constraints" in calibrate("digits_vae_elbo")
    assert "fraction must be positive" in calibrate(NAME, "--fraction", "0")
    run = (NAME, "--workdir", tmp_path / "run", "--pilot", tmp_path)
    assert "holds no calibration.json: run vaelab calibrate there first" in refusal(*run)
    path = tmp_path / "calibration.json"
    values = {"experiment": "x", "steps": 1, "fraction": 1.0, "reached": {"re": 1.0}, "kappa": {}}
    path.write_text(json.dumps(values))
    assert "has the constraints ['re'] and the experiment ['nll']" in refusal(*run)
    for content in ("", "{}", "[1]"):
        path.write_text(content)
        assert f"{path} is damaged" in refusal(*run)
    assert not (tmp_path / "run").exists()

"""`vaelab evaluate`, `sample` and `encode`: commands on the folder of a run."""

from __future__ import annotations

import json
import shutil

import jax
import matplotlib.image
import numpy as np
import pytest
from conftest import files
from small import SHAPE, TEST, constrained, elbo, small_model

from vaelab import cli, data, plotting, runs
from vaelab.evaluation import Refined
from vaelab.likelihoods import BernoulliDecoder
from vaelab.networks import MLP, ConditionalFlow
from vaelab.runs.record import to_record

LESS = ["--num-points", "30", "--annealed-points", "2", "--annealed-temperatures", "3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on a file, so that its record is enough to evaluate it. To be copied."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "x.npz", x=np.concatenate([TEST] * 5), validation_x=TEST, test_x=TEST)
    source = data.Files(str(folder / "x.npz"))
    runs.train(constrained(data=source), workdir=folder / "run", progress=False, name="mine")
    return folder / "run"


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished, tmp_path / "run")


def test_an_evaluation_touches_nothing_else(folder, capsys):
    """Of a half-finished run as of a finished one."""
    (folder / "report.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "20")
    before = files(folder)
    assert cli.main(["evaluate", str(folder), "--num-samples", "13", *LESS]) == 0
    evaluation = json.loads((folder / "evaluation.json").read_text())
    report = evaluation["report"]
    assert (report["experiment"], report["step"]) == ("mine", 10)
    assert report["log_likelihood"]["num_samples"] == 13
    (marginal,), annealed = evaluation["marginals"], evaluation["annealed"]
    assert marginal["surgery"]["num_points"] == marginal["holes"]["num_samples"] == 30
    assert (annealed["num_test"], annealed["annealed"]["num_temperatures"]) == (2, 3)
    assert annealed["plain"]["num_samples"] == 13
    difference = annealed["annealed"]["mean"] - annealed["plain"]["mean"]
    assert annealed["difference"]["mean"] == pytest.approx(difference, abs=1e-4)
    assert evaluation["undefined"] == []
    after = files(folder)
    del after["evaluation.json"]
    assert after == before
    out = capsys.readouterr().out
    assert f"{report['elbo']['mean']:.2f}" in out
    assert "mutual information" in out


def test_other_data_are_evaluated_as_a_test_set(folder, tmp_path):
    np.save(tmp_path / "own.npy", TEST[:6])
    assert cli.main(["evaluate", str(folder), "--data", "own.npy", *LESS]) == 0
    report = json.loads((folder / "evaluation-own.json").read_text())["report"]
    assert report["num_test"] == report["log_likelihood"]["num_test"] == 6
    expected = runs.load(folder).log_likelihood(TEST[:6], jax.random.key(9), num_samples=3000)
    many = ["--num-samples", "3000", "--refined"]
    assert cli.main(["evaluate", str(folder), "--data", "own.npy", *LESS, *many]) == 0
    report = json.loads((folder / "evaluation-own.json").read_text())["report"]
    assert not (folder / "evaluation.json").exists()  # that of the run's own test set
    assert report["log_likelihood"]["mean"] == pytest.approx(expected.mean, abs=0.1)
    assert report["log_likelihood"]["proposal"] == Refined().label


def test_a_flow_posterior_has_its_marginal_kl_evaluated(tmp_path, capsys):
    """It has no rate in parts: those need the density of every component, a Gaussian."""
    np.savez(tmp_path / "x.npz", x=np.concatenate([TEST] * 3), validation_x=TEST, test_x=TEST)
    model = constrained().model
    encoder = ConditionalFlow(MLP((4,), event_ndims=3), 2, num_layers=2, hidden=(2,))
    experiment = constrained(data=data.Files(str(tmp_path / "x.npz")), model=model.clone(encoder=encoder))  # fmt: skip
    runs.train(experiment, num_steps=1, log_every=1, progress=False).save(tmp_path / "run")
    assert cli.main(["evaluate", str(tmp_path / "run"), *LESS]) == 0
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert [kl["standard_error"] > 0 for kl in evaluation["marginal_kls"]] == [True]
    assert evaluation["marginals"] == []
    assert "left out: " in capsys.readouterr().out
    np.save(tmp_path / "own.npy", TEST)
    argv = ["encode", str(tmp_path / "run"), str(tmp_path / "own.npy")]
    assert cli.main(argv) == 2
    assert "no mean in closed form: add --sampled for one sample" in capsys.readouterr().err
    assert cli.main([*argv, "--sampled", "--out", str(tmp_path / "c.npy")]) == 0


def test_samples_are_those_of_the_model(folder, capsys):
    assert cli.main(["sample", str(folder), "--num-samples", "5", "--seed", "3"]) == 0
    expected = runs.load(folder).sample(jax.random.key(3), 5)
    np.testing.assert_allclose(np.load("samples.npy"), expected, rtol=1e-6)
    assert "5 samples of shape (4, 4, 1) are in samples.npy" in capsys.readouterr().out
    assert cli.main(["sample", str(folder), "--num-samples", "5", "--draw", "--out", "b.npy"]) == 0
    assert set(np.unique(np.load("b.npy"))) <= {0.0, 1.0}
    assert cli.main(["sample", str(folder), "--num-samples", "4", "--out", "s.png"]) == 0
    assert min(matplotlib.image.imread("s.png").shape[:2]) > 50


@pytest.mark.parametrize(
    ("shown_by", "shape"), [(data.MNISTTriplets(), (4, 12, 1)), (None, (4, 4, 3))], ids=str
)
def test_samples_are_shown_as_the_data_set_shows_them(tmp_path, monkeypatch, shown_by, shape):
    """Channels of triplets are no colours. Arrays cannot be rebuilt: three channels are colours."""
    x = np.repeat(TEST, 3, axis=-1)
    decoder = BernoulliDecoder(MLP((4,)), shape=(4, 4, 3))
    experiment = elbo(data=data.Arrays(x, validation=x, test=x), model=small_model(decoder=decoder))
    runs.train(experiment, num_steps=1, log_every=1, progress=False).save(tmp_path / "run")
    if shown_by is not None:
        path = tmp_path / "run" / "config.json"
        config = json.loads(path.read_text())
        config["configuration"]["data"] = to_record(shown_by)
        path.write_text(json.dumps(config))
    drawn = []
    draw = plotting.samples
    monkeypatch.setattr(
        plotting, "samples", lambda images, **rest: drawn.append(images) or draw(images, **rest)
    )
    argv = ["sample", str(tmp_path / "run"), "--num-samples", "4", "--out", str(tmp_path / "s.png")]
    assert cli.main(argv) == 0
    assert drawn[0].shape == (4, *shape)


def test_codes_are_those_of_the_model(folder, tmp_path):
    np.save(tmp_path / "own.npy", TEST)
    trained = runs.load(folder)
    assert cli.main(["encode", str(folder), "own.npy"]) == 0
    np.testing.assert_allclose(np.load("codes.npz")["z0"], trained.encode(TEST), rtol=1e-6)
    assert cli.main(["encode", str(folder), "own.npy", "--sampled", "--seed", "4", "--out", "c.npy"]) == 0  # fmt: skip
    expected = trained.encode(TEST, key=jax.random.key(4))
    np.testing.assert_allclose(np.load("c.npy"), expected, rtol=1e-6)
    assert np.load("c.npy").shape == (len(TEST), 2)
    assert TEST.shape[1:] == SHAPE


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["evaluate", "nowhere"], "nowhere holds no run: there is no config.json in it."),
        (["evaluate", "run", "--num-samples", "0"], "num_samples must be at least 1, got 0."),
        (["evaluate", "run", "--num-points", "1"], "num_points must be at least 2, got 1."),
        (["evaluate", "run", "--annealed-points", "1"], "annealed_points must be 0 or at least 2"),
        (["evaluate", "run", "--data", "none.npy"], "none.npy"),
        (["evaluate", "empty"], "empty holds no run"),
        (["sample", "run", "--num-samples", "0"], "num_samples must be at least 1, got 0."),
        (["sample", "run", "--seed", "-1"], "seed must be a whole number"),
        (["sample", "run", "--out", "x.txt"], "out must end in .npy or .png, got 'x.txt'."),
        (["sample", "nowhere"], "nowhere holds no run"),
        (["encode", "run", "none.npy"], "none.npy"),
        (["encode", "run", "x.npy", "--out", "x.csv"], "out must end in .npy or .npz"),
        (["encode", "run", "wrong.npy"], "(5, 5)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_changes_nothing(folder, refusal, tmp_path, argv, sentence):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "wrong.npy", np.zeros((3, 5, 5), np.float32))
    before = files(tmp_path)
    assert sentence in refusal(*argv, main=cli.main)
    assert files(tmp_path) == before

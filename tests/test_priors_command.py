"""The study of priors: what it measures, keeps and shows."""

from __future__ import annotations

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from matplotlib import image
from small_studies import forbid_training, main_of

from experiments.priors import __main__ as command
from experiments.priors import findings, study
from experiments.priors.study import Seed, Snapshots
from vaelab import runs
from vaelab.priors import GTM
from vaelab.runs import display

main = main_of(command.Priors)


def small(prior):
    each = study.experiment(prior, hidden=4)
    return each.with_fields(num_steps=4, log_every=1, evaluate_every=1, num_samples=3)


@pytest.fixture(scope="module")
def small_study():
    """One small prior."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(study.EXPERIMENTS, "gtm", small(GTM(2, grid_size=2)))
        patch.setattr(study, "_NUM_POINTS", 200)
        patch.setattr(study, "_PIXELS", 20)
        yield


@pytest.fixture(scope="module")
def finished(small_study, tmp_path_factory):
    """A finished workdir."""
    workdir = tmp_path_factory.mktemp("priors")
    assert main(["--priors", "gtm", "--seeds", "2", "--workdir", workdir]) == 0
    return workdir


def test_the_study_leaves_plots_and_consistent_results(finished):
    results = json.loads((finished / "results.json").read_text())
    for seed in results["priors"]["gtm"]:
        # Young models: each pixel has 17 values of about the same probability.
        assert seed["nll"] == pytest.approx(64 * math.log(17), rel=0.1)
        assert -seed["nll"] == pytest.approx(seed["elbo"], abs=10)
        assert 0 <= seed["hole_mass"] <= 1
        assert seed["best_rate"] <= math.log(300) + 0.1
        # Both ELBOs have the same distortion.
        distortion = -seed["elbo"] - seed["rate"]
        assert -seed["best_elbo"] - seed["best_rate"] == pytest.approx(distortion, rel=1e-5)
    first, second = results["priors"]["gtm"]
    assert first["nll"] != second["nll"]
    for name in ("priors", "training"):
        assert image.imread(finished / f"{name}.png").shape[1] > 500


def test_the_same_command_trains_and_measures_nothing_again(finished, monkeypatch):
    before = (finished / "results.json").read_bytes()
    forbid_training(monkeypatch)
    monkeypatch.setattr(study, "measure", None)
    assert main(["--priors", "gtm", "--seeds", "2", "--workdir", finished]) == 0
    assert (finished / "results.json").read_bytes() == before


def test_snapshots_hold_the_first_member_at_their_steps(finished):
    snapshots = Snapshots(epath.Path(finished / "snapshots"), study.EXPERIMENTS["gtm"])
    kept = snapshots.read(last=5)
    assert list(kept) == [1, 4]
    assert list(snapshots.read(last=4)) == [1]
    state = runs.load(finished / "gtm" / "members" / "000").params
    assert jax.tree.structure(kept[4]) == jax.tree.structure(state)
    (result,) = runs.train(
        study.EXPERIMENTS["gtm"], members=[{"seed": 0}], num_steps=1, progress=False, patience=None
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept[1], result.params)


@pytest.mark.parametrize("name", study.EXPERIMENTS)
def test_every_prior_has_a_name_and_no_encoder_of_its_own(name):
    assert name in findings.NAMES
    model, key = study.EXPERIMENTS[name].model, jax.random.key(0)
    x = jnp.zeros((3, *study.SHAPE))
    variables = jax.eval_shape(model.init, key, x, key)
    paths = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    inside = [path for path, _ in paths if path[0].key == "prior"]
    assert name == "hierarchical" or not any("encoder" in str(path) for path in inside)


def seeds(nlls):
    columns = zip(nlls, [1.0, 2.0], [-100.0, -104.0], [4.0, 4.5], [0.25, 0.75], [0.01, 0.03],
                  [700, 800], strict=True)  # fmt: skip
    return [
        Seed(step, nll, error, elbo, rate, kl, holes, 3.5, -99.0)
        for nll, error, elbo, rate, kl, holes, step in columns
    ]


def test_table_and_caption_contain_the_numbers():
    measured = {"standard": seeds([97.0, 99.0]), "hierarchical": seeds([98.0, 98.5])}
    text = display.as_text(findings.table(measured))
    rows = [
        re.split(r"\s{2,}", line.strip())
        for line in text.splitlines()
        if re.match(r"\s*(standard|hierarchical|q\(z\)).*\d\.\d", line)
    ]
    shared = ["−102.0 ± 2.8", "4.25 ± 0.35", "0.50 ± 0.35", "2.0 ± 1.4"]
    assert rows == [
        ["standard normal", "98.0 ± 1.4", *shared],
        ["hierarchical", "98.2 ± 0.4", *shared],
        ["q(z) as prior*", "−99.0 ± 0.0", "3.50 ± 0.00"],
    ]
    caption = findings.caption(measured)
    assert "the means span 0.2 nats" in caption  # 98.25 − 98
    assert "scatter by 0.9" in caption  # (√2 + √2/4)/2
    assert "move all of them by 1.5" in caption
    assert "at step 700 to 800" in caption


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--priors", "mixtur"], "there is no prior 'mixtur'; the nearest name is 'mixture'"),
        (["--priors", "standard", "--seeds", "0"], "seeds must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence(options, sentence, refusal, tmp_path):
    assert sentence in refusal(*options, "--workdir", tmp_path / "new", main=main)
    assert not (tmp_path / "new").exists()

"""The comparison at equal error: its formulas, its sentences, and κ of each seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from small_studies import forbid_training, main_of, measures, small

from experiments import taming
from experiments.equal_error import EqualError, compare, describe, members_at_error, paired
from vaelab.cli import lookup
from vaelab.cli.lookup import Found
from vaelab.evaluation import Estimate
from vaelab.runs.measures import read_measures

main = main_of(EqualError)


def test_pairs_are_compared_like_a_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(3, 1, 5), rng.normal(1, 1, 5)
    result = paired(first, second)
    expected = stats.ttest_rel(first, second).confidence_interval()
    np.testing.assert_allclose(result.interval, expected)
    assert result.difference == pytest.approx(np.mean(first - second))
    assert result.ours - result.theirs == pytest.approx(result.difference)
    assert paired([2.0], [1.0]).interval is None
    assert paired([2.0, np.nan], [1.0, 1.0]) == (2.0, 1.0, 1.0, None, 1)
    with pytest.raises(ValueError, match="every pair has a member that diverged"):
        paired([np.nan], [1.0])


OURS = [
    measures(10.0, mse=0.05, value=0.22, kappa=0.2, multiplier=3.0, values={"seed": 0}),
    measures(12.0, mse=0.03, value=0.18, kappa=0.2, multiplier=5.0, values={"seed": 1}),
]
THEIRS = [measures(20.0, mse=0.04, squared_error_weight=4.0, values={"seed": s}) for s in (0, 1)]


def test_the_comparison_has_the_formulas_of_its_docstring():
    result = compare(("ours", "theirs"), OURS, THEIRS, num_dims=100)
    quantities = result.quantities
    assert quantities["rate"][:3] == (11.0, 20.0, -9.0)
    assert quantities["rmse"].ours == pytest.approx((np.sqrt(0.05) + np.sqrt(0.03)) / 2)
    # R + λ D ΔMSE: 10 + 3 · 100 · 0.01 and 12 − 5 · 100 · 0.01
    assert quantities["rate_at_equal_error"].ours == pytest.approx((13.0 + 7.0) / 2)
    assert quantities["multiplier"][:3] == (4.0, 4.0, 0.0)
    assert result.error_over_kappa.difference == pytest.approx((0.1 - 0.1) / 2)
    assert "marginal_kl" not in quantities
    assert (result.seeds, result.num_met) == ([0, 1], 2)
    kls = [[row._replace(marginal_kl=Estimate(kl, 0.1)) for row in rows]
           for rows, kl in ((OURS, 1.0), (THEIRS, 3.0))]  # fmt: skip
    measured = compare(("ours", "theirs"), *kls, num_dims=100).quantities["marginal_kl"]
    assert measured[:3] == (1.0, 3.0, -2.0)


def test_the_sentences_say_whether_the_errors_are_equal():
    result = compare(("ours", "theirs"), OURS, THEIRS, num_dims=100)
    lines = describe(result).splitlines()
    assert lines[0].endswith("% from κ, the error of theirs")
    low, high = result.quantities["rate"].interval
    assert lines[1] == (
        f"rate: 11 against 20, difference -9 (95 % interval {low:+.4g} to {high:+.4g})"
    )
    assert any(line.startswith("rate_at_equal_error: 10 against 20") for line in lines)
    unmet = [OURS[0], measures(12.0, value=0.3, kappa=0.2, met=False, values={"seed": 1})]
    text = describe(compare(("ours", "theirs"), unmet, THEIRS, num_dims=100))
    assert "κ is met by 1 of 2 seeds: the errors are not equal" in text
    assert "rate_at_equal_error" not in text


def test_kappa_is_the_error_of_the_reference_at_the_same_seed():
    rows = [measures(1.0, mse=mse, values={"seed": seed}) for seed, mse in ((0, 0.04), (3, 0.09))]
    assert members_at_error(rows) == [
        {"objective.constraints.re.kappa": pytest.approx(0.2), "seed": 0},
        {"objective.constraints.re.kappa": pytest.approx(0.3), "seed": 3},
    ]
    with pytest.raises(ValueError, match="seed 3 of the reference diverged"):
        members_at_error([rows[0], rows[1]._replace(sigma_star=np.nan)])


def test_the_command_trains_at_the_reached_error_and_continues(tmp_path, monkeypatch):
    found = {
        key: Found(key, small(taming.FAMILIES["grey_digits_mlp"][key]), "taming.py")
        for key in ("re", "elbo")
    }
    monkeypatch.setattr(lookup, "find", found.__getitem__)
    argv = ["re", "elbo", "--seeds", "2", "--reference-steps", "20", "--marginal-inputs", "100",
            "--workdir", tmp_path]  # fmt: skip
    assert main(argv) == 0
    result = json.loads((tmp_path / "comparison.json").read_text())
    ours, theirs = (read_measures(tmp_path / place) for place in ("constrained", "reference"))
    assert (result["steps"], result["seeds"]) == ([40, 20], [0, 1])
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.constraints["re"].kappa == reference.sigma_star
        assert mine.values["seed"] == reference.values["seed"]
    differences = {
        "rate": [m.rate.mean - t.rate.mean for m, t in zip(ours, theirs, strict=True)],
        "rmse": [m.rmse - t.rmse for m, t in zip(ours, theirs, strict=True)],
        "marginal_kl": [
            m.marginal_kl.mean - t.marginal_kl.mean for m, t in zip(ours, theirs, strict=True)
        ],
    }
    for name, values in differences.items():
        difference, (low, high) = (
            result["quantities"][name][k] for k in ("difference", "interval")
        )
        assert difference == pytest.approx(np.mean(values))
        assert low < difference < high
        assert (tmp_path / f"paired_{name}.png").stat().st_size > 1000
    assert (tmp_path / "equal_distortion.png").stat().st_size > 1000
    before = (tmp_path / "comparison.json").read_bytes()
    forbid_training(monkeypatch)
    assert main(argv) == 0
    assert (tmp_path / "comparison.json").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("grey_mnist_mlp_fre", "grey_mnist_mlp_elbo"), "must have the constraint `re`"),
        (("grey_mnist_mlp_re", "grey_digits_mlp_elbo"), "both experiments must have the same data"),
        (("grey_mnist_mlp_re", "mnist_vae_elbo"), "binary images have no σ*"),
        (("grey_mnist_mlp_re", "grey_mnist_mlp_elb"), "nearest name is 'grey_mnist_mlp_elbo'"),
    ],
)
def test_a_wrong_pair_is_one_sentence(refusal, tmp_path, names, sentence):
    assert sentence in refusal(*names, "--workdir", tmp_path / "run", main=main)
    assert not (tmp_path / "run").exists()


def test_a_marginal_kl_of_a_conditional_model_is_refused_before_training(refusal, tmp_path):
    names = ("mnist_rotate_convdraw_re", "mnist_rotate_convdraw_elbo")
    argv = (*names, "--marginal-inputs", "10", "--workdir", tmp_path / "run")
    assert "this model is conditional" in refusal(*argv, main=main)

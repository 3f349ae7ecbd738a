"""The command experiments.stability: what it compares with what, and that it can be interrupted."""

import json

import numpy as np
import pytest

from experiments import stability
from experiments.sweep import measures
from vaelab.constraints import RE, pNCC

SMALL = [
    "--model.encoder.trunk.hidden", "8", "--model.decoder.trunk.hidden", "8",
    "--num-steps", "40", "--log-every", "10", "--evaluate-every", "20", "--num-test", "50",
]  # fmt: skip


def reference(values, rates):
    """β-VAEs of two seeds, whose means are these."""
    return [
        {"beta": float(i), "seed": seed, "re_test": value + shift, "rate": rate - 10 * shift}
        for i, (value, rate) in enumerate(zip(values, rates, strict=True))
        for seed, shift in ((0, -0.01), (1, 0.01))
    ]


def member(value, rate, multiplier, largest):
    return {
        "re_test": value, "re_train": value, "rate": rate, "re_multiplier": multiplier,
        "re_max_multiplier": largest, "re_outcome": "met",
    }  # fmt: skip


def test_a_rate_is_compared_at_the_same_value_of_what_is_bounded():
    rows = [member(0.14, 22.0, 2.0, 6.0), member(0.16, 18.0, 4.0, 6.0)]
    result = stability.summary("re", RE(0.15), rows, reference([0.2, 0.1], [10.0, 30.0]))
    share = np.log(0.15 / 0.1) / np.log(0.2 / 0.1)  # of log RMSE
    halfway = ((1 - share) * np.sqrt(30.0) + share * np.sqrt(10.0)) ** 2
    assert result["reference_rate"] == pytest.approx(halfway)
    assert result["rate_ratio"] == pytest.approx(20.0 / halfway)
    assert result["overshoot"] == 3.0  # the worse seed's
    assert result["multiplier"] == 3.0


def water_filling(variances, level):
    """(RMSE, rate) of a Gaussian source where the error per coordinate is at most `level`."""
    return (
        np.sqrt(np.minimum(variances, level).mean()),
        0.5 * np.log(np.maximum(variances / level, 1.0)).sum(),
    )


@pytest.mark.parametrize("decay", [1.0, 2.0])
def test_the_reference_between_two_betas_is_near_the_rate_distortion_function(decay):
    variances = np.arange(1.0, 785.0) ** -decay
    levels = 0.003 * np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    values, rates = np.array([water_filling(variances, level) for level in levels]).T
    for level in np.geomspace(levels[0], levels[-1], 50):
        value, rate = water_filling(variances, level)
        assert stability.rate_at(RE(0.1), value, values, rates) == pytest.approx(rate, rel=0.03)
    chord = np.interp(np.sqrt(values[1] * values[2]), values, rates)
    assert chord > 1.05 * stability.rate_at(RE(0.1), np.sqrt(values[1] * values[2]), values, rates)


def test_bounds_from_below_are_compared_by_what_they_lack_to_one():
    values, rates = np.array([0.6, 0.8, 0.9]), np.array([10.0, 40.0, 90.0])
    middle = 1 - np.sqrt(0.4 * 0.2)
    rate = stability.rate_at(pNCC(0.8), middle, values, rates)
    assert rate == pytest.approx(22.5)  # log(1 - v) is linear in the rate's root here
    assert stability.rate_at(pNCC(0.8), 0.95, values, rates) is None


def test_diverged_seeds_are_left_out_and_counted():
    rows = [member(np.nan, np.nan, np.nan, 9.0), member(0.15, 20.0, 2.0, 4.0)]
    result = stability.summary("re", RE(0.15), rows, reference([0.1, 0.2], [30.0, 10.0]))
    assert (result["rate"], result["overshoot"], result["diverged"]) == (20.0, 2.0, 1)
    result = stability.summary("re", RE(0.15), rows[:1], reference([0.1, 0.2], [30.0, 10.0]))
    assert (result["rate"], result["rate_ratio"], result["diverged"]) == (None, None, 1)
    assert "NaN" not in json.dumps(result)
    stability.show("family", [result])


@pytest.mark.parametrize("value", [0.05, 0.3])
def test_beyond_the_reference_there_is_no_ratio(value):
    rows = [member(value, 22.0, 2.0, 2.0)]
    result = stability.summary("re", RE(0.15), rows, reference([0.1, 0.2], [30.0, 10.0]))
    assert result["reference_rate"] is None
    assert result["rate_ratio"] is None


def test_a_diverged_reference_is_left_out():
    rows = [*reference([0.1, 0.2], [30.0, 10.0]), {"beta": 9.0, "re_test": np.nan, "rate": np.nan}]
    values, rates = stability.frontier("re", rows)
    np.testing.assert_allclose(values, [0.1, 0.2])
    np.testing.assert_allclose(rates, [30.0, 10.0])


def test_a_family_is_trained_measured_and_found_finished(tmp_path, capsys):
    argv = ["grey_digits_mlp", "--betas", "1", "10", "--workdir", str(tmp_path), *SMALL]
    stability.main(argv)
    results = json.loads((tmp_path / "stability.json").read_text())["results"]
    assert [(r["experiment"], r["constraint"]) for r in results] == [
        ("grey_digits_mlp_re", "RE ≤ 0.1")
    ]
    (row,) = measures.read_csv(tmp_path / "grey_digits_mlp_re" / "sweep.csv")
    assert results[0]["value"] == row["re_test"] == pytest.approx(row["rmse"], rel=1e-5)
    assert results[0]["overshoot"] == row["re_max_multiplier"] / row["re_multiplier"]
    betas = measures.read_csv(tmp_path / "grey_digits_mlp_beta" / "sweep.csv")
    for each in betas:  # of a constraint that the β-VAE has not
        assert each["re_test"] == pytest.approx(each["rmse"], rel=1e-5)
    assert (tmp_path / "stability.png").stat().st_size > 1000
    capsys.readouterr()
    stability.main(argv)
    assert capsys.readouterr().out.count("finished") == 2
    assert json.loads((tmp_path / "stability.json").read_text())["results"] == results


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["mnist_vae"], "no experiment mnist_vae_beta to compare with; families that have one"),
        (["grey_digits_mlp", "--betas", "1"], "betas must be at least two"),
        (["grey_digits_mlp", "--seeds", "0"], "seeds must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_get_one_sentence(refusal, tmp_path, argv, sentence):
    assert sentence in refusal(*argv, "--workdir", tmp_path / "run", main=stability.main)
    assert not (tmp_path / "run").exists()

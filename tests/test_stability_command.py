"""The study of stability: what it compares with what, and that it continues."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from small_studies import forbid_training, main_of, measures, small

from experiments import stability, study, taming
from experiments.stability import Stability
from vaelab.constraints import RE, pNCC
from vaelab.runs.files import write_json
from vaelab.runs.measures import measure
from vaelab.training.objectives import AnnealedVariance

main = main_of(Stability)


def reference(values, rates):
    """β-VAEs of two seeds, whose means are these."""
    return [
        measures(
            rate - 10 * shift, values={"objective.beta": float(i), "seed": seed},
            others={"re": value + shift},
        )
        for i, (value, rate) in enumerate(zip(values, rates, strict=True))
        for seed, shift in ((0, -0.01), (1, 0.01))
    ]  # fmt: skip


FRONTIER = stability.frontier("re", reference([0.2, 0.1], [10.0, 30.0]))


def summary_of(*rows):
    return stability.summary("tiny_re", "re", RE(0.15), rows, *FRONTIER)


def test_a_rate_is_compared_at_the_same_value_of_the_bounded_quantity():
    rows = (
        measures(22.0, value=0.14, multiplier=2.0, highest=6.0),
        measures(18.0, value=0.16, multiplier=4.0, highest=6.0),
    )
    result = summary_of(*rows)
    share = np.log(0.15 / 0.1) / np.log(0.2 / 0.1)  # of log RMSE
    halfway = ((1 - share) * np.sqrt(30.0) + share * np.sqrt(10.0)) ** 2
    assert result.reference_rate == pytest.approx(halfway)
    assert result.rate_ratio == pytest.approx(20.0 / halfway)
    assert result.overshoot == 3.0  # of the worse seed
    assert result.multiplier == 3.0


def water_filling(variances, level):
    """(RMSE, rate) of a Gaussian source if the error per coordinate is at most `level`."""
    return (
        np.sqrt(np.minimum(variances, level).mean()),
        0.5 * np.log(np.maximum(variances / level, 1.0)).sum(),
    )


@pytest.mark.parametrize("decay", [1.0, 2.0])
def test_the_interpolated_rate_is_near_the_rate_distortion_function(decay):
    variances = np.arange(1.0, 785.0) ** -decay
    levels = 0.003 * np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    values, rates = np.array([water_filling(variances, level) for level in levels]).T
    for level in np.geomspace(levels[0], levels[-1], 50):
        value, rate = water_filling(variances, level)
        assert stability.rate_at(RE(0.1), value, values, rates) == pytest.approx(rate, rel=0.03)
    between = np.sqrt(values[1] * values[2])
    chord = np.interp(between, values, rates)
    assert chord > 1.05 * stability.rate_at(RE(0.1), between, values, rates)


def test_a_lower_bound_is_interpolated_over_its_distance_to_one():
    values, rates = np.array([0.6, 0.8, 0.9]), np.array([10.0, 40.0, 90.0])
    middle = 1 - np.sqrt(0.4 * 0.2)
    # The root of the rate is linear in log(1 − v) here.
    assert stability.rate_at(pNCC(0.8), middle, values, rates) == pytest.approx(22.5)
    assert stability.rate_at(pNCC(0.8), 0.95, values, rates) is None


def test_diverged_seeds_are_left_out_and_counted(tmp_path):
    nan = math.nan
    diverged = measures(nan, value=nan, multiplier=nan, highest=9.0)
    result = summary_of(diverged, measures(20.0, value=0.15, multiplier=2.0, highest=4.0))
    assert (result.rate, result.overshoot, result.diverged) == (20.0, 2.0, 1)
    result = summary_of(diverged)
    assert (result.rate_ratio, result.diverged) == (None, 1)
    assert math.isnan(result.rate)
    write_json(tmp_path / "stability.json", [result])
    assert "NaN" not in (tmp_path / "stability.json").read_text()
    table = stability.table("tiny", [result])
    assert [list(column.cells) for column in table.columns[:2]] == [["RE ≤ 0.15"], ["diverged"]]


@pytest.mark.parametrize("value", [0.05, 0.3])
def test_a_value_beyond_the_reference_has_no_ratio(value):
    result = summary_of(measures(22.0, value=value))
    assert result.reference_rate is None
    assert result.rate_ratio is None


def test_a_diverged_reference_is_left_out():
    diverged = measures(math.nan, values={"objective.beta": 9.0}, others={"re": math.nan})
    rows = [*reference([0.1, 0.2], [30.0, 10.0]), diverged]
    values, rates = stability.frontier("re", rows)
    np.testing.assert_allclose(values, [0.1, 0.2])
    np.testing.assert_allclose(rates, [30.0, 10.0])


@pytest.mark.parametrize("num_steps", [50, 700, 4001])
def test_an_annealed_variance_keeps_its_share_of_the_run(num_steps):
    annealed = study.of_length(taming.FAMILIES["grey_mnist_mlp"]["annealed"], num_steps)
    assert annealed.num_steps == num_steps
    assert annealed.objective == AnnealedVariance(anneal_steps=math.ceil(0.75 * num_steps))


@pytest.fixture
def tiny(monkeypatch):
    """A family of the table, made small."""
    family = taming.FAMILIES["grey_digits_mlp"]
    family = {key: small(experiment) for key, experiment in family.items()}
    monkeypatch.setitem(taming.FAMILIES, "tiny", family)


def test_a_family_is_trained_measured_and_found_finished(tiny, tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(
        stability, "measure", lambda *a, **k: rows.append(measure(*a, **k)) or rows[-1]
    )
    argv = ["tiny", "--betas", "1", "10", "--workdir", tmp_path]
    assert main(argv) == 0
    betas, (row,) = rows
    assert [each.values["objective.beta"] for each in betas] == [1.0, 10.0]
    for each in betas:  # RE of a model without the constraint
        assert each.others["re"] == pytest.approx(each.rmse, rel=1e-5)
    (result,) = json.loads((tmp_path / "stability.json").read_text())
    assert (result["experiment"], result["constraint"]) == ("tiny_re", "RE ≤ 0.1")
    assert result["value"] == row.constraints["re"].test == pytest.approx(row.rmse, rel=1e-5)
    assert result["overshoot"] == row.constraints["re"].overshoot
    assert (tmp_path / "stability.png").stat().st_size > 1000
    before = (tmp_path / "stability.json").read_bytes()
    forbid_training(monkeypatch)
    assert main(argv) == 0
    assert (tmp_path / "stability.json").read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["mnist_vae"], "there is no family 'mnist_vae'"),
        (["color_mnist_nvp"], "the family color_mnist_nvp has no β-VAE"),
        (["grey_digits_mlp", "--betas", "1"], "betas must be at least two numbers"),
        (["grey_digits_mlp", "--seeds", "0"], "seeds must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_one_sentence(refusal, tmp_path, argv, sentence):
    assert sentence in refusal(*argv, "--workdir", tmp_path / "run", main=main)
    assert not (tmp_path / "run").exists()

"""The report: every number adds up, survives its file, and is shown."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from etils import epath
from rich.console import Console
from small import constrained, elbo

from vaelab import evaluation, runs
from vaelab.checks import UsageError
from vaelab.evaluation import Estimate
from vaelab.runs.files import read_typed, write_json
from vaelab.runs.measures import Measures, measure, read_measures, write_measures
from vaelab.runs.prior_report import Evaluation, evaluate_prior
from vaelab.runs.report import Report
from vaelab.runs.reporting import is_current
from vaelab.runs.serial import from_json, to_json


def train(experiment=None, **settings):
    return runs.train(experiment or constrained(), progress=False, **settings)


@pytest.fixture(scope="module")
def result():
    return train()


def shown(value) -> str:
    return " ".join(repr(value).replace("│", " ").split())


def test_the_report_adds_up(result):
    report, experiment = result.report(), result.run.experiment
    assert report.elbo.mean == pytest.approx(-(report.rate.mean + report.distortion.mean), abs=1e-4)
    likelihood = report.log_likelihood
    assert likelihood[2:] == (5, likelihood.effective_sample_size, 4, None, "q(z|x)")
    assert 1 <= likelihood.effective_sample_size <= 5
    assert (report.step, report.num_steps, report.epochs_trained) == (20, 20, 20 * 10 / 50)
    assert (report.num_test, report.posterior_samples, report.prior_samples) == (10, 2, None)
    assert report.latent_dims == (2,)
    assert 0 <= report.active_units[0] <= 2
    for estimate in (likelihood, report.elbo, report.rate, report.distortion):
        assert 0 < estimate.standard_error < math.inf
    nats_per_bit = 16 * math.log(2)
    assert report.bits_per_dim.mean == pytest.approx(-likelihood.mean / nats_per_bit)
    assert report.bits_per_dim.standard_error == pytest.approx(
        likelihood.standard_error / nats_per_bit
    )
    constraint = report.constraints["nll"]
    assert (constraint.kappa, constraint.divisor) == (0.5, 16.0)
    assert constraint.value == pytest.approx(report.distortion.mean / 16, rel=1e-5)
    assert constraint.train_value == pytest.approx(result.average["nll"] / 16 + 0.5, rel=1e-5)
    assert constraint.satisfied is (constraint.value <= 0.5)
    assert constraint.train_satisfied is (constraint.train_value <= 0.5)
    history = result.history["average/nll"] / 16 + 0.5
    assert constraint.best == pytest.approx(history.min(), rel=1e-5)
    assert constraint.multiplier == report.multipliers["nll"] == result.multipliers["nll"]
    low, high = sorted(result.history["multiplier/nll"][-2:])  # means since the row before
    assert constraint.multiplier >= high > low
    assert constraint.violation >= 0
    assert constraint.complementarity >= 0
    assert report.stationarity is None or 0 <= report.stationarity <= 1
    assert report.data_units is None
    assert experiment.objective.describe(result.multipliers, 20) in report.bound


def test_the_likelihood_is_that_of_the_evaluation(result):
    """By the same key, on the same random examples."""
    run = result.run
    subject = run.subject(result.params, run.test_examples(4))
    expected = evaluation.log_likelihood(subject, run.key("likelihood"), num_samples=5)
    assert result.report().log_likelihood.mean == expected.mean
    assert result.report(num_samples=9).log_likelihood.num_samples == 9
    assert result.report() is result.report()


def test_the_likelihood_of_all_examples_follows_from_their_elbo(result):
    run, report = result.run, result.report()
    subset = run.subject(result.params, run.test_examples(4))
    values = evaluation.log_likelihood(subset, run.key("likelihood"), num_samples=5).log_prob
    bounds = evaluation.expectations_by_example(
        run.subject(result.params, run.splits.test),
        run.key("bounds"),
        {"elbo": evaluation.elbo},
        num_samples=2,
    )["elbo"]
    rows = run.test_rows(4)
    np.testing.assert_array_equal(run.splits.test.x[rows], subset.examples.x)
    expected = np.mean(bounds) + np.mean(values - bounds[rows])
    assert report.log_likelihood_of_all.mean == pytest.approx(expected, rel=1e-5)
    assert report.elbo.mean < report.log_likelihood_of_all.mean
    assert f"{expected:.2f}" in shown(report)
    whole = train(constrained(num_steps=1, log_every=1, num_test=None)).report()
    assert whole.log_likelihood_of_all is None


@pytest.mark.parametrize("name", ["log_likelihood", "elbo", "rate", "distortion"])
def test_the_table_and_its_html_hold_the_numbers(result, name):
    report = result.report()
    estimate = getattr(report, name)
    for text in (shown(report), report._repr_html_()):
        assert f"{estimate.mean:.2f}" in text
        assert f"{estimate.standard_error:.2f}" in text
    assert f"{report.constraints['nll'].value:.4f}" in report._repr_html_()
    assert report.constraints["nll"].outcome in shown(report)
    assert "ELBO is a lower bound on log p(x)" in shown(report)
    assert "<table>" in report._repr_html_()


def test_each_level_has_a_row_that_fits_80_columns(result):
    rates = tuple(Estimate(1.5 + level, 0.25) for level in range(12))
    levels = {"level_rates": rates, "active_units": (3,) * 12, "latent_dims": (196,) * 12}
    report = result.report()._replace(**levels)
    file = io.StringIO()
    Console(file=file, width=80).print(report.table())
    lines = file.getvalue().splitlines()
    assert any("rate of level 0 (top)" in line for line in lines)
    for level in range(1, 12):
        row = next(line for line in lines if f"rate of level {level} " in line)
        assert f"{1.5 + level:.2f}" in row
        assert "0.25" in row
        assert "3 of 196" in row


def test_log_p_below_the_elbo_is_explained_by_its_examples(result):
    report = result.report()
    assert "increase num_test" not in shown(report)
    low = report.log_likelihood._replace(mean=report.elbo.mean - 0.1)
    report = report._replace(log_likelihood=low)
    assert "below the ELBO because it is that of 4 of the 10 examples" in shown(report)


def test_a_report_survives_its_file(result, tmp_path):
    path = epath.Path(tmp_path / "report.json")
    write_json(path, result.report())
    assert read_typed(Report, path) == result.report()
    assert json.loads(path.read_text())["constraints"]["nll"]["kappa"] == 0.5
    without = train(elbo(num_steps=1, log_every=1)).report()
    assert from_json(Report, json.loads(json.dumps(to_json(without)))) == without


def test_numbers_that_are_not_finite_survive_as_null():
    estimate = Estimate(math.nan, math.inf)
    text = json.dumps(to_json(estimate), allow_nan=False)
    assert text == '{"mean": null, "standard_error": null}'
    assert np.isnan(from_json(Estimate, json.loads(text))).all()


@pytest.mark.parametrize(
    "changes",
    [{"num_samples": 6}, {"num_test": 5}, {"num_test": None}, {"posterior_samples": 3}],
    ids=str,
)
def test_a_report_is_current_until_its_settings_change(result, changes):
    report, run = result.report(), result.run
    assert is_current(report, run, 20, 20)
    assert not is_current(report, run, 10, 20)
    assert not is_current(report, run, 20, 40)
    changed = dataclasses.replace(run, experiment=run.experiment.with_fields(**changes))
    assert not is_current(report, changed, 20, 20)
    other = dataclasses.replace(run, experiment=run.experiment.with_fields(prior_samples=9))
    assert is_current(report, other, 20, 20)  # the prior is exact: nothing depends on it


def test_results_are_compared_in_one_table(result):
    other = train(elbo(), seed=2)
    comparison = runs.compare({"constrained": result, "plain": other})
    assert comparison.reports == {"constrained": result.report(), "plain": other.report()}
    for report in comparison.reports.values():
        for text in (shown(comparison), comparison._repr_html_()):
            assert f"{report.elbo.mean:.2f} ± {report.elbo.standard_error:.2f}" in text
    assert list(runs.compare([result, other]).reports) == ["experiment", "experiment 1"]
    with pytest.raises(UsageError, match="at least one result"):
        runs.compare([])
    splits = result.run.splits
    fewer = splits._replace(test=splits.test.take(slice(9)))
    other = train(splits=fewer, num_steps=1, log_every=1)
    with pytest.raises(UsageError, match=r"different test sets, of \[9, 10\] examples"):
        runs.compare([result, other])


def test_measures_of_a_sweep_add_up_and_survive_their_files(tmp_path):
    members = runs.grid({"objective.constraints.nll.kappa": [0.4, 0.6], "seed": [0]})
    results = train(members=members, num_test=None)
    rows = measure(results, members, marginal_inputs=20)
    for row, member, result in zip(rows, members, results, strict=True):
        report = result.report()
        assert row.values == member
        assert row.elbo.mean == pytest.approx(-(row.rate.mean + row.distortion.mean), abs=1e-4)
        assert row.elbo.mean == pytest.approx(report.elbo.mean, rel=1e-6)
        assert row.rmse == pytest.approx(math.sqrt(row.mse.mean))
        constraint = row.constraints["nll"]
        assert constraint.kappa == member["objective.constraints.nll.kappa"]
        assert constraint.test == pytest.approx(row.distortion.mean / 16, rel=1e-5)
        assert constraint.multiplier == result.multipliers["nll"]
        highest = max(*result.history["multiplier/nll"], constraint.multiplier)
        assert constraint.overshoot == pytest.approx(highest / constraint.multiplier)
        assert row.marginal_inputs == 20
        assert row.finite
    write_measures(epath.Path(tmp_path), rows)
    assert read_measures(tmp_path) == rows
    header, *lines = (tmp_path / "sweep.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), lines[1].split(","), strict=True))
    assert float(cells["objective.constraints.nll.kappa"]) == 0.6
    assert float(cells["rate"]) == rows[1].rate.mean
    assert from_json(Measures, to_json(rows[0])) == rows[0]
    (tmp_path / "measures.json").write_text('[{"member": 1}]')
    with pytest.raises(UsageError, match=r"measures\.json is damaged"):
        read_measures(tmp_path)


def test_an_evaluation_adds_up_and_survives_its_file(result):
    few = dict(num_points=30, annealed_points=2, annealed_temperatures=3)
    made = evaluate_prior(result.run, result, result.report(), **few)
    (marginal,) = made.marginals
    surgery = marginal.surgery
    assert surgery.rate.mean == pytest.approx(surgery.mutual_information.mean + surgery.marginal_kl.mean, abs=1e-4)  # fmt: skip
    assert surgery.num_inputs == 50
    assert list(marginal.subsampled_marginal_kl) == ["50"]
    annealed = made.annealed
    assert annealed.difference.mean == pytest.approx(annealed.annealed.mean - annealed.plain.mean, abs=1e-4)  # fmt: skip
    assert annealed.num_test == 2
    assert made.undefined == ()
    text = json.dumps(to_json(made), allow_nan=False)
    again = from_json(Evaluation, json.loads(text))
    assert again.report == made.report
    assert json.dumps(to_json(again)) == text
    from vaelab.runs import display

    tables = " ".join(display.as_text(*made.tables()).split())
    assert f"{surgery.rate.mean:.3f}" in tables
    assert "q(z) is over all 50 training examples" in tables


def test_the_history_is_columns_of_the_rows(result):
    history = result.history
    np.testing.assert_array_equal(history.steps("elbo"), [5, 10, 15, 20])
    np.testing.assert_array_equal(history.steps("validation/elbo"), [10, 20])
    assert len(history["multiplier/nll"]) == 4
    assert history.until(10).steps("elbo").tolist() == [5, 10]
    with pytest.raises(UsageError, match="there is no metric 'elbow'; there are average/nll, "):
        history["elbow"]

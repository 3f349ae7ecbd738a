"""What a run leaves: the report, its pictures, metrics, events and configuration."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from conftest import files
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import command_line, evaluate
from vaelab.constraints import RE, pNCC
from vaelab.networks import MLP, ConditionalFlow
from vaelab.runs.record import differing_fields, to_dict
from vaelab.runs.run import Run
from vaelab.training import Adam, Constant, Cosine, WarmUp
from vaelab.training.duals import Rewo
from vaelab.training.objectives import Lagrangian


@pytest.fixture(scope="module")
def report(finished):
    return json.loads((finished / "report.json").read_text())


def shape(value):
    """The keys of nested dicts, with None for what is no dict."""
    return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None


def test_the_report_has_exactly_these_fields(report):
    estimate = {"mean": None, "standard_error": None}
    likelihood = ("num_samples", "effective_sample_size", "num_test", "prior_samples")
    constraint = (
        "value", "kappa", "satisfied", "train_value", "train_satisfied", "best", "multiplier",
        "infeasible", "outcome", "divisor", "violation", "complementarity",
    )  # fmt: skip
    assert shape(report) == {
        "experiment": None,
        "step": None,
        "epochs_trained": None,
        "num_test": None,
        "posterior_samples": None,
        "log_likelihood": estimate | dict.fromkeys(likelihood),
        "elbo": estimate,
        "rate": estimate,
        "distortion": estimate,
        "active_units": None,
        "latent_dims": None,
        "learned": {},
        "stationarity": None,
        "constraints": {"nll": dict.fromkeys(constraint)},
        "multipliers": {"nll": None},
        "bound": None,
    }


def test_the_report_adds_up(report):
    mean = {name: report[name]["mean"] for name in ("elbo", "rate", "distortion")}
    assert mean["elbo"] == pytest.approx(-(mean["rate"] + mean["distortion"]), abs=1e-4)
    likelihood = report["log_likelihood"]
    assert likelihood["num_samples"] == 50
    assert likelihood["num_test"] == 20
    assert likelihood["prior_samples"] == 2
    assert report["num_test"] == 300
    assert report["posterior_samples"] == 2
    assert 1.0 <= likelihood["effective_sample_size"] <= 50.0
    for name in ("log_likelihood", "elbo", "rate", "distortion"):
        assert 0.0 < report[name]["standard_error"] < math.inf
    constraint = report["constraints"]["nll"]
    assert constraint["kappa"] == 0.345
    assert constraint["value"] == pytest.approx(mean["distortion"] / 64, rel=1e-5)
    assert constraint["satisfied"] is (constraint["value"] <= 0.345)
    assert constraint["train_satisfied"] is (constraint["train_value"] <= 0.345)
    assert report["multipliers"]["nll"] == 1000.0  # held: 60 steps do not meet the constraint
    assert report["step"] == 60
    assert report["epochs_trained"] == pytest.approx(60 * 80 / 1297)
    assert report["latent_dims"] == [2]
    assert 0 <= report["active_units"][0] <= 2
    assert "ELBO is a lower bound on log p(x)" in report["bound"]
    assert "Bernoulli likelihood" in report["bound"]
    assert "4 inner samples" in report["bound"]
    assert "binarised once with numpy seed 777" in report["bound"]
    assert "rate + 1000 · nll, no bound on the negative log-likelihood" in report["bound"]


def test_pictures_are_images(finished):
    names = ("training", "reconstructions", "samples", "latent_space")
    assert {path.stem for path in finished.glob("*.png")} == set(names)
    for name in names:
        pixels = matplotlib.image.imread(finished / f"{name}.png")
        assert min(pixels.shape[:2]) > 100
        assert pixels[..., :3].std() > 0.01, f"{name}.png is blank"


def test_metrics_are_one_object_a_line(finished):
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 20, 30, 40, 40, 50, 60, 60]
    training = {
        "step",
        "loss",
        "elbo",
        "rate",
        "distortion",
        "constraint/nll",
        "average/nll",
        "multiplier/nll",
        "feasible_once",
    }
    for row in rows:
        assert row.keys() in (training, {"step", "validation/bound", "validation/elbo"})
        if "rate" in row:
            assert row["elbo"] == pytest.approx(-(row["rate"] + row["distortion"]), abs=1e-3)


def test_tensorboard_reads_the_same_numbers(finished):
    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    names = {name for row in rows for name in row} - {"step"}
    assert set(events.Tags()["scalars"]) == names
    for name in names:
        scalars = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["step"], row[name]) for row in rows if name in row]
        assert [step for step, _ in scalars] == [step for step, _ in expected]
        np.testing.assert_allclose([v for _, v in scalars], [v for _, v in expected], rtol=1e-6)


def test_config_json_holds_configuration_and_versions(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["experiment"] == "digits_vhp_rewo"
    assert config["configuration"]["num_steps"] == 60
    assert config["configuration"]["objective"]["constraints"]["nll"] == {
        "type": "NLL",
        "kappa": 0.345,
    }
    assert config["configuration"]["model"]["encoder"]["trunk"]["hidden"] == [8]
    assert config["versions"]["jax"] == jax.__version__
    assert {"vaelab", "jaxlib", "flax", "optax", "distrax", "numpy", "python"} <= config[
        "versions"
    ].keys()
    assert config["hardware"]
    assert config["commit"]
    assert not list(finished.rglob("*.partial"))


def test_evaluate_honours_num_samples(command, finished, report, tmp_path):
    """Of a half-finished run as of a finished one; the run itself is not touched."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "report.json").unlink()
    shutil.rmtree(run / "checkpoints" / "60")
    before = files(run)
    less = ["--num-points", "50", "--annealed-points", "2", "--annealed-temperatures", "5"]
    result = command("-m", "experiments.evaluate", "--workdir", run, "--num-samples", "130", *less)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    evaluation = json.loads((run / "evaluation.json").read_text())
    (marginal,), annealed = evaluation.pop("marginal"), evaluation.pop("annealed")
    assert evaluation.pop("marginal_kl") == []  # the marginal KL is part of the surgery
    assert shape(evaluation) == shape(report)
    assert evaluation["step"] == 40
    assert evaluation["log_likelihood"]["num_samples"] == 130
    assert evaluation["log_likelihood"]["mean"] != report["log_likelihood"]["mean"]
    assert marginal["surgery"]["num_points"] == marginal["holes"]["num_samples"] == 50
    assert list(marginal["subsampled_marginal_kl"]) == ["1000", "1297"]
    assert "upper bounds" in marginal["inputs"]  # the prior is estimated
    assert (annealed["num_test"], annealed["num_temperatures"]) == (2, 5)
    assert annealed["importance_sampling"]["num_samples"] == 130
    difference = annealed["mean"] - annealed["importance_sampling"]["mean"]
    assert annealed["difference"]["mean"] == pytest.approx(difference)
    after = files(run)
    del after["evaluation.json"]
    assert after == before


@pytest.mark.parametrize("constraint", [RE(0.1), pNCC(0.5)])
def test_rewo_requires_constraints_in_nats(constraint):
    experiment = command_line.load("grey_digits_mlp_re")
    objective = Lagrangian({"bound": constraint})
    with pytest.raises(
        ValueError, match="dual = Rewo requires constraints in nats, and bound is not"
    ):
        dataclasses.replace(experiment, objective=objective, dual=Rewo())


def test_a_record_tells_two_schedules_apart():
    experiment = command_line.load("grey_digits_mlp_re")
    with_schedule = lambda schedule: to_dict(  # noqa: E731
        dataclasses.replace(experiment, optimiser=Adam(schedule=schedule))
    )
    constant, cosine, other = map(with_schedule, (Constant(), Cosine(), Cosine(0.1)))
    assert differing_fields(cosine, constant) == ["optimiser.schedule (Constant, now Cosine)"]
    assert differing_fields(other, cosine) == ["optimiser.schedule.final (0.0, now 0.1)"]
    assert differing_fields(cosine, with_schedule(Cosine())) == []


@pytest.mark.parametrize("kappa", [np.float32(0.25), np.float64(0.25), jnp.float32(0.25)])
def test_a_record_holds_numbers_of_numpy_and_jax(kappa):
    experiment = command_line.load("grey_digits_mlp_re")
    objective = Lagrangian({"re": RE(kappa)})
    record = to_dict(dataclasses.replace(experiment, objective=objective))
    assert json.loads(json.dumps(record))["objective"]["constraints"]["re"]["kappa"] == 0.25


@pytest.mark.parametrize("field", ["optimiser", "prior_optimiser", "dual"])
def test_an_experiment_refuses_a_schedule_longer_than_the_run(field):
    experiment = command_line.load("grey_digits_mlp_re")
    value = getattr(experiment, field) or Adam()
    changed = dataclasses.replace(value, schedule=WarmUp(experiment.num_steps))
    with pytest.raises(
        ValueError, match=rf"^{field}\.schedule: steps of the warm-up, \d+, must be"
    ):
        dataclasses.replace(experiment, **{field: changed})


def test_the_report_speaks_of_the_averaged_parameters():
    experiment = dataclasses.replace(command_line.load("digits_vae_elbo"), ema_decay=0.5)
    run = Run.load(experiment, None)
    state = run.initial_state()
    average = jax.tree.map(lambda leaf: leaf + 1.0, state.ema.params)
    state = state._replace(ema=state.ema._replace(params=average))
    chosen = run.chosen(state).variables.params
    jax.tree.map(np.testing.assert_array_equal, chosen, average)


def test_a_flow_posterior_has_its_marginal_kl_evaluated(tmp_path, monkeypatch, capsys):
    """It has no rate in parts: those want the density of every component, a Gaussian."""
    digits = command_line.load("digits_vae_elbo")
    encoder = ConditionalFlow(MLP((4,), event_ndims=3), 2, num_layers=2, hidden=(2,))
    model = digits.model.clone(encoder=encoder)
    short = dict(num_steps=4, log_every=2, evaluate_every=4, posterior_samples=2, num_test=20)
    experiment = dataclasses.replace(digits, model=model, **short)
    monkeypatch.setattr(command_line, "load", lambda name: experiment)
    Run.load(experiment, None).train(tmp_path / "run", "digits_vae_elbo", [])
    few = dict(num_samples=4, num_points=30, annealed_points=2, annealed_temperatures=2)
    evaluate.main(evaluate.Arguments(str(tmp_path / "run"), **few))
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert [kl["standard_error"] > 0 for kl in evaluation["marginal_kl"]] == [True]
    assert evaluation["marginal"] == []
    assert re.search(
        r"marginal KL -?[\d.]+ ± [\d.]+ nats: q\(z\) is over all", capsys.readouterr().out
    )

"""Members of a sweep: paths and values, what is refused, and what a folder of members keeps."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from conftest import files
from small import SHAPE, assert_close, bits, constrained, elbo, small_model

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.constraints import NLL
from vaelab.likelihoods import GaussianDecoder
from vaelab.networks import MLP
from vaelab.runs.measures import measure
from vaelab.runs.members import at
from vaelab.training import Adam, Lagrangian
from vaelab.training.hooks import Hook

pytestmark = pytest.mark.usefixtures("without_plots")


def train(members, experiment=None, **settings):
    return runs.train(experiment or elbo(), members=members, progress=False, **settings)


def test_a_grid_is_every_combination():
    axes = {"optimiser.learning_rate": [0.1, 0.2], "objective.beta": [], "seed": range(2)}
    assert runs.grid(axes) == [
        {"optimiser.learning_rate": rate, "seed": seed} for rate in (0.1, 0.2) for seed in (0, 1)
    ]
    assert runs.grid({}) == [{}]


def test_paths_reach_the_fields():
    member = {
        "objective.constraints.nll.kappa": 0.3, "dual.step_size": 0.7, "seed": 4,
        "optimiser.learning_rate": 0.5,
    }  # fmt: skip
    changed = at(constrained(), member)
    assert changed.objective.constraints["nll"].kappa == 0.3
    assert (changed.dual.step_size, changed.seed, changed.optimiser) == (0.7, 4, Adam(0.5))
    assert constrained().objective.constraints["nll"].kappa == 0.5


REFUSED = {
    "none": ([], "members must hold at least one member."),
    "other fields": (
        [{"seed": 0}, {"objective.beta": 1.0}],
        r"members must all name the same fields: member 0 names \['seed'\] and member 1 names "
        r"\['objective.beta'\].",
    ),
    "whole numbers": (
        [{"batch_size": 5}],
        "members: batch_size = 10 is not a real number, which one program can",
    ),
    "a part": ([{"optimiser": 1.0}], r"members: optimiser = Adam\(.*\) is not a real number"),
    "unknown field": (
        [{"optimiser.rate": 1.0}],
        "members: optimiser.rate: Adam has no 'rate'; it has learning_rate",
    ),
    "too deep": ([{"seed.a": 1}], "members: seed.a: int has no 'a'; it has no fields."),
    "a word": (
        [{"optimiser.learning_rate": "fast"}],
        "members: optimiser.learning_rate must be a number, got 'fast'.",
    ),
    "nothing": ([{"objective.beta": None}], "members: objective.beta must be a number, got None."),
    "out of range": ([{"optimiser.learning_rate": -1.0}], "learning_rate must be positive"),
    "half a seed": ([{"seed": 0.5}], "seed must be a whole number"),
    "a large seed": ([{"seed": 2**31}], "seed must be a whole number from 0 to 2147483647"),
}


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize(("members", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_no_program_can_vary_is_refused(members, sentence, where, tmp_path):
    folder = tmp_path / "sweep"
    with pytest.raises(UsageError, match=f"^{sentence}"):
        train(members, workdir=folder if where == "folder" else None)
    assert not folder.exists()


def test_numbers_of_numpy_are_members(tmp_path):
    axes = {"optimiser.learning_rate": np.float32([0.01, 0.02]), "seed": np.arange(1)}
    kept = train(runs.grid(axes), workdir=tmp_path)
    for ours, theirs in zip(kept, train(runs.grid(axes)), strict=True):
        assert bits(ours.params) == bits(theirs.params)


def test_equal_members_are_trained_once(tmp_path):
    first, second = train([{"seed": 1}, {"seed": 1}], workdir=tmp_path)
    assert bits(first.params) == bits(second.params)
    assert [path.name for path in (tmp_path / "members").iterdir()] == ["000"]


def test_more_members_keep_the_files_of_the_old_ones(tmp_path):
    few = runs.grid({"objective.constraints.nll.kappa": [0.5, 0.6], "seed": [0]})
    more = runs.grid({"objective.constraints.nll.kappa": [0.4, 0.5, 0.6], "seed": [0, 1]})
    train(few, constrained(), workdir=tmp_path)
    before = files(tmp_path)
    results = train(more, constrained(), workdir=tmp_path)
    after = files(tmp_path)
    assert json.loads(before["sweep.json"])["groups"] == [{"members": few, "num_steps": 20}]
    new = [member for member in more if member not in few]
    assert json.loads(after["sweep.json"])["groups"][1] == {"members": new, "num_steps": 20}
    del before["sweep.json"]
    assert {name: after[name] for name in before} == before
    assert sorted(path.name for path in (tmp_path / "groups").iterdir()) == ["0", "1"]
    assert len(list((tmp_path / "members").iterdir())) == 6
    for result, member in zip(results, more, strict=True):  # in the order that was asked for
        experiment = result.run.experiment
        assert experiment.objective.constraints["nll"].kappa == member["objective.constraints.nll.kappa"]  # fmt: skip
        assert experiment.seed == member["seed"]
    again = train(few, constrained(), workdir=tmp_path)
    assert [bits(r.state) for r in again] == [bits(results[2].state), bits(results[4].state)]
    assert files(tmp_path) == after


def test_another_configuration_is_refused(tmp_path):
    train([{"seed": 0}], workdir=tmp_path / "sweep")
    with pytest.raises(UsageError, match=r"holds a sweep of another configuration, .* batch_size"):
        train([{"seed": 0}], batch_size=20, workdir=tmp_path / "sweep")
    with pytest.raises(
        UsageError,
        match=r"holds a sweep of another configuration, which differs in start \(None, now \w{16}\)",
    ):
        train([{"seed": 0}], start=runs.train(elbo(num_steps=5), progress=False), workdir=tmp_path / "sweep")  # fmt: skip
    runs.train(elbo(num_steps=5), progress=False, workdir=tmp_path / "run")
    with pytest.raises(UsageError, match="holds a single run: choose another workdir"):
        train([{"seed": 0}], workdir=tmp_path / "run")
    with pytest.raises(UsageError, match=r"holds a sweep: name one of its runs, such as .*000"):
        runs.load(tmp_path / "sweep")


def test_a_member_is_a_run_that_can_be_loaded_and_continued(tmp_path):
    train([{"seed": 0}, {"seed": 3}], workdir=tmp_path)
    folder = tmp_path / "members" / "001"
    assert runs.load(folder).record["seed"] == 3
    longer = runs.train(elbo(seed=3), num_steps=40, workdir=folder, progress=False)
    (whole,) = train([{"seed": 3}], num_steps=40)
    assert_close(longer.params, whole.params, rtol=1e-3, atol=1e-4)


def test_a_member_that_diverges_leaves_the_others_alone():
    rates = runs.grid({"optimiser.learning_rate": [0.02, 1e6]})
    good, bad = train(rates, num_steps=30)
    alone, _ = train(runs.grid({"optimiser.learning_rate": [0.02, 0.03]}), num_steps=30)
    assert bits(good.params) == bits(alone.params)
    assert np.isfinite(good.history["loss"]).all()
    assert not np.isfinite(bad.history["loss"]).all() or bad.history["elbo"][-1] < -1e3
    assert np.isfinite(good.report().elbo.mean)


def test_training_ends_only_when_every_member_diverged():
    with pytest.raises(UsageError, match="the loss became non-finite at step"):
        train(runs.grid({"optimiser.learning_rate": [1e30, 2e30]}))


def test_each_member_keeps_its_own_best():
    """The rate of 10⁻³⁰ is out of patience after 20 steps, and keeps the first validation's parameters."""
    rates = runs.grid({"optimiser.learning_rate": [1e-30, 0.01]})
    still, moving = train(rates, patience=1, num_steps=40)
    assert still.step == 10
    assert moving.step > 10
    assert still.last_step == moving.last_step > 20
    alone = runs.train(elbo(optimiser=Adam(0.01)), patience=1, num_steps=40, progress=False)
    assert moving.step == alone.step
    assert_close(moving.params, alone.params, rtol=1e-3, atol=1e-4)


def test_training_ends_when_every_member_is_out_of_patience():
    rates = runs.grid({"optimiser.learning_rate": [1e-30, 2e-30]})
    assert [result.last_step for result in train(rates, patience=1, num_steps=100)] == [20, 20]


def test_all_members_take_the_step_they_were_given_in_the_report():
    first, second = train(runs.grid({"seed": [0, 1]}))
    assert first.report() != second.report()
    assert first.report().elbo.mean == pytest.approx(first.report().elbo.mean)
    table = repr(runs.compare({"a": first, "b": second}))
    assert f"{second.report().rate.mean:.2f}" in table


@pytest.mark.parametrize("path", ["objective.beta", "model.decoder.scale"])
def test_a_member_validates_as_the_run_alone(path):
    """With its own model and its own objective, which its bound depends on."""
    decoder = GaussianDecoder(MLP((4,)), shape=SHAPE, scale=1.0)
    experiment = elbo(model=small_model(decoder=decoder))
    values = [{path: 0.5}, {path: 4.0}]
    for member, result in zip(values, train(values, experiment), strict=True):
        alone = runs.train(at(experiment, member), progress=False)
        for name in ("validation/bound", "validation/elbo"):
            np.testing.assert_allclose(result.history[name], alone.history[name], rtol=1e-4)


@pytest.mark.parametrize("path", ["data.seed", "sampler.weight"])
def test_fields_of_the_data_are_no_members(path):
    with pytest.raises(UsageError, match=f"members: {path} belongs to the data, which all"):
        train([{path: 1.0}])


def test_measures_are_of_the_reported_step():
    """Under early stopping the last step is another one."""
    members = [{"seed": 0}, {"seed": 1}]
    objective = Lagrangian({"nll": NLL(0.69)})  # soon met
    fields = dict(optimiser=Adam(0.3), num_steps=100, evaluate_every=5, patience=2)
    results = train(members, constrained(objective=objective, **fields))
    assert any(result.step < result.last_step for result in results)
    for result, row in zip(results, measure(results, members), strict=True):
        reported, measured = result.report().constraints["nll"], row.constraints["nll"]
        assert row.step == result.step
        assert measured.multiplier == reported.multiplier
        assert measured.train == reported.train_value
        assert measured.outcome == reported.outcome


def test_a_longer_sweep_can_be_interrupted(tmp_path):
    """The shorter sweep left runs of its members, which ended between two validations."""
    members = [{"seed": 0}, {"seed": 1}]
    train(members, workdir=tmp_path / "sweep", num_steps=18)

    class Interrupt(Hook):
        def on_metrics(self, step, metrics):
            if step == 15:
                signal.raise_signal(signal.SIGINT)

    results = train(members, workdir=tmp_path / "sweep", num_steps=40, hooks=[Interrupt()])
    assert all(result.interrupted and result.last_step < 40 for result in results)
    longer = train(members, workdir=tmp_path / "sweep", num_steps=40)
    whole = train(members, num_steps=40)
    for ours, theirs in zip(longer, whole, strict=True):
        assert_close(ours.params, theirs.params)
        assert ours.history.rows == theirs.history.rows

"""Training in memory, in a workdir and beside members: one loop, which continues bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import signal
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import TEST, TRAIN, VALIDATION, assert_close, bits, constrained, elbo, small_model

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.runs import Hook
from vaelab.training import Adam, Cosine, WarmUp
from vaelab.training.objectives import ELBO
from vaelab.types import Examples, Splits

pytestmark = pytest.mark.usefixtures("without_plots", "shared_programs")


def train(experiment=None, **settings):
    return runs.train(experiment or elbo(), progress=False, **settings)


whole = functools.cache(train)  # references, for several tests


def assert_same(ours, theirs):
    """Bit for bit: the whole state, the reported parameters, the metrics."""
    assert bits(ours.state) == bits(theirs.state)
    assert bits(ours.params) == bits(theirs.params)
    assert ours.history.rows == theirs.history.rows
    assert (ours.step, ours.last_step) == (theirs.step, theirs.last_step)


@pytest.fixture(scope="module")
def result():
    """Twenty steps in memory. To be read."""
    return train()


class InterruptAt(Hook):
    """Ctrl-C when the metrics of a step arrive."""

    def __init__(self, step):
        self.step = step

    def on_metrics(self, step, metrics):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


# One loop.


def test_a_workdir_changes_nothing(result, tmp_path):
    kept = train(workdir=tmp_path / "run")
    assert_same(kept, result)
    loaded = runs.load(tmp_path / "run")
    assert bits(loaded.params) == bits(result.params)
    assert loaded.history.rows == result.history.rows


@pytest.mark.parametrize("make", [elbo, constrained])
def test_members_are_the_runs_alone(make):
    members = runs.grid({"optimiser.learning_rate": [0.01, 0.03], "seed": [0, 4]})[1:3]
    together = train(make(), members=members)
    for member, ours in zip(members, together, strict=True):
        rate, seed = member["optimiser.learning_rate"], member["seed"]
        alone = train(make(), optimiser=Adam(rate), seed=seed)
        assert_close(ours.params, alone.params, rtol=2e-4, atol=2e-5)
        assert ours.history.names == alone.history.names
        for name in ours.history.names:
            np.testing.assert_allclose(ours.history[name], alone.history[name], rtol=1e-3, atol=1e-4)  # fmt: skip
            np.testing.assert_array_equal(ours.history.steps(name), alone.history.steps(name))


def test_splits_take_the_place_of_the_data(result):
    splits = Splits(*(Examples(x) for x in (TRAIN, VALIDATION, TEST)))
    other = Splits(*(Examples(x) for x in (1 - TRAIN, 1 - VALIDATION, 1 - TEST)))
    assert bits(train(splits=splits).state) == bits(result.state)
    assert bits(train(splits=other).state) != bits(result.state)


def test_fields_may_be_changed_by_name(result):
    changed = train(elbo(num_steps=5, seed=3), num_steps=20, seed=0)
    assert_same(changed, result)
    with pytest.raises(UsageError, match="no field 'num_step'; the nearest name is 'num_steps'"):
        train(num_step=3)


def test_hooks_receive_metrics_and_checkpoints(result):
    class Recorder(Hook):
        steps: list = []  # noqa: RUF012
        states: list = []  # noqa: RUF012

        def on_metrics(self, step, metrics):
            self.steps.append((step, sorted(metrics)[0]))

        def on_checkpoint(self, state):
            self.states.append((int(state.step), bits(state.variables)))

    recorder = Recorder()
    train(hooks=[recorder])
    assert [step for step, _ in recorder.steps] == [5, 10, 10, 15, 20, 20]
    assert recorder.steps[2][1] == "validation/bound"
    assert [step for step, _ in recorder.states] == [10, 20]
    assert recorder.states[1][1] == bits(result.state.variables)


class LossAlone(ELBO):
    """An objective of one's own, without the metrics of vaelab's."""

    def __call__(self, *arguments):
        loss, _ = super().__call__(*arguments)
        return loss, {"loss": loss}


def test_progress_shows_an_objective_of_ones_own(capsys):
    result = runs.train(elbo(objective=LossAlone()))
    assert result.history.steps("loss").tolist() == [5, 10, 15, 20]
    assert "20/20  loss " in capsys.readouterr().out


def test_training_changes_nothing_of_the_process(tmp_path):
    """Neither in memory nor in a workdir."""

    def process():
        loggers = [logging.getLogger(), *map(logging.getLogger, ("absl", "asyncio", "jax"))]
        return (
            list(warnings.filters), warnings.showwarning, threading.excepthook, sys.excepthook,
            sys.unraisablehook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
            [logger.level for logger in loggers], [list(logger.handlers) for logger in loggers],
            sys.stdout.errors, sys.stderr.errors, np.geterr(), list(sys.path),
        )  # fmt: skip

    train(num_steps=5)  # imports what it needs
    before = process()
    train(num_steps=5, workdir=tmp_path / "run")
    with pytest.raises(UsageError):
        train(seed=-1)
    train(hooks=[InterruptAt(5)])
    assert process() == before


# Ctrl-C.


def test_ctrl_c_returns_what_there_is(result):
    interrupted = train(hooks=[InterruptAt(5)])
    assert interrupted.interrupted
    assert not result.interrupted
    assert interrupted.last_step == 10  # metrics arrive one dispatch late
    assert interrupted.report().step == 10
    assert_same(train(start=interrupted), result)


def test_ctrl_c_keeps_a_checkpoint_in_a_workdir(result, tmp_path):
    """Between two validations, too."""
    folder = tmp_path / "run"
    interrupted = train(workdir=folder, log_every=2, hooks=[InterruptAt(2)])
    assert interrupted.interrupted
    assert interrupted.last_step == 4
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"4"}
    assert not (folder / "report.json").exists()
    resumed = train(workdir=folder, log_every=2)
    assert not resumed.interrupted
    assert_same(resumed, train(log_every=2))
    assert bits(resumed.state) == bits(result.state)


def test_ctrl_c_ends_members_together(tmp_path):
    members = runs.grid({"seed": [0, 1]})
    first = train(members=members, workdir=tmp_path, hooks=[InterruptAt(5)])
    assert [each.interrupted for each in first] == [True, True]
    whole = train(members=members)
    for ours, theirs in zip(train(members=members, workdir=tmp_path), whole, strict=True):
        assert_same(ours, theirs)


def test_a_second_ctrl_c_raises_at_once():
    class Twice(Hook):
        def on_metrics(self, step, metrics):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(hooks=[Twice()])


def test_training_in_another_thread_leaves_signals_alone(result):
    found = []
    thread = threading.Thread(target=lambda: found.append(train()))
    thread.start()
    thread.join()
    assert_same(found[0], result)


# More steps.

PATIENT = dict(patience=3, evaluate_every=10)


@pytest.mark.parametrize("fields", [{}, PATIENT], ids=["plain", "patience"])
@pytest.mark.parametrize("first", [20, 24], ids=["at a validation", "between two"])
def test_a_longer_workdir_equals_a_run_of_that_length(first, fields, tmp_path):
    folder = tmp_path / "run"
    train(workdir=folder, num_steps=first, **fields)
    longer = train(workdir=folder, num_steps=40, **fields)
    assert_same(longer, whole(num_steps=40, **fields))
    assert sorted(int(path.name) for path in (folder / "checkpoints").iterdir()) == [20, 30, 40]
    assert json.loads((folder / "report.json").read_text())["num_steps"] == 40


@pytest.mark.parametrize("members", [None, [{"seed": 0}]], ids=["run", "sweep"])
def test_a_longer_run_says_once_that_it_continues_from_the_last_validation(
    members, tmp_path, capsys
):
    runs.train(elbo(num_steps=24), members=members, workdir=tmp_path)
    name = "1 member of experiment" if members else "experiment"
    assert f"training {name} in {tmp_path}" in capsys.readouterr().out
    runs.train(elbo(num_steps=40), members=members, workdir=tmp_path)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"continuing {name} in {tmp_path}")
    assert first.endswith("from step 20, the last validation")
    assert not any("step 20" in line or "validation" in line for line in others)


def test_progress_names_a_constraint_by_its_function(capsys):
    result = runs.train(constrained())
    average = result.history["average/nll"][-1]
    assert f" C(nll) {average:+.3g} " in capsys.readouterr().out


def test_a_longer_run_killed_at_once_does_not_return_to_the_shorter_end(tmp_path):
    """The checkpoint of the shorter run's end would give other metrics than a run of that length."""

    class Killed(Hook):
        def on_metrics(self, step, metrics):
            raise InterruptedError

    train(workdir=tmp_path, num_steps=24, **PATIENT)
    with pytest.raises(InterruptedError):
        train(workdir=tmp_path, num_steps=40, hooks=[Killed()], **PATIENT)
    assert_same(train(workdir=tmp_path, num_steps=40, **PATIENT), whole(num_steps=40, **PATIENT))


def test_ctrl_c_before_the_shorter_end_keeps_its_checkpoint(tmp_path):
    """Orbax leaves out a step that is not the newest."""
    train(workdir=tmp_path, num_steps=29)
    stopped = train(workdir=tmp_path, num_steps=40, hooks=[InterruptAt(25)], log_every=5)
    assert stopped.last_step == 30
    train(workdir=tmp_path / "b", num_steps=29, log_every=2)
    stopped = train(workdir=tmp_path / "b", num_steps=40, hooks=[InterruptAt(22)], log_every=2)
    assert stopped.last_step == 24
    assert "24" in {path.name for path in (tmp_path / "b" / "checkpoints").iterdir()}
    assert "29" not in {path.name for path in (tmp_path / "b" / "checkpoints").iterdir()}


@pytest.mark.parametrize("fields", [{}, PATIENT], ids=["plain", "patience"])
def test_a_longer_run_in_memory_equals_a_run_of_that_length(result, fields):
    first = train(**fields)
    for start in (first, first):  # a result is a value: it can be continued twice
        assert_same(train(start=start, num_steps=40, **fields), whole(num_steps=40, **fields))


def test_a_longer_run_in_memory_keeps_its_parameters_between_two_validations():
    longer = train(start=train(num_steps=24), num_steps=40)
    assert bits(longer.params) == bits(whole(num_steps=40).params)
    with pytest.raises(UsageError, match="start ended at step 24, between two validations"):
        train(start=train(num_steps=24, patience=3), num_steps=40, patience=3)


@pytest.mark.parametrize("first", [20, 24])
def test_a_loaded_run_continues_as_its_workdir_does(first, tmp_path):
    train(workdir=tmp_path / "run", num_steps=first, **PATIENT)
    reference = whole(num_steps=40, **PATIENT)
    assert_same(train(start=runs.load(tmp_path / "run"), num_steps=40, **PATIENT), reference)
    assert_same(train(start=tmp_path / "run", num_steps=40, workdir=tmp_path / "b", **PATIENT), reference)  # fmt: skip
    assert runs.load(tmp_path / "b").history.rows == reference.history.rows


def test_a_start_of_another_generator_is_refused(result, tmp_path):
    """In memory, and from its folder."""
    result.save(tmp_path / "run")
    for start in (result, tmp_path / "run"):
        sentence = "generator threefry2x32, and this process has rbg"
        with jax.default_prng_impl("rbg"), pytest.raises(UsageError, match=sentence):
            train(start=start, num_steps=30)


def test_a_finished_start_fills_a_new_workdir(result, tmp_path):
    """Training can continue there, although nothing was trained."""
    train(start=result, workdir=tmp_path / "run")
    assert runs.load(tmp_path / "run").history.rows == result.history.rows
    assert_same(train(workdir=tmp_path / "run", num_steps=40), whole(num_steps=40))


def test_a_longer_sweep_equals_one_of_that_length(tmp_path):
    """Also if its groups were made longer one after the other."""
    first, second = runs.grid({"seed": [0, 1]})
    train(members=[first], workdir=tmp_path, num_steps=24, **PATIENT)
    train(members=[first, second], workdir=tmp_path, num_steps=24, **PATIENT)
    train(members=[first], workdir=tmp_path, num_steps=40, **PATIENT)
    ours = train(members=[first, second], workdir=tmp_path, num_steps=40, **PATIENT)
    for one, member in zip(ours, (first, second), strict=True):
        (whole,) = train(members=[member], num_steps=40, **PATIENT)
        assert_same(one, whole)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimiser", Adam(0.01, schedule=Cosine())),
        ("optimiser", Adam(0.01, schedule=WarmUp(5, then=Cosine()))),
        ("prior_optimiser", Adam(0.01, schedule=Cosine())),
        ("dual", dataclasses.replace(constrained().dual, schedule=Cosine())),
    ],
)
def test_a_schedule_that_depends_on_the_length_is_named(field, value):
    name = type(value.schedule).__name__
    sentence = rf"^num_steps cannot change: {field}\.schedule = {name} depends on the length"
    with pytest.raises(UsageError, match=sentence):
        constrained(**{field: value}).check_longer()
    constrained(optimiser=Adam(0.01, schedule=WarmUp(5))).check_longer()


def test_another_length_is_refused_if_the_schedule_depends_on_it(tmp_path):
    fields = dict(optimiser=Adam(0.01, schedule=Cosine()))
    first = train(workdir=tmp_path, **fields)
    with pytest.raises(UsageError, match=r"^num_steps cannot change: optimiser\.schedule = Cosine"):
        train(workdir=tmp_path, num_steps=40, **fields)
    with pytest.raises(UsageError, match=r"^num_steps cannot change: optimiser\.schedule = Cosine"):
        train(start=first, num_steps=40, **fields)
    assert runs.load(tmp_path).step == 20


def test_a_run_whose_patience_ended_stays_ended(tmp_path):
    """A learning rate of 0 would find no better bound; one of 10⁻³⁰ finds none."""
    fields = dict(optimiser=Adam(1e-30), patience=1)
    first = train(workdir=tmp_path, num_steps=100, **fields)
    assert first.last_step == 20
    assert_same(train(workdir=tmp_path, num_steps=200, **fields), first)
    assert_same(train(start=first, num_steps=200, **fields), first)


def test_fewer_steps_than_were_made_are_refused(result, tmp_path):
    train(workdir=tmp_path)
    with pytest.raises(UsageError, match="holds a run of 20 steps, more than num_steps = 10"):
        train(workdir=tmp_path, num_steps=10)
    with pytest.raises(UsageError, match="num_steps = 10 is less than the 20 steps"):
        train(start=result, num_steps=10)


# Another run's parameters.


@pytest.mark.parametrize(
    "changes",
    [{"optimiser": Adam(1e-3)}, {"objective": ELBO(beta=2.0)}, {"seed": 5}, {"batch_size": 20}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_experiment_starts_from_the_parameters(result, changes):
    """One step of Adam away; fresh parameters are further away."""

    def distance(run):
        pairs = zip(*map(jax.tree.leaves, (run.params, result.params)), strict=True)
        return max(np.abs(a - b).max() for a, b in pairs)

    new = train(start=result, num_steps=1, log_every=1, **changes)
    assert new.last_step == 1
    assert new.started_from is not None
    assert 0 < distance(new) < 0.1 < distance(whole(num_steps=1, log_every=1))


def test_members_start_from_the_parameters(result):
    rates = runs.grid({"optimiser.learning_rate": [1e-30, 1e-3]})
    still, moved = train(members=rates, start=result)
    assert bits(still.params) == bits(result.params)
    assert bits(moved.params) != bits(result.params)


def test_one_member_of_the_same_experiment_starts_from_the_parameters(result):
    (one,) = train(members=[{"seed": 7}], start=result)
    assert one.started_from is not None
    assert one.last_step == 20


def test_parameters_of_other_shapes_are_refused(result, tmp_path):
    encoder = ConditionalGaussian(MLP((5,), event_ndims=3), dim=2)
    sentence = (
        r"^start has parameters that do not fit the model: .*\(4, 4\), and the model's \(5, 4\)"
    )
    with pytest.raises(UsageError, match=sentence):
        train(model=small_model(encoder=encoder), start=result, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_workdir_with_another_start_is_refused(result, tmp_path):
    train(workdir=tmp_path / "fresh")
    train(start=result, seed=5, workdir=tmp_path / "from")
    with pytest.raises(UsageError, match=r"differs in start \(None, now \w{16}\)"):
        train(elbo(seed=0), start=train(seed=5, num_steps=5), workdir=tmp_path / "fresh")
    with pytest.raises(UsageError, match=r"differs in start \(\w{16}, now None\)"):
        train(seed=5, workdir=tmp_path / "from")
    assert train(start=result, seed=5, workdir=tmp_path / "from").last_step == 20


# Numbers that are no numbers.


def test_a_divergence_says_where_the_last_good_parameters_are(tmp_path):
    """And a run can start from them."""

    folder = tmp_path / "run"
    train(workdir=folder, num_steps=10)
    with pytest.raises(UsageError) as error:
        train(optimiser=Adam(1e30), workdir=tmp_path / "bad")
    sentence = str(error.value)
    assert "the loss became non-finite at step" in sentence
    assert "Lower optimiser.learning_rate and choose another workdir" in sentence
    assert not (tmp_path / "bad" / "report.json").exists()
    with pytest.raises(UsageError, match="holds no checkpoint that can be read"):
        runs.load(tmp_path / "bad")
    again = train(start=folder, optimiser=Adam(1e-3), workdir=tmp_path / "again")
    assert again.started_from is not None
    assert again.last_step == 20


@dataclasses.dataclass(frozen=True)
class BadAt(ELBO):
    """The ELBO, whose loss is NaN after some numbers of steps."""

    steps: tuple[int, ...] = ()

    def __call__(self, model, multipliers, examples, key, step):
        loss, metrics = super().__call__(model, multipliers, examples, key, step)
        bad = jnp.any(step == jnp.array(self.steps))
        loss *= jnp.where(bad, jnp.nan, 1.0)
        return loss, metrics | {"loss": loss}


def test_steps_that_are_not_finite_are_skipped_counted_and_reported(tmp_path):
    """Steps 4 and 8, and nothing of them remains: the rows are means over the other steps."""
    settings = dict(objective=BadAt(steps=(3, 7)), log_every=2, workdir=tmp_path)
    result = train(nonfinite_limit=1, **settings)
    assert result.history["nonfinite"].tolist() == [1.0, 1.0]
    assert result.history.steps("nonfinite").tolist() == [4, 8]
    assert np.isfinite(result.history["loss"]).all()
    assert int(result.state.step) - int(result.state.opt_state.step) == 2
    report = result.report()
    assert report.nonfinite_steps == 2
    assert "2 training steps of 20 had no finite gradient" in " ".join(repr(report).split())
    assert train(nonfinite_limit=5, **settings).last_step == 20  # the limit may change
    assert train().report().nonfinite_steps == 0


def test_one_skipped_step_more_than_the_limit_ends_training():
    bad = BadAt(steps=(3, 4, 5))
    with pytest.raises(UsageError, match="non-finite at step 4 and stayed so for 3 steps, and tr"):
        train(objective=bad, nonfinite_limit=2)
    assert train(objective=bad, nonfinite_limit=3).report().nonfinite_steps == 3
    with pytest.raises(UsageError, match="the loss became non-finite at step 4, and training"):
        train(objective=bad)


def test_a_members_skipped_steps_leave_its_constraints_alone():
    """A member that is skipped while its gradient is too large, and has NaN in a constraint."""
    members = train(
        objective=BadAt(steps=(3,)), members=runs.grid({"seed": [0, 1]}), nonfinite_limit=1
    )
    for member in members:
        assert member.history["nonfinite"].tolist() == [1.0]
        assert np.isfinite(member.history["loss"]).all()

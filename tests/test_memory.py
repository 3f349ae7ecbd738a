"""What does not fit into the device's memory is refused before it is allocated, by the compiler's account."""

import dataclasses

import jax
import pytest
from small import constrained, elbo

from experiments import digits
from vaelab import runs
from vaelab.priors import GTM, GaussianMixture, GTMVampPrior, HierarchicalPrior, ResampledPrior
from vaelab.priors.gtm import check_grid
from vaelab.runs.config import ConfigurationError
from vaelab.runs.programs import Program
from vaelab.runs.run import Run
from vaelab.training import memory

SCHEDULE = {"num_steps": 4, "log_every": 2, "evaluate_every": 4}


def with_prior(prior, **settings):
    experiment = digits.EXPERIMENTS["digits_vae_elbo"]
    model = experiment.model.clone(prior=prior)
    return dataclasses.replace(experiment, model=model, **SCHEDULE, **settings)


def train(experiment, folder=None, *, sweep: bool):
    members = [{"seed": 0}, {"seed": 1}] if sweep else None
    return runs.train(experiment, workdir=folder, members=members, progress=False)


@pytest.fixture
def compilations():
    """How often each function has been compiled."""
    counts: dict[str, int] = {}

    def listen(event, duration, fun_name="", **_):
        del duration
        if event.endswith("backend_compile_duration"):
            counts[fun_name] = counts.get(fun_name, 0) + 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counts
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize(
    "prior",
    [
        GaussianMixture(2, 10**9),
        HierarchicalPrior(2, top=GaussianMixture(2, 10**9)),
        ResampledPrior(2, proposal=GaussianMixture(2, 10**9)),
        GTM(
            2, grid_size=40_000
        ),  # has hardly any parameters: what it needs is seen by the compiler
        GTMVampPrior(2, (8, 8, 1), grid_size=40_000),
    ],
    ids=["mixture", "on top", "as proposal", "grid", "grid of pseudo-inputs"],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(prior, sweep, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=r"^a training step needs about \S+ GiB of memory, and"):
        train(with_prior(prior), folder, sweep=sweep)
    assert not folder.exists()


def test_the_limit_is_what_states_and_densities_take(monkeypatch):
    num_components, batch_size = 20_000, 100
    program = Program(Run.load(with_prior(GaussianMixture(2, num_components))))
    state = 4 * 3 * (2 + 2 + 1) * num_components  # parameters and Adam's two moments
    densities = 4 * batch_size * num_components
    mesh = program.mesh()

    def check():
        steps = program.compile_steps(mesh)
        program.compile_ahead(steps, program.shapes(mesh), program.feed(mesh))()

    monkeypatch.setattr(memory, "device_memory", lambda: state + densities)
    with pytest.raises(ValueError, match=r"of memory, and the device has 0\.00857"):
        check()
    monkeypatch.setattr(memory, "device_memory", lambda: state + 10 * densities)
    check()


@pytest.mark.parametrize(("sweep", "name"), [(False, "jit(train_steps)"), (True, "jit(run)")])
def test_the_program_is_compiled_once(sweep, name, compilations):
    train(constrained(), sweep=sweep)
    assert compilations[name] == 1


def test_the_numbers_of_steps_between_two_stops_share_one_program(compilations):
    """Case 27: dispatches of 97, 3, 94, 6 ... steps."""
    result = train(elbo(num_steps=500, log_every=97, evaluate_every=100), sweep=False)
    assert result.history.steps("loss").tolist() == sorted({*range(97, 500, 97), *range(100, 501, 100)})  # fmt: skip
    assert compilations["jit(train_steps)"] == 1
    assert sum(compilations.values()) < 40


def test_another_run_s_workdir_is_refused_before_anything_is_compiled(tmp_path, compilations):
    train(elbo(num_steps=1, log_every=1, seed=1), tmp_path / "run", sweep=False)
    train(elbo(num_steps=1, log_every=1, batch_size=5), tmp_path / "sweep", sweep=True)
    compilations.clear()
    with pytest.raises(ConfigurationError, match="differs in seed"):
        train(elbo(num_steps=1, log_every=1), tmp_path / "run", sweep=False)
    with pytest.raises(ConfigurationError, match="differs in batch_size"):
        train(elbo(num_steps=1, log_every=1), tmp_path / "sweep", sweep=True)
    assert not {"jit(train_steps)", "jit(run)"} & compilations.keys()


def test_a_grid_of_more_points_than_can_be_numbered_is_refused():
    check_grid(46_340, 2)
    with pytest.raises(ValueError, match="grid_size = 46341 is too large: there would be"):
        check_grid(46_341, 2)

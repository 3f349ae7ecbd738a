"""How many programs a run compiles, from its start to its report."""

from __future__ import annotations

import contextlib
from collections import Counter

import jax

from vaelab import data, likelihoods, models, networks, priors, runs
from vaelab.constraints import NLL
from vaelab.training.duals import Rewo
from vaelab.training.objectives import Lagrangian

MODEL = models.VAE(
    encoder=networks.ConditionalGaussian(networks.MLP((8,), event_ndims=3), dim=2),
    decoder=likelihoods.BernoulliDecoder(networks.MLP((8,)), shape=(8, 8, 1)),
    prior=priors.HierarchicalPrior(latent_dim=2, num_samples=2, hidden=(8,)),
)
EXPERIMENT = runs.Experiment(
    data.Digits(), MODEL, Lagrangian({"nll": NLL(0.3)}), dual=Rewo(), num_steps=40, num_samples=50,
    num_test=20, posterior_samples=2, prior_samples=4, log_every=7, evaluate_every=11,
)  # fmt: skip


@contextlib.contextmanager
def counted_programs():
    """The programs that are compiled in this process, by name."""
    names: Counter[str] = Counter()

    def listen(event: str, seconds: float, **details) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names[details["fun_name"]] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_a_run_with_odd_gaps_compiles_one_step_and_few_other_programs(tmp_path):
    """Gaps of 7, 4, 3, 7, 1, ... steps."""
    jax.clear_caches()
    with counted_programs() as names:
        runs.train(EXPERIMENT, workdir=tmp_path / "run", progress=False)
    assert names["jit(train_steps)"] == 1
    assert names["jit(start)"] == 1
    assert names["jit(_batch_means)"] == 2  # of the validation, compiled ahead, and of the report
    assert names.total() <= 25, names
    # The same experiment again traces its functions anew, and its evaluation has its programs.
    with counted_programs() as names:
        runs.train(EXPERIMENT, progress=False, seed=1).report()
    assert names.total() <= 8, names


def test_programs_of_a_sweep_do_not_grow_with_its_members():
    def programs(num_members: int) -> int:
        jax.clear_caches()
        members = [{"seed": seed} for seed in range(num_members)]
        with counted_programs() as names:
            for result in runs.train(EXPERIMENT, members=members, progress=False):
                result.report()
        return names.total()

    assert programs(2) == programs(3)

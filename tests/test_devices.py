"""Eight devices of one process: what they send each other, sharded parameters, and evaluations."""

from __future__ import annotations

import json
import math
import re
import sys

import jax
import numpy as np
import pytest
import small

from vaelab import evaluation, runs
from vaelab.constraints import NLL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.runs.programs import Program
from vaelab.runs.run import Run
from vaelab.training.objectives import Lagrangian
from vaelab.training.sharding import replicate

NUM_STEPS = 50
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(")


def experiment(**changes) -> runs.Experiment:
    """A model with some arrays that are large enough to be split."""
    model = small.small_model(
        encoder=ConditionalGaussian(MLP((96, 96), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(MLP((96, 96)), shape=small.SHAPE),
    )
    settings = dict(
        model=model, batch_size=16, num_steps=NUM_STEPS, log_every=1, evaluate_every=25, ema_decay=0.9,
        objective=Lagrangian({"nll": NLL(0.69)}),  # soon met, so that there is a best
    )  # fmt: skip
    return small.constrained(**settings | changes)


def train(folder=None, **settings) -> runs.Result:
    return runs.train(experiment(), workdir=folder, progress=False, **settings)


def numbers(result: runs.Result) -> dict[str, list[float]]:
    """Every evaluation that is spread over devices, on parameters that are no matter of rounding."""
    params = jax.tree.map(lambda leaf: np.round(np.asarray(leaf), 2), result.params)
    subject = evaluation.Subject(result.model, params, small.X)
    key = jax.random.key(7)
    expected = evaluation.expectations(subject, key, {"elbo": evaluation.elbo}, batch_size=20)
    likelihood = evaluation.log_likelihood(subject, key, num_samples=30, batch_size=8)
    marginal = evaluation.marginal_kl(subject, key, num_points=30, batch_size=16)
    joint = evaluation.marginal_kl(subject, key, level=None, num_points=30, batch_size=16)
    annealed = evaluation.annealed_importance_sampling(
        subject.take(slice(9)), key, num_chains=2, num_temperatures=3, num_leapfrogs=2, batch_size=4
    )
    return {
        "expectations": [*expected["elbo"]],
        "log p(x)": [likelihood.effective_sample_size, *likelihood.log_prob],
        "marginal KL": [*marginal, *joint],
        "annealing": [annealed.acceptance_rate, *annealed.log_prob],
    }


@pytest.fixture(scope="module")
def alone(without_plots):
    del without_plots
    return train()


@pytest.fixture(scope="module")
def eight(command, tmp_path_factory):
    """The folder and the output of `main` on eight devices."""
    folder = tmp_path_factory.mktemp("eight")
    result = command(__file__, folder, devices=8)  # optimised, as the programs of users are
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


def test_a_step_sends_its_gradients_at_once_and_no_data(eight, alone):
    _, output = eight
    ((kind, sizes),) = output["collectives"]
    assert kind == "all-reduce"
    gradient = [np.size(leaf) for leaf in jax.tree.leaves(alone.state.variables.params)]
    scalars = sum(sizes) - sum(gradient)
    assert 0 < scalars <= 8  # loss, rate, distortion, the constraint
    assert sorted(size for size in sizes if size > 1) == sorted(n for n in gradient if n > 1)


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_eight_devices_have_the_metrics_of_one(eight, alone, kind):
    rows = eight[1]["metrics"][kind]
    assert len(rows) == len(alone.history.rows)
    for ours, theirs in zip(rows, alone.history.rows, strict=True):
        # A rate near 0 is a difference of numbers near 1.
        small.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_device_holds_a_part_of_sharded_parameters(eight):
    held = eight[1]["bytes"]
    assert held["sharded"] < 0.3 * held["replicated"]
    specs = eight[1]["specs"]
    assert specs["replicated"] == {}
    names = {name for name in specs["sharded"]}
    for part in ("variables", "opt_state", "ema"):
        assert any(name.startswith(f".{part}") for name in names), part


def test_the_best_is_not_on_the_devices(alone):
    assert int(alone.state.best.step) in (25, NUM_STEPS)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(alone.state.best))


def test_checkpoints_of_sharded_parameters_continue_on_other_devices(eight, alone):
    """The first half was trained on eight devices, and is continued on one."""
    for settings in ({"start": eight[0] / "half"}, {"folder": eight[0] / "half"}):
        result = train(**settings)
        for ours, theirs in zip(result.history.rows, alone.history.rows, strict=True):
            small.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert runs.load(eight[0] / "replicated half").step == NUM_STEPS


def test_evaluations_of_eight_devices_are_those_of_one(eight, alone):
    ours, theirs = eight[1]["numbers"], numbers(alone)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        # Near zero they are differences of log densities of some nats.
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def collectives(run_steps, *arguments) -> list[tuple[str, list[int]]]:
    """Kind and numbers of elements of each communication in a compiled program."""
    text = run_steps.lower(*arguments, num_steps=2).compile().as_text()
    found = []
    for line in text.splitlines():
        if match := _COLLECTIVE.search(line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", match[1])
            sizes = [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]
            found.append((match[2], sizes))
    return found


def main(folder: str) -> None:
    """Trains on eight devices; prints what the tests above read."""
    output: dict = {"metrics": {}, "bytes": {}, "specs": {}}
    for kind in ("replicated", "sharded"):
        mesh = runs.Mesh(shard_parameters=kind == "sharded")
        result = train(mesh=mesh)
        output["metrics"][kind] = result.history.rows
        leaves = jax.tree_util.tree_leaves_with_path(result.state._replace(key=(), best=()))
        output["bytes"][kind] = sum(leaf.addressable_shards[0].data.nbytes for _, leaf in leaves)
        output["specs"][kind] = {
            jax.tree_util.keystr(path): str(leaf.sharding.spec)
            for path, leaf in leaves
            if not leaf.is_fully_replicated
        }
    sharded = runs.Mesh(shard_parameters=True)
    runs.train(experiment(num_steps=25), workdir=f"{folder}/half", mesh=sharded, progress=False)
    # From sharded to replicated parameters, on a part of the devices.
    other = f"{folder}/replicated half"
    runs.train(experiment(num_steps=25), workdir=other, mesh=sharded, progress=False)
    train(other, mesh=runs.Mesh(data=4))
    program = Program(Run.load(experiment()))
    mesh = program.mesh()
    placed = program.place(program.initial_state(), mesh), replicate(program.run.source(), mesh)
    output["collectives"] = collectives(program.compile_steps(mesh), *placed)
    output["numbers"] = numbers(result)
    print(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])

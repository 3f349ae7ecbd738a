"""The same run on eight devices as on one."""

from __future__ import annotations

import json
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

NUM_STEPS, BATCH_SIZE, NUM_DEVICES = 50, 80, 8


@pytest.fixture(scope="module")
def runs(command):
    """Metrics of the run on eight devices and on one, and what became of the batch."""
    result = command(__file__, devices=NUM_DEVICES, quick=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_eight_devices_have_the_metrics_of_one(runs):
    one, eight = runs["metrics"]
    assert {"loss", "rate", "distortion", "elbo", "multiplier/nll"} <= one.keys()
    for name, values in one.items():
        assert len(values) == NUM_STEPS
        np.testing.assert_allclose(eight[name], values, rtol=1e-5, err_msg=name)


def test_the_constraint_is_averaged_over_the_whole_batch(runs):
    """Of one part of the batch it would be another number, as each part holds other images."""
    one, eight = runs["metrics"]
    np.testing.assert_allclose(eight["average/nll"], one["average/nll"], rtol=1e-5)
    parts = np.array(runs["parts"])  # the first step's constraint, in each device's part
    assert parts.shape == (NUM_DEVICES,)
    np.testing.assert_allclose(parts.mean(), eight["constraint/nll"][0], rtol=1e-5)
    assert np.ptp(parts) > 0.01
    np.testing.assert_allclose(eight["average/nll"][0], eight["constraint/nll"][0], rtol=1e-6)


def test_the_batch_is_split_over_the_devices(runs):
    assert runs["shards"] == [[BATCH_SIZE // NUM_DEVICES, 8, 8, 1]]
    assert runs["replicated"]


def test_a_run_continues_on_other_devices(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "report.json").unlink()
    shutil.rmtree(run / "checkpoints" / "60")
    result = command.train(run, devices=4)
    assert result.returncode == 0, result.stderr
    assert f"continuing digits_vhp_rewo in {run} from step 40" in result.stdout
    ours, theirs = ((folder / "metrics.jsonl").read_text() for folder in (run, finished))
    for a, b in zip(ours.splitlines(), theirs.splitlines(), strict=True):
        a, b = json.loads(a), json.loads(b)
        assert a.keys() == b.keys()
        np.testing.assert_allclose([a[name] for name in b], list(b.values()), rtol=1e-4)


def both():
    """Trains on all devices and on one of them; prints what the tests above read."""
    sys.path.insert(0, str(ROOT))
    from experiments.digits import EXPERIMENTS
    from vaelab.networks import ConditionalGaussian, GatedMLP
    from vaelab.runs.programs import Program
    from vaelab.runs.run import Run
    from vaelab.training.sharding import make_mesh, replicate
    from vaelab.training.sources import in_memory
    from vaelab.training.step import compile_train_steps
    from vaelab.types import Examples

    experiment = EXPERIMENTS["digits_vhp_rewo"]
    decoder = experiment.model.decoder.clone(trunk=GatedMLP((8,)))
    encoder = ConditionalGaussian(GatedMLP((8,), event_ndims=3), dim=2)
    model = experiment.model.clone(encoder=encoder, decoder=decoder)
    run = Run.load(experiment.with_fields(model=model))
    experiment, state = run.experiment, Program(run).initial_state()
    shards, metrics = set(), []

    def preprocess(key, x):
        x = experiment.data.preprocess(key, x)
        jax.debug.inspect_array_sharding(
            x, callback=lambda s: shards.add(tuple(s.shard_shape(x.shape)))
        )
        return x

    for devices in (jax.devices()[:1], jax.devices()):
        mesh = make_mesh(devices=devices)
        shards.clear()
        steps = compile_train_steps(
            model=experiment.model,
            objective=experiment.objective,
            tx=run.setup().tx,
            preprocess=preprocess,
            mesh=mesh,
        )
        start = replicate(jax.tree.map(jnp.copy, state), mesh)
        source = replicate(in_memory(run.splits.train.x, batch_size=BATCH_SIZE), mesh)
        end, values = steps(start, source, num_steps=NUM_STEPS)
        metrics.append({name: np.asarray(value).tolist() for name, value in values.items()})
    replicated = all(leaf.is_fully_replicated for leaf in jax.tree.leaves(end))

    # The first batch and its noise again, with the constraint of each device's part.
    order_key = jax.random.fold_in(jax.random.fold_in(state.key, 2**31 - 2), 0)
    rows = jax.random.permutation(order_key, len(run.splits.train.x))[:BATCH_SIZE]
    binary_key, key = jax.random.split(jax.random.fold_in(state.key, 0))

    @jax.jit
    def constraint_of(x):
        x = experiment.data.preprocess(binary_key, x)
        terms = experiment.model.apply({"params": state.variables.params}, x, key)
        return experiment.objective.constraints["nll"](Examples(x), terms)

    constraint = constraint_of(jnp.asarray(run.splits.train.x)[rows])
    parts = np.asarray(constraint).reshape(NUM_DEVICES, -1).mean(1).tolist()
    shapes = [list(shape) for shape in shards]
    print(
        json.dumps({"metrics": metrics, "shards": shapes, "replicated": replicated, "parts": parts})
    )


if __name__ == "__main__":
    both()

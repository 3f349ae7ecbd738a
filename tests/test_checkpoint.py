"""Checkpoints: bit for bit, whatever happened to the newest one."""

from __future__ import annotations

import functools
import gc
import json
import os
import pathlib
import shutil
import signal
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import bits

from vaelab.constraints import NLL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import HierarchicalPrior
from vaelab.training import duals, optimisers
from vaelab.training.averaging import ParameterAverage
from vaelab.training.checkpoint import METADATA, Checkpoints
from vaelab.training.groups import transformation
from vaelab.training.objectives import Lagrangian
from vaelab.training.sharding import make_mesh, replicate
from vaelab.training.sources import in_memory
from vaelab.training.state import initial_state as create
from vaelab.training.step import compile_train_steps

# Threads of tensorstore complain by themselves of files that this module damages on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _collect():
    """What those threads left is found here, and not in the tests of another module."""
    yield
    gc.collect()


X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 4, 4, 1)).repeat(24, 0), jnp.float32)
SOURCE = in_memory(X, batch_size=8)
MODEL = VAE(
    encoder=ConditionalGaussian(MLP((6,), event_ndims=3), dim=2),
    decoder=BernoulliDecoder(MLP((6,)), shape=(4, 4, 1)),
    prior=HierarchicalPrior(2, num_samples=2, hidden=(4,)),
)
OBJECTIVE = Lagrangian({"nll": NLL(0.68)})  # met after a few steps: the latch is open
REWO = duals.Rewo(decay=0.5)
TX = transformation(
    optimisers.Adam(0.02), REWO, parameter_groups=MODEL.parameter_groups, num_steps=100,
    scales={"nll": 16.0},
)  # fmt: skip


@functools.cache
def initial():
    return jax.jit(lambda: create(MODEL, OBJECTIVE, TX, X[:1], jax.random.key(7)))()


@functools.cache
def run_steps():
    return compile_train_steps(
        model=MODEL,
        objective=OBJECTIVE,
        tx=TX,
        preprocess=lambda key, x: x,
        mesh=make_mesh(devices=jax.devices()[:1]),
    )


@functools.cache
def trained(num_dispatches):
    """The state after that many dispatches of 10 steps."""
    if num_dispatches == 0:
        return initial()
    state = jax.tree.map(jnp.copy, trained(num_dispatches - 1))
    return run_steps()(state, SOURCE, num_steps=10)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with the checkpoints of steps 10 and 20."""
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    checkpoints = Checkpoints(folder)
    for i in (1, 2):
        checkpoints.save(trained(i))
    checkpoints.wait()
    checkpoints.close()
    return folder


@pytest.fixture
def copy(two, tmp_path):
    return pathlib.Path(shutil.copytree(two, tmp_path / "checkpoints"))


def test_restores_bit_for_bit(two):
    state = trained(2)
    assert bool(state.opt_state.feasible_once)
    assert not np.array_equal(state.opt_state.average["nll"], 0.0)
    checkpoints = Checkpoints(two)
    restored = checkpoints.restore(initial())
    checkpoints.close()
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert bits(restored) == bits(state)
    paths = " ".join(bits(restored))
    for part in (
        "params",
        "multipliers",
        "average",
        "feasible_once",
        ".mu",
        ".nu",
        ".count",
        "key",
        "best",
    ):
        assert part in paths


def test_training_goes_on_bit_for_bit(two):
    checkpoints = Checkpoints(two)
    restored = checkpoints.restore(initial())
    checkpoints.close()
    mesh = make_mesh(devices=jax.devices()[:1])
    assert bits(run_steps()(replicate(restored, mesh), SOURCE, num_steps=10)[0]) == bits(trained(3))


def test_a_donated_state_is_saved_as_it_was(tmp_path):
    """Saving runs in the background while the next steps reuse the state's memory."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = jax.tree.map(jnp.copy, trained(1))
    expected = bits(state)
    checkpoints.save(state)
    for _ in range(5):
        state, _ = run_steps()(state, SOURCE, num_steps=10)
    checkpoints.wait()
    assert bits(checkpoints.restore(initial())) == expected
    checkpoints.close()


def test_no_checkpoint_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.restore(initial()) is None
    assert checkpoints.steps() == []
    checkpoints.close()


def test_keeps_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", max_to_keep=2)
    for i in (1, 2, 3):
        checkpoints.save(trained(i))
    checkpoints.wait()
    assert checkpoints.steps() == [20, 30]
    checkpoints.close()


def test_an_earlier_step_can_be_saved_after_later_ones_are_set_aside(tmp_path):
    """Orbax leaves out a step that is not the newest."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for i in (1, 3):
        checkpoints.save(trained(i))
    checkpoints.set_aside_after(10)
    assert checkpoints.steps() == [10]
    assert [path.name for path in (tmp_path / "checkpoints" / "before").iterdir()] == ["30"]
    checkpoints.save(trained(2))
    checkpoints.wait()
    assert bits(checkpoints.restore(initial())) == bits(trained(2))
    assert checkpoints.restore(initial(), usable=lambda step: step < 5) is None
    assert bits(checkpoints.restore(initial(), usable=lambda step: step < 15)) == bits(trained(1))
    checkpoints.forget_before()
    assert not (tmp_path / "checkpoints" / "before").exists()
    checkpoints.close()


def restore(folder):
    """(state, warnings) of the newest readable checkpoint."""
    checkpoints = Checkpoints(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = checkpoints.restore(initial())
    checkpoints.close()
    return state, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def damage(path, how):
    if how == "delete":
        path.unlink()
    elif how == "flip":
        content = bytearray(path.read_bytes())
        for index in range(len(content) // 2, len(content), 97):
            content[index] ^= 0x10
        path.write_bytes(content)
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if how == "truncate" else b"")


@pytest.mark.parametrize("how", ["truncate", "empty", "delete", "flip"])
def test_damage_to_any_file_is_survived(copy, how):
    """Each file of the newest checkpoint in turn: what is restored is one of the two states."""
    names = [p.relative_to(copy / "20") for p in (copy / "20").rglob("*") if p.is_file()]
    outcomes = {}
    for i, name in enumerate(names):
        folder = copy.parent / f"{how}-{i}"
        shutil.copytree(copy, folder)
        damage(folder / "20" / name, how)
        state, sentences = restore(folder)
        outcomes[str(name)] = int(state.step)
        assert bits(state) == bits(trained(int(state.step) // 10)), name
        if int(state.step) == 20:
            assert not sentences
        elif (folder / "unreadable").exists():
            (sentence,) = sentences
            assert sentence.startswith("checkpoint 20 cannot be read (")
            assert sentence.endswith(f"moved to {folder}/unreadable/20 and checkpoint 10 is used.")
            assert not (folder / "20").exists()
    data = [name for name in outcomes if "/d/" in name or name.endswith("manifest.ocdbt")]
    assert any(outcomes[name] == 10 for name in data), outcomes


def test_an_array_that_is_not_the_one_that_was_written_is_refused(copy):
    """A whole checkpoint of another state in its place, with the first one's checksums."""
    shutil.rmtree(copy / "20" / "default")
    shutil.copytree(copy / "10" / "default", copy / "20" / "default")
    state, (sentence,) = restore(copy)
    assert bits(state) == bits(trained(1))
    assert sentence.startswith("checkpoint 20 cannot be read (UsageError); it was moved to")
    assert (copy / "unreadable" / "20").exists()


def test_a_checkpoint_without_checksums_is_refused(copy):
    path = copy / "20" / METADATA
    metadata = json.loads(path.read_text())
    assert metadata["custom_metadata"].pop("checksums")["step"].startswith("int32[]")
    path.write_text(json.dumps(metadata))
    state, (sentence,) = restore(copy)
    assert bits(state) == bits(trained(1))
    assert sentence.startswith("checkpoint 20 cannot be read")


def test_a_process_killed_while_it_saves_leaves_the_checkpoint_before(command, tmp_path):
    folder = tmp_path / "checkpoints"
    result = command(__file__, "killed", folder)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert any("tmp" in path.name for path in folder.iterdir())
    state, sentences = restore(folder)  # which checks the checksums
    assert int(state.step) == 10
    assert not sentences


def test_an_empty_folder_of_a_step_is_survived(copy):
    (copy / "30").mkdir()
    state, (sentence,) = restore(copy)
    assert bits(state) == bits(trained(2))
    assert sentence.startswith("checkpoint 30 cannot be read (")


def test_a_checkpoint_damaged_twice_is_set_aside_twice(copy):
    for _ in range(2):
        for path in (copy / "20" / "default").rglob("*ocdbt*"):
            if path.is_file():
                damage(path, "empty")
        state, sentences = restore(copy)
        assert int(state.step) == 10
        assert len(sentences) == 1
        checkpoints = Checkpoints(copy)
        checkpoints.save(trained(2))
        checkpoints.wait()
        checkpoints.close()
    assert len(list((copy / "unreadable").iterdir())) == 2
    state, sentences = restore(copy)
    assert bits(state) == bits(trained(2))
    assert not sentences


def test_no_readable_checkpoint_at_all_is_refused_and_nothing_is_moved(copy):
    for path in copy.rglob("*ocdbt*"):
        if path.is_file():
            damage(path, "empty")
    with pytest.raises(ValueError, match=r"none of the checkpoints \[10, 20\] in .* can be read"):
        restore(copy)
    assert {"10", "20"} <= {path.name for path in copy.iterdir()}
    assert not (copy / "unreadable").exists()


def test_a_half_written_checkpoint_is_ignored(copy):
    (copy / "20").rename(copy / "20.orbax-checkpoint-tmp")
    state, sentences = restore(copy)
    assert bits(state) == bits(trained(1))
    assert not sentences
    checkpoints = Checkpoints(copy)  # and does not stand in the way of the same step
    checkpoints.save(trained(2))
    checkpoints.wait()
    assert bits(checkpoints.restore(initial())) == bits(trained(2))
    checkpoints.close()


def test_a_state_of_eight_devices_is_restored_on_one_two_and_four(two, command, tmp_path):
    folder = tmp_path / "eight"
    result = command(__file__, "save", folder, two, devices=8)
    assert result.returncode == 0, result.stderr
    assert bits(restore(folder)[0]) == bits(trained(2))
    expected = {path: content.hex() for path, (_, _, content) in bits(trained(2)).items()}
    processes = [command.start(__file__, "restore", folder, devices=number) for number in (2, 4)]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out) == expected


def save_on_all_devices(folder, source):
    """The state of `source`, replicated over all devices."""
    mesh = make_mesh()
    assert mesh.shape["data"] == 8
    checkpoints = Checkpoints(source)
    state = checkpoints.restore(replicate(initial(), mesh))
    checkpoints.close()
    checkpoints = Checkpoints(folder)
    checkpoints.save(state)
    checkpoints.close()


def save_and_be_killed(folder):
    """One checkpoint, and a second one in the middle of which the process is killed."""
    checkpoints = Checkpoints(folder)
    checkpoints.save(trained(1))
    checkpoints.wait()
    large = trained(2)._replace(ema=ParameterAverage(jnp.zeros([]), jnp.zeros([100_000_000])))
    checkpoints.save(large)
    while not any(path.is_file() for path in pathlib.Path(folder).glob("20*tmp*/**/*")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def restore_on_all_devices(folder):
    """Prints every array as it arrives, replicated over all of this process's devices."""
    mesh = make_mesh()
    assert mesh.shape["data"] == len(jax.devices())
    checkpoints = Checkpoints(folder)
    state = checkpoints.restore(replicate(initial(), mesh))
    checkpoints.close()
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.device_set == set(jax.devices())
        assert leaf.is_fully_replicated
    print(json.dumps({path: content.hex() for path, (_, _, content) in bits(state).items()}))


if __name__ == "__main__":
    task, *folders = sys.argv[1:]
    tasks = {"save": save_on_all_devices, "killed": save_and_be_killed}
    tasks.get(task, restore_on_all_devices)(*folders)

"""The moving average of the parameters: its closed form, in a run, and what uses it."""

from __future__ import annotations

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_checkpoint import MODEL, OBJECTIVE, TX, X

from vaelab.data import bernoulli
from vaelab.training.averaging import start_average, update_average
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.loop import fit
from vaelab.training.sharding import make_mesh
from vaelab.training.sources import in_memory
from vaelab.training.state import initial_state
from vaelab.training.step import compile_train_steps
from vaelab.training.timetable import Timetable

DECAY, NUM_STEPS = 0.9, 6
RUN = compile_train_steps(
    model=MODEL, objective=OBJECTIVE, tx=TX, preprocess=bernoulli,
    mesh=make_mesh(devices=jax.devices()[:1]),
)  # fmt: skip
SOURCE = in_memory(X, batch_size=8)


def start(ema_decay):
    return initial_state(
        MODEL, OBJECTIVE, TX, X, jax.random.key(0), initial_multiplier=10.0, ema_decay=ema_decay
    )


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 0.99999])
def test_the_average_is_its_closed_form(decay):
    """Σ_s (1 − α) α^(t−s) θ_s / (1 − α^t); the weights add up to one from the first step on."""
    thetas = np.random.default_rng(0).normal(size=(50, 3))
    update = jax.jit(update_average)
    average = start_average(jnp.ones(3), decay)
    for t, theta in enumerate(thetas, start=1):
        average = update(average, jnp.asarray(theta, jnp.float32), t)
        alpha = float(np.float32(decay))
        weights = (1 - alpha) * alpha ** np.arange(t - 1, -1, -1.0) / (1 - alpha**t)
        np.testing.assert_allclose(weights.sum(), 1.0)
        np.testing.assert_allclose(average.params, weights @ thetas[:t], rtol=1e-5, atol=2e-6)


def parameters_after_each_step():
    state = start(None)
    for _ in range(NUM_STEPS):
        state, _ = RUN(state, SOURCE, num_steps=1)
        yield jax.device_get(state.variables.params)


def test_a_run_averages_its_parameters_and_is_otherwise_the_same():
    state, _ = RUN(start(DECAY), SOURCE, num_steps=NUM_STEPS)
    path = list(parameters_after_each_step())
    same = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(same, state.variables.params, path[-1])
    weights = (1 - DECAY) * DECAY ** np.arange(NUM_STEPS - 1, -1, -1.0) / (1 - DECAY**NUM_STEPS)
    expected = jax.tree.map(
        lambda *leaves: sum(w * np.asarray(leaf) for w, leaf in zip(weights, leaves, strict=True)),
        *path,
    )
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6),
        state.evaluated.params,
        expected,
    )
    assert state.evaluated.multipliers is state.variables.multipliers


def test_without_a_decay_nothing_is_averaged():
    state = start(None)
    assert state.ema == ()
    assert state.evaluated is state.variables
    assert len(jax.tree.leaves(start(DECAY))) > len(jax.tree.leaves(state))


def test_validation_and_the_best_use_the_average():
    seen = []

    def validate(variables):
        seen.append(jax.device_get(variables.params))
        return {"validation/bound": np.array(0.0)}

    state = fit(
        start(DECAY), run_steps=lambda state, *, num_steps: RUN(state, SOURCE, num_steps=num_steps),
        timetable=Timetable(NUM_STEPS, 3, 3), validate=validate,
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, seen[-1], jax.device_get(state.ema.params))
    assert int(state.best.step) in (0, 3, 6)
    differs = jax.tree.map(lambda a, b: not np.array_equal(a, b), seen[-1], state.variables.params)
    assert any(jax.tree.leaves(differs))
    if int(state.best.step):
        place = int(state.best.step) // 3 - 1
        jax.tree.map(np.testing.assert_array_equal, state.best.variables.params, seen[place])


def test_a_checkpoint_holds_the_average(tmp_path):
    state, _ = RUN(start(DECAY), SOURCE, num_steps=2)
    with contextlib.closing(Checkpoints(tmp_path / "checkpoints")) as checkpoints:
        checkpoints.save(state)
        checkpoints.wait()
        restored = checkpoints.restore(start(DECAY))
    jax.tree.map(np.testing.assert_array_equal, restored.ema, state.ema)


def test_an_impossible_decay_is_refused():
    with pytest.raises(ValueError, match=r"ema_decay must lie in \[0, 1\), got 1\.0\."):
        start_average({}, 1.0)

"""Schedules against optax's, as factors of the run's length, and where they do not fit a run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab.training import Constant, Cosine, Steps, WarmUp

NUM_STEPS = 40

# Every schedule, and the same from optax.
SCHEDULES = {
    "constant": (Constant(), optax.constant_schedule(1.0)),
    "cosine": (Cosine(), optax.cosine_decay_schedule(1.0, NUM_STEPS)),
    "cosine_to_a_tenth": (Cosine(0.1), optax.cosine_decay_schedule(1.0, NUM_STEPS, alpha=0.1)),
    "warm_up": (WarmUp(8), optax.linear_schedule(1 / 8, 1.0, 7)),
    "warm_up_cosine": (
        WarmUp(8, then=Cosine()),
        optax.join_schedules(
            [optax.linear_schedule(1 / 8, 1.0, 7), optax.cosine_decay_schedule(1.0, 32)], [8]
        ),
    ),
    "steps": (
        Steps((10, 30), factor=0.5),
        optax.piecewise_constant_schedule(1.0, {10: 0.5, 30: 0.5}),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_optaxs(name):
    schedule, oracle = SCHEDULES[name]
    steps = np.arange(NUM_STEPS + 1)
    schedule.check(NUM_STEPS)
    factors = jax.jit(jax.vmap(schedule.build(NUM_STEPS)))(steps)
    np.testing.assert_allclose(factors, [oracle(step) for step in steps], rtol=1e-5, atol=1e-7)
    assert ((factors >= 0) & (factors <= 1)).all()
    assert (schedule.build(NUM_STEPS)(jnp.array(3))).shape == ()


def test_a_cosine_reaches_over_the_whole_run():
    """Twice the run, and the factor is 1/2 where it was 0."""
    assert float(Cosine().build(2000)(jnp.array(2000))) == pytest.approx(0.0, abs=1e-7)
    assert float(Cosine().build(4000)(jnp.array(2000))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (WarmUp(40), "steps of the warm-up, 40, must be below num_steps = 40: shorten the warm-up"),
        (WarmUp(10, then=WarmUp(30)), "steps of the warm-up, 30, must be below num_steps = 30"),
        (Steps((10, 40)), r"boundaries \(10, 40\) must be below num_steps = 40: leave out those"),
    ],
)
def test_a_schedule_longer_than_the_run_is_refused(schedule, sentence):
    with pytest.raises(ValueError, match=sentence):
        schedule.check(NUM_STEPS)
    schedule.check(100)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Cosine(1.5), r"final must lie in \[0, 1\], got 1\.5\."),
        (lambda: Cosine(float("nan")), r"final must lie in \[0, 1\], got nan\."),
        (lambda: WarmUp(0), r"steps must be at least 1, got 0\."),
        (lambda: Steps(()), r"boundaries must be increasing steps above 0, at least one, got"),
        (lambda: Steps((5, 5)), r"boundaries must be increasing steps above 0, at least one, got"),
        (lambda: Steps((0, 5)), r"boundaries must be increasing steps above 0, at least one, got"),
        (lambda: Steps((5,), factor=-1.0), r"factor must lie in \[0, 1\], got -1\.0\."),
    ],
)
def test_impossible_schedules_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()

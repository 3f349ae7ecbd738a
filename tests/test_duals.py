"""The duals of a configuration: one contract table, starts by constraint, and what is refused."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import saddle
from vaelab.constraints import NLL, RE, pNCC
from vaelab.training import Cosine, Geco, NuPi, PiGeco, Projected, Rewo, WarmUp

NUM_STEPS = 100
RANGE = dict(multiplier_range=(1e-6, 1e8))

# Every dual with a rule of its own, and the transformation that it is.
DUALS = {
    "geco": (Geco(0.2), lambda nu: saddle.geco(nu, **RANGE)),
    "pi_geco": (PiGeco(0.2, proportional=3.0), lambda nu: saddle.pi_geco(nu, proportional=3.0)),
    "rewo": (Rewo(0.2, steepness=2.0), lambda nu: saddle.rewo(nu, steepness=2.0)),
    "projected": (Projected(0.2), saddle.projected),
    "nu_pi": (
        NuPi(0.2, nu=0.5, proportional=2.0, integral=0.5),
        lambda nu: saddle.nu_pi(nu, nu=0.5, proportional=2.0, integral=0.5),
    ),
}


def path(tx, num_steps=30):
    """λ after each of so many steps under constraints that change sign."""
    errors = np.cos(np.arange(num_steps) / 5) - 0.3
    multiplier = jnp.array(20.0)

    def step(carry, error):
        multiplier, state = carry
        update, state = tx.update(
            0.5 * error, state, multiplier, constraint=error, feasible_once=jnp.array(True)
        )
        return (multiplier + update, state), multiplier + update

    return np.asarray(jax.lax.scan(step, (multiplier, tx.init(multiplier)), errors)[1])


@pytest.mark.parametrize("name", DUALS)
def test_every_dual_is_its_transformation(name):
    dual, make = DUALS[name]
    multipliers = path(dual.build(NUM_STEPS))
    np.testing.assert_allclose(multipliers, path(make(0.2)), rtol=1e-6)
    assert np.ptp(multipliers) > 0.1


@pytest.mark.parametrize("name", DUALS)
def test_every_dual_follows_its_schedule(name):
    """The schedule's factor of every step, against optax's cosine of the whole run."""
    dual, make = DUALS[name]
    scheduled = dataclasses.replace(dual, schedule=Cosine(0.1))
    expected = path(make(optax.cosine_decay_schedule(0.2, NUM_STEPS, alpha=0.1)))
    np.testing.assert_allclose(path(scheduled.build(NUM_STEPS)), expected, rtol=1e-5)
    by_optax = dataclasses.replace(
        dual, step_size=optax.cosine_decay_schedule(0.2, NUM_STEPS, alpha=0.1)
    )
    np.testing.assert_allclose(path(by_optax.build(NUM_STEPS)), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"schedule must be a training\.Schedule, such as Cosine"):
        dataclasses.replace(dual, schedule=optax.cosine_decay_schedule(1.0, NUM_STEPS))


@pytest.mark.parametrize("name", DUALS)
def test_every_dual_has_a_step_size_that_may_be_traced(name):
    dual, _ = DUALS[name]
    run = lambda nu: path(dataclasses.replace(dual, step_size=nu).build(NUM_STEPS))  # noqa: E731
    swept = jax.vmap(lambda nu: jnp.asarray(_path(dual, nu)))(jnp.array([0.05, 0.2]))
    np.testing.assert_allclose(swept, [run(0.05), run(0.2)], rtol=1e-5)


def _path(dual, step_size):
    tx = dataclasses.replace(dual, step_size=step_size).build(NUM_STEPS)
    errors = np.cos(np.arange(30) / 5) - 0.3
    multiplier = jnp.array(20.0)
    state, multipliers = tx.init(multiplier), []
    for error in errors:
        update, state = tx.update(
            jnp.asarray(0.5 * error), state, multiplier,
            constraint=jnp.asarray(error), feasible_once=jnp.array(True),
        )  # fmt: skip
        multiplier = multiplier + update
        multipliers.append(multiplier)
    return jnp.stack(multipliers)


def test_a_held_dual_still_follows_the_runs_schedule():
    """After 10 steps of rest the factor is that of step 10."""
    held = Geco(0.2, hold_steps=10, schedule=Cosine()).build(NUM_STEPS)
    cosine = optax.cosine_decay_schedule(0.2, NUM_STEPS)
    free = saddle.hold_for(saddle.geco(lambda step: cosine(step + 10), **RANGE), 10)
    np.testing.assert_allclose(path(held), path(free), rtol=1e-6)
    assert (path(held)[:10] == 20.0).all()


def test_a_dual_may_start_each_multiplier_at_its_own_number():
    constraints = {"re": RE(0.1), "pncc": pNCC(0.5)}
    Geco(initial_multiplier={"re": 1.0, "pncc": 100.0}).check(constraints, NUM_STEPS)
    with pytest.raises(
        ValueError, match=r"has the names \['re'\] and the constraints are \['pncc', 're'\]: give"
    ):
        Geco(initial_multiplier={"re": 1.0}).check(constraints, NUM_STEPS)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Geco(step_size=-1), r"step_size must be positive and finite, got -1\."),
        (lambda: Geco(decay=1.5), r"decay must lie in \[0, 1\), got 1\.5\."),
        (lambda: Geco(decay=float("nan")), r"decay must lie in \[0, 1\), got nan\."),
        (lambda: Geco(hold_steps=-1), r"hold_steps must be finite and not negative, got -1\."),
        (
            lambda: Geco(initial_multiplier=0.0),
            r"initial_multiplier must be positive and finite, got 0\.0\.",
        ),
        (
            lambda: Geco(initial_multiplier={"re": -1.0}),
            r"initial_multiplier of re must be positive and finite, got -1\.0\.",
        ),
        (
            lambda: Geco(multiplier_limit=0.5),
            r"multiplier_limit must be above initial_multiplier = 1\.0, got 0\.5\.",
        ),
        (
            lambda: PiGeco(proportional=-1.0),
            r"proportional must be finite and not negative, got -1\.0\.",
        ),
        (lambda: Rewo(steepness=0.0), r"steepness must be positive and finite, got 0\.0\."),
        (
            lambda: Rewo(initial_multiplier=1.0),
            "initial_multiplier must be well above 1 under REWO",
        ),
        (
            lambda: Rewo(initial_multiplier={"nll": 0.5}),
            "initial_multiplier of nll must be well above 1 under REWO, got 0.5",
        ),
        (lambda: Projected(step_size=np.float32(-1)), "step_size must be positive and finite"),
        (lambda: NuPi(nu=1.0), r"nu must lie in \(-1, 1\), got 1\.0\."),
        (lambda: NuPi(integral=float("inf")), r"integral must be finite, got inf\."),
    ],
)
def test_impossible_duals_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_duals_say_which_constraints_and_runs_they_do_not_fit():
    with pytest.raises(ValueError, match="dual = Rewo requires constraints in nats, and re is not"):
        Rewo().check({"nll": NLL(0.1), "re": RE(0.1)}, NUM_STEPS)
    with pytest.raises(ValueError, match=r"dual\.schedule: steps of the warm-up, 200, must be"):
        Geco(schedule=WarmUp(200)).check({"re": RE(0.1)}, NUM_STEPS)

"""Optimisers step for step against numpy, groups of parameters, clipping, and what is refused."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import assert_close

from vaelab.likelihoods import GaussianDecoder
from vaelab.models import ConvDRAW
from vaelab.networks import Identity
from vaelab.training import Adam, AdamW, Cosine, Geco, NormalisedAdam, Optimiser, Rewo
from vaelab.training.groups import transformation
from vaelab.types import Saddle

NUM_STEPS = 20
GROUPS = {"encoder": "model", "prior": "prior"}


@dataclasses.dataclass(frozen=True)
class Descent(Optimiser):
    """Plain gradient descent, whose updates are the gradients themselves."""

    def build(self):
        return optax.sgd(self.learning_rate)


def numpy_adamw(learning_rates, gradients, theta, weight_decay):
    """Loshchilov & Hutter, 2019, algorithm 2, with α the learning rate and η_t inside it."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = []
    for t, (rate, g) in enumerate(zip(learning_rates, gradients, strict=True), start=1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        theta = theta - rate * (m_hat / (np.sqrt(v_hat) + 1e-8) + weight_decay * theta)
        path.append(theta)
    return np.array(path)


def numpy_normalise(gradients):
    return np.array([g / np.linalg.norm(g) for g in gradients])


OPTIMISERS = {
    "adam": (lambda **k: Adam(0.1, b1=0.8, b2=0.95, **k), lambda g: g, 0.0),
    "adamw": (lambda **k: AdamW(0.1, b1=0.8, b2=0.95, weight_decay=0.3, **k), lambda g: g, 0.3),
    "normalised": (lambda **k: NormalisedAdam(0.1, b1=0.8, b2=0.95, **k), numpy_normalise, 0.0),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("scheduled", [False, True])
def test_every_optimiser_is_the_published_one_step_for_step(name, scheduled):
    make, prepare, weight_decay = OPTIMISERS[name]
    optimiser = make(schedule=Cosine()) if scheduled else make()
    gradients = np.random.default_rng(0).normal(size=(NUM_STEPS, 3))
    theta = np.array([1.0, -2.0, 0.5])
    factors = (1 + np.cos(np.pi * np.arange(NUM_STEPS) / NUM_STEPS)) / 2 if scheduled else 1.0
    rates = 0.1 * np.broadcast_to(factors, NUM_STEPS)
    expected = numpy_adamw(rates, prepare(gradients), theta, weight_decay)
    actual = descend({"encoder": theta}, [{"encoder": g} for g in gradients], optimiser)
    np.testing.assert_allclose([params["encoder"] for params in actual], expected, rtol=2e-4)


def descend(params, gradients, optimiser, dual=None, multipliers=(), averages=None, **settings):
    """The parameters after each step."""
    names = [name for name in GROUPS if name in params]
    tx = transformation(
        optimiser, dual, parameter_groups={name: GROUPS[name] for name in names},
        num_steps=NUM_STEPS, scales=dict.fromkeys(multipliers, 1.0), **settings,
    )  # fmt: skip
    start = {name: jnp.asarray(value, jnp.float32) for name, value in dict(multipliers).items()}
    variables = Saddle(jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params), start)
    state, path = tx.init(variables), []
    update = jax.jit(tx.update)
    for step, gradient in enumerate(gradients):
        gradient = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradient)
        constraints = {} if averages is None else {"c": jnp.float32(averages[step])}
        updates, state = update(Saddle(gradient, constraints), state, variables)
        variables = optax.apply_updates(variables, updates)._replace(multipliers=start)
        path.append(variables.params)
    return path


def test_clipping_sees_the_whole_gradient_after_its_division_by_the_multiplier():
    """(30, 4) with λ = 10 is (3, 4), of norm 5; clipped to 1 it is (0.6, 0.8)."""
    params = {"encoder": 0.0, "prior": 0.0}
    settings = dict(dual=Geco(), multipliers={"c": 10.0}, averages=[1.0])
    (clipped,) = descend(
        params, [{"encoder": 30.0, "prior": 4.0}], Descent(1.0), clip_norm=1.0, **settings
    )
    np.testing.assert_allclose(clipped["encoder"], -0.6, rtol=1e-6)
    np.testing.assert_allclose(clipped["prior"], -0.8, rtol=1e-6)
    (free,) = descend(params, [{"encoder": 30.0, "prior": 4.0}], Descent(1.0), **settings)
    assert (float(free["encoder"]), float(free["prior"])) == (-3.0, -4.0)


def test_a_skipped_step_holds_the_optimiser_and_counts_in_the_schedule():
    """Gradients of norm 5 after the division by λ: steps below the norm are those of a run without the others."""
    params, large = {"encoder": 0.0, "prior": 0.0}, {"encoder": 300.0, "prior": 4.0}
    settings = dict(dual=Geco(), multipliers={"c": 10.0}, averages=[1.0] * 4)
    small = [{"encoder": 3.0, "prior": 1.0}, {"encoder": -2.0, "prior": 0.5}]
    with_large = [small[0], large, {"encoder": np.nan, "prior": 0.0}, small[1]]
    path = descend(params, with_large, Adam(0.1), skip_norm=5.0, clip_norm=0.2, **settings)
    alone = descend(params, small, Adam(0.1), clip_norm=0.2, **settings)
    assert path[1] == path[2] == path[0] == alone[0]
    assert path[3] == alone[1]
    path = descend(params, with_large, Descent(1.0, schedule=Cosine()), skip_norm=5.0, **settings)
    factor = optax.cosine_decay_schedule(1.0, NUM_STEPS)(3)
    np.testing.assert_allclose(path[3]["prior"] - path[2]["prior"], -0.5 * factor, rtol=1e-6)


def test_after_skip_limit_steps_a_finite_gradient_is_clipped_and_accepted():
    params, nan = {"encoder": 0.0}, {"encoder": np.inf}
    gradients = [{"encoder": g} for g in (6.0, -8.0, 6.0, 6.0, 6.0, 0.5)]
    path = descend(params, gradients, Descent(1.0), skip_norm=2.0, skip_limit=2)
    assert [float(p["encoder"]) for p in path] == [0.0, 0.0, -2.0, -2.0, -2.0, -2.5]
    path = descend(
        params, [nan] * 4 + [{"encoder": 6.0}], Descent(1.0), skip_norm=2.0, skip_limit=2
    )
    assert [float(p["encoder"]) for p in path] == [0.0] * 4 + [-2.0]


def test_multipliers_ascend_while_steps_are_skipped():
    def path(**settings):
        tx = transformation(
            Descent(1.0), Geco(), parameter_groups={"encoder": "model"}, num_steps=NUM_STEPS,
            scales={"c": 1.0}, **settings,
        )  # fmt: skip
        variables = Saddle({"encoder": jnp.array(0.0)}, {"c": jnp.array(1.0)})
        state, multipliers = tx.init(variables), []
        for average in (1.0, 2.0, -3.0):
            gradients = Saddle({"encoder": jnp.array(9.0)}, {"c": jnp.array(average)})
            updates, state = tx.update(gradients, state, variables)
            variables = optax.apply_updates(variables, updates)
            multipliers.append(float(variables.multipliers["c"]))
        return multipliers, float(variables.params["encoder"])

    free, skipped = path(), path(skip_norm=1e-3)
    assert free[0] == skipped[0]
    assert free[0][0] > 1.0
    assert skipped[1] == 0.0
    assert free[1] != 0.0


def test_the_prior_may_have_an_optimiser_of_its_own():
    params, gradients = {"encoder": 0.0, "prior": 0.0}, [{"encoder": 1.0, "prior": 1.0}] * 3
    path = descend(
        params, gradients, Descent(1.0), prior_optimiser=Descent(0.25, schedule=Cosine())
    )
    cosine = optax.cosine_decay_schedule(0.25, NUM_STEPS)
    assert float(path[-1]["encoder"]) == -3.0
    np.testing.assert_allclose(path[-1]["prior"], -sum(cosine(t) for t in range(3)), rtol=1e-6)


@pytest.mark.parametrize("how", ["frozen", "period"])
def test_the_schedule_of_a_held_prior_counts_the_runs_steps(how):
    """A prior that is held for two steps, or updated on every third, then moves by the factor of step 2."""
    params, gradients = {"encoder": 0.0, "prior": 0.0}, [{"encoder": 1.0, "prior": 1.0}] * 3
    settings = dict(dual=Rewo(decay=0.0), multipliers={"c": 9.0}, averages=[1.0, 1.0, -1.0])
    if how == "period":
        settings = dict(prior_period=3)
    path = descend(params, gradients, Descent(1.0, schedule=Cosine()), **settings)
    assert float(path[1]["prior"]) == 0.0
    factor = optax.cosine_decay_schedule(1.0, NUM_STEPS)(2)
    np.testing.assert_allclose(path[2]["prior"], -factor, rtol=1e-6)


@pytest.fixture(scope="module")
def conditional():
    """A conditional ConvDRAW's parameters and its groups."""
    model = ConvDRAW(
        decoder=GaussianDecoder(Identity(), (8, 8, 1)), num_steps=2, hidden=4, context_channels=1
    )
    x, key = jnp.zeros((1, 8, 8, 1)), jax.random.key(0)
    params = jax.jit(lambda: model.init(key, x, key, context=x))()["params"]
    return model, params


@pytest.mark.parametrize(
    ("dual", "average", "prior_step"),
    [(Geco(), 1.0, 1.0), (Rewo(), 1.0, 0.0), (Rewo(), -1.0, 1.0)],
    ids=["geco", "rewo, first phase", "rewo, after it"],
)
def test_both_priors_of_a_conditional_convdraw_are_one_group(
    conditional, dual, average, prior_step
):
    """Neither has λ in its gradient, and REWO's first phase holds both; all else is divided by λ."""
    model, params = conditional
    assert {"prior", "prior_of_context"} < params.keys()
    tx = transformation(
        Descent(1.0), dual, parameter_groups=model.parameter_groups, num_steps=NUM_STEPS,
        scales={"c": 1.0},
    )  # fmt: skip
    variables = Saddle(params, {"c": jnp.array(8.0)})
    gradients = Saddle(jax.tree.map(jnp.ones_like, params), {"c": jnp.array(average)})
    updates, _ = jax.jit(tx.update)(gradients, tx.init(variables), variables)
    for name, update in updates.params.items():
        step = prior_step if name in ("prior", "prior_of_context") else 1 / 8
        for leaf in jax.tree.leaves(update):
            np.testing.assert_allclose(leaf, -step, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Adam(b1=1.5), r"b1 must lie in \[0, 1\), got 1\.5\."),
        (lambda: Adam(b2=1.0), r"b2 must lie in \[0, 1\), got 1\.0\."),
        (lambda: Adam(-1.0), r"learning_rate must be positive and finite, got -1\.0\."),
        (lambda: NormalisedAdam(b1=-0.1), r"b1 must lie in \[0, 1\), got -0\.1\."),
        (
            lambda: AdamW(weight_decay=-0.1),
            r"weight_decay must be finite and not negative, got -0\.1\.",
        ),
    ],
)
def test_impossible_optimisers_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_norms_and_the_skip_limit_must_be_positive():
    with pytest.raises(ValueError, match=r"skip_norm must be positive and finite, got -1\.0\."):
        descend({"encoder": 0.0}, [], Adam(), skip_norm=-1.0)
    with pytest.raises(ValueError, match="skip_limit must be at least 1, got 0"):
        descend({"encoder": 0.0}, [], Adam(), skip_norm=1.0, skip_limit=0)
    with pytest.raises(ValueError, match=r"clip_norm must be positive and finite, got 0\.0\."):
        descend({"encoder": 0.0}, [], Adam(), clip_norm=0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["params", "multipliers"])
def test_a_non_finite_step_leaves_the_whole_saddle_point_as_it_was(bad, where):
    """Parameters, multipliers, averages and moments are those of a run without that step."""
    tx = transformation(
        Adam(0.1, schedule=Cosine()), Geco(), parameter_groups={"encoder": "model"},
        num_steps=NUM_STEPS, scales={"c": 1.0}, nonfinite_limit=1,
    )  # fmt: skip

    def run(gradients):
        variables = Saddle({"encoder": jnp.array([0.0, 1.0])}, {"c": jnp.array(2.0)})
        state = tx.init(variables)
        for gradient in gradients:
            updates, state = jax.jit(tx.update)(gradient, state, variables)
            variables = optax.apply_updates(variables, updates)
        return variables, state

    good = [Saddle({"encoder": jnp.array([3.0, g])}, {"c": jnp.array(g)}) for g in (1.0, -2.0)]
    one_bad = {"params": jnp.array([0.5, bad]), "multipliers": jnp.array(1.0)}
    if where == "multipliers":
        one_bad = {"params": jnp.array([0.5, 1.0]), "multipliers": jnp.array(bad)}
    bad_step = Saddle({"encoder": one_bad["params"]}, {"c": one_bad["multipliers"]})
    alone, ours = run(good), run([good[0], bad_step, good[1]])
    assert int(ours[1].step) == 2
    assert_close(ours, alone, rtol=0)


def test_a_constraint_that_is_not_finite_leaves_its_average_and_multiplier_finite():
    """Where `skip_above` skips the parameters' step, the multiplier makes its step with the average."""
    tx = transformation(
        Descent(1.0), Geco(), parameter_groups={"encoder": "model"}, num_steps=NUM_STEPS,
        scales={"c": 1.0}, skip_norm=5.0,
    )  # fmt: skip

    def run(constraints, gradients):
        variables = Saddle({"encoder": jnp.array(0.0)}, {"c": jnp.array(1.0)})
        state = tx.init(variables)
        for constraint, gradient in zip(constraints, gradients, strict=True):
            step = Saddle({"encoder": jnp.array(gradient)}, {"c": jnp.array(constraint)})
            updates, state = tx.update(step, state, variables)
            variables = optax.apply_updates(variables, updates)
        return variables, state.average

    ours = run([2.0, np.nan, 1.0], [1.0, np.nan, 1.0])
    assert_close(ours, run([2.0, 2.0, 1.0], [1.0, 9.0, 1.0]), rtol=1e-6)

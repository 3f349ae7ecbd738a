"""Saddle points: known KKT points for every dual, literal transcriptions, and the early phase."""

from __future__ import annotations

import functools
import math
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab import saddle
from vaelab.types import Saddle

A = np.array([1.0, -2.0, 0.5])  # the unconstrained optimum
NORMAL = np.array([1.0, 1.0, 2.0])  # the constraint's direction, of squared length 6
UNSAFE = dict(step_range=(0.0, math.inf), anti_windup=False)  # the published rule


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def quadratic(variables, levels, noise=0.0):
    """½‖t − a‖² + Σ_j λ_j (c_j − b_jᵀt + noise), of minimum t = a + Σ_j λ_j b_j."""
    t = variables.params
    total = 0.5 * jnp.sum((t - A) ** 2)
    for name, (direction, level) in levels.items():
        total = total + variables.multipliers[name] * (level - direction @ t + noise)
    return total


def descend(tx, loss, variables, num_steps, inputs=None):
    """`num_steps` of the ordinary optax loop, in one scan. Returns the last values and the path."""

    def step(carry, x):
        variables, state = carry
        gradients = (
            jax.grad(loss)(variables, x) if inputs is not None else jax.grad(loss)(variables)
        )
        updates, state = tx.update(gradients, state, variables)
        variables = optax.apply_updates(variables, updates)
        return (variables, state), (variables, state.average)

    return jax.lax.scan(step, (variables, tx.init(variables)), inputs, num_steps)


def saddle_at(params, **multipliers):
    return Saddle(
        jnp.asarray(params, float), {name: jnp.asarray(v, float) for name, v in multipliers.items()}
    )


def level_for(multiplier):
    """The c for which λ_KKT of the single constraint is `multiplier` (slack where negative)."""
    return NORMAL @ A + multiplier * (NORMAL @ NORMAL)


def falling(step_size):
    """A schedule from twice this step size to half of it."""
    return optax.linear_schedule(2 * step_size, step_size / 2, 6_000)


# Every dual, and what its multiplier tends to, given λ_KKT (negative where the constraint is slack).
DUALS = {
    "geco": (lambda: saddle.geco(0.004), lambda kkt: max(1e-6, kkt)),
    "geco_unsafe": (lambda: saddle.geco(0.004, **UNSAFE), lambda kkt: max(1e-6, kkt)),
    "geco_scheduled": (lambda: saddle.geco(falling(0.004)), lambda kkt: max(1e-6, kkt)),
    "pi_geco": (lambda: saddle.pi_geco(0.004, proportional=0.1), lambda kkt: max(1e-6, kkt)),
    "pi_geco_scheduled": (
        lambda: saddle.pi_geco(falling(0.004), proportional=0.1),
        lambda kkt: max(1e-6, kkt),
    ),
    "rewo": (lambda: saddle.rewo(0.004), lambda kkt: max(1.0, kkt)),
    "rewo_scheduled": (lambda: saddle.rewo(falling(0.004)), lambda kkt: max(1.0, kkt)),
    "projected": (lambda: saddle.projected(0.02), lambda kkt: max(0.0, kkt)),
    "projected_scheduled": (lambda: saddle.projected(falling(0.02)), lambda kkt: max(0.0, kkt)),
    "nu_pi": (lambda: saddle.nu_pi(0.02), lambda kkt: max(0.0, kkt)),
    "nu_pi_scheduled": (lambda: saddle.nu_pi(falling(0.02)), lambda kkt: max(0.0, kkt)),
    "nu_pi_smoothed": (lambda: saddle.nu_pi(0.02, nu=0.9), lambda kkt: max(0.0, kkt)),
    "update_every": (
        lambda: saddle.update_every(saddle.geco(0.012), 3),
        lambda kkt: max(1e-6, kkt),
    ),
    "hold_for": (lambda: saddle.hold_for(saddle.geco(0.004), 100), lambda kkt: max(1e-6, kkt)),
}


# (λ_KKT, first λ): slack, active below one, active above; from below and from above.
KKT_CASES = np.array([(kkt, first) for kkt in (-0.5, 0.5, 2.5) for first in (0.3, 8.0)])


@pytest.mark.parametrize("dual", DUALS)
def test_every_dual_reaches_the_kkt_point(dual):
    make, limit = DUALS[dual]
    tx = saddle.saddle_point(optax.sgd(0.1), make(), decay=0.9)

    @jax.jit
    @jax.vmap
    def run(kkt, first):
        levels = {"c": (NORMAL, level_for(kkt))}
        start = saddle_at(np.zeros(3), c=first)
        return descend(tx, lambda v: quadratic(v, levels), start, 12_000)[0][0]

    kkt, first = KKT_CASES.T
    # REWO starts with λ ≫ 1: from below λ_KKT its latch never opens, which has a test of its own.
    reached = first >= kkt if dual.startswith("rewo") else np.full(len(kkt), True)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf)[reached], run(kkt, first))
    limits = np.array([limit(k) for k in kkt[reached]])
    np.testing.assert_allclose(variables.multipliers["c"], limits, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(variables.params, A + limits[:, None] * NORMAL, atol=1e-3)


@pytest.mark.parametrize("dual", DUALS)
def test_every_dual_sorts_an_active_from_a_slack_constraint(dual):
    """Orthogonal constraints, scales as a dict: t_0 ≥ 4 needs λ = 3, t_1 ≥ −5 holds by itself."""
    make, limit = DUALS[dual]
    levels = {"active": (np.array([1.0, 0, 0]), 4.0), "slack": (np.array([0, 1.0, 0]), -5.0)}
    scales = {"active": 0.5, "slack": 2.0}
    tx = saddle.saddle_point(optax.sgd(0.1), make(), decay=0.9, scales=scales)
    run = jax.jit(lambda v: descend(tx, lambda v: quadratic(v, levels), v, 12_000)[0][0])
    variables = run(saddle_at(np.zeros(3), active=8.0, slack=2.0))
    expected = {"active": limit(3.0), "slack": limit(-1.0)}
    for name, value in expected.items():
        np.testing.assert_allclose(variables.multipliers[name], value, rtol=1e-3, atol=2e-6)
    expected_params = A + np.array([expected["active"], expected["slack"], 0])
    np.testing.assert_allclose(variables.params, expected_params, atol=5e-3)


def noisy_problem():
    """A linear regression with a tolerance, one row of data per step, as a Lagrangian of arrays."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 8, 3))
    targets = inputs @ np.array([1.0, -1.0, 0.5]) + 0.3 * rng.normal(size=(200, 8))

    def rate(theta):
        return 0.5 * jnp.sum(theta**2)

    def constraint(theta, x, y):
        return jnp.mean((x @ theta - y) ** 2) - 0.5

    return inputs, targets, rate, constraint


def literal_algorithm_1(primal, num_steps, *, alpha, nu):
    """Rezende & Viola, 2018, algorithm 1, word by word: one loop, C_t with its stopped gradient."""
    inputs, targets, rate, constraint = noisy_problem()
    theta, lam, average, path = np.zeros(3), 1.0, None, []

    @functools.partial(jax.jit, static_argnums=4)
    def gradients(theta, lam, previous, data, is_first):
        def lagrangian(theta, lam):
            batch = constraint(theta, *data)
            moving = batch if is_first else alpha * previous + (1 - alpha) * batch
            C = batch + jax.lax.stop_gradient(moving - batch)
            return rate(theta) + lam * C, moving

        return jax.grad(lagrangian, argnums=(0, 1), has_aux=True)(theta, lam)

    for t in range(num_steps):
        (G_theta, G_lambda), average = gradients(
            theta, lam, average, (inputs[t], targets[t]), t == 0
        )
        theta = theta - primal(np.asarray(G_theta))
        lam = lam * np.exp(nu * float(G_lambda))
        path.append((theta, lam))
    return path


def numpy_adam(learning_rate, *, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba, 2015, algorithm 1."""
    m, v, t = 0.0, 0.0, 0

    def step(gradient):
        nonlocal m, v, t
        t = t + 1
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        return learning_rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

    return step


@pytest.mark.parametrize(
    ("primal", "literal"),
    [
        (optax.sgd(0.02), lambda gradient: 0.02 * gradient),
        (optax.adam(0.02), numpy_adam(0.02)),
    ],
    ids=["sgd", "adam"],
)
def test_saddle_point_is_algorithm_1_step_for_step(primal, literal):
    inputs, targets, rate, constraint = noisy_problem()
    num_dims = 4.0  # ν is per C / scale

    def loss(variables, data):
        return rate(variables.params) + variables.multipliers["re"] * constraint(
            variables.params, *data
        )

    tx = saddle.saddle_point(
        primal, saddle.geco(0.05 * num_dims, **UNSAFE), decay=0.95, scales=num_dims
    )
    _, (path, _) = descend(tx, loss, saddle_at(np.zeros(3), re=1.0), 200, (inputs, targets))
    expected = literal_algorithm_1(literal, 200, alpha=0.95, nu=0.05)
    np.testing.assert_allclose(path.params, [theta for theta, _ in expected], atol=1e-10)
    np.testing.assert_allclose(path.multipliers["re"], [lam for _, lam in expected], atol=1e-10)
    assert np.ptp(path.multipliers["re"]) > 0.1  # the multiplier did move


def f(beta, delta, tau):
    """REWO's f, maths 2.5, with the Heaviside step H."""
    H = 1.0 if delta > 0 else 0.0
    return (1 - H) * math.tanh(tau * (beta - 1)) - H


@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_rewo_is_the_published_rule_on_a_grid(tau):
    tx = saddle.rewo(0.7, steepness=tau, step_range=(0.0, math.inf))
    for delta in (-2.0, -0.3, -1e-3, 0.0, 1e-3, 0.3, 2.0):
        for multiplier in (1e-3, 0.2, 0.999, 1.0, 1.001, 5.0, 1e4):
            update, _ = tx.update(
                jnp.array(delta), tx.init(None), jnp.array(multiplier), feasible_once=True
            )
            beta = 1 / multiplier
            beta = beta * math.exp(0.7 * f(beta, delta, tau) * delta)
            np.testing.assert_allclose(multiplier + update, 1 / beta, rtol=1e-9)


def test_nu_pi_first_steps_along_the_batch_and_ignores_the_average():
    tx = saddle.nu_pi(0.5, nu=0.7, proportional=3.0, integral=2.0)
    errors, multiplier, xi = [0.4, -0.1, 0.3, 0.2, -0.6], 5.0, None
    state = tx.init(jnp.array(multiplier))
    for error in errors:
        update, state = tx.update(
            jnp.array(1e6), state, jnp.array(multiplier), constraint=jnp.array(error)
        )
        previous = error if xi is None else xi
        xi = 0.7 * previous + 0.3 * error
        expected = 0.5 * (2.0 * error + 3.0 * (xi - previous))
        np.testing.assert_allclose(update, expected, rtol=1e-9)
        multiplier = multiplier + expected


def test_nu_pi_without_smoothing_is_the_optimistic_gradient():
    tx = saddle.nu_pi(0.1, nu=0.0, proportional=1.0, integral=1.0)
    errors = np.random.default_rng(0).normal(size=20)
    multiplier, state = 9.0, tx.init(jnp.array(9.0))
    for t, error in enumerate(errors):
        update, state = tx.update(None, state, jnp.array(multiplier), constraint=jnp.array(error))
        optimistic = 2 * error - errors[t - 1] if t > 0 else error
        np.testing.assert_allclose(update, 0.1 * optimistic, rtol=1e-9)
        multiplier = multiplier + 0.1 * optimistic


def test_average_starts_at_the_first_batch_and_stays_in_the_constraints_units():
    tx = saddle.saddle_point(optax.sgd(0.0), saddle.projected(0.5), decay=0.75, scales=8.0)
    variables = saddle_at(0.0, c=1.0)
    state = tx.init(variables)
    average = None
    for t, batch in enumerate([4.0, -8.0, 2.0]):
        gradients = Saddle(jnp.array(0.0), {"c": jnp.array(batch)})
        updates, state = tx.update(gradients, state, variables)
        average = batch if average is None else 0.75 * average + 0.25 * batch
        np.testing.assert_allclose(state.average["c"], average, rtol=1e-12)
        np.testing.assert_allclose(updates.multipliers["c"], 0.5 * average / 8.0, rtol=1e-12)
        assert int(state.step) == t + 1


def test_clipping_inside_the_primal_leaves_the_constraint_alone():
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    tx = saddle.saddle_point(clipped, saddle.projected(1.0))
    variables = saddle_at(0.0, c=1.0)
    gradients = Saddle(jnp.array(50.0), {"c": jnp.array(50.0)})
    updates, _ = tx.update(gradients, tx.init(variables), variables)
    np.testing.assert_allclose(updates.params, -1e-3, rtol=1e-9)
    np.testing.assert_allclose(updates.multipliers["c"], 50.0, rtol=1e-12)


def reconstruct_from_afar(dual, learning_rate=1.0):
    """Path of λ and the last t of min 0.005 t² s.t. (t − 100)² ≤ 1, from t = 0 and λ = 1.

    The first constraint is 10⁴ times its scale and the deepest slack is only 1, as with a
    reconstruction error, so that a moving average takes long to turn. KKT: t = 99, λ = 0.495.
    """

    def loss(variables):
        t = variables.params
        return 0.005 * t**2 + variables.multipliers["re"] * ((t - 100) ** 2 - 1)

    tx = saddle.saddle_point(optax.adam(learning_rate), dual)
    run = jax.jit(lambda v: descend(tx, loss, v, 40_000))
    (variables, _), (path, _) = run(saddle_at(0.0, re=1.0))
    return np.asarray(path.multipliers["re"]), float(variables.params)


@pytest.mark.parametrize("learning_rate", [0.3, 1.0])
def test_geco_survives_a_huge_first_error_at_default_settings(learning_rate):
    path, t = reconstruct_from_afar(saddle.geco(), learning_rate)
    np.testing.assert_allclose(path[-1], 0.495, rtol=0.02)
    np.testing.assert_allclose(t, 99.0, atol=0.02)
    assert np.max(path) < 100 * path[-1]


def test_geco_explodes_after_a_huge_first_error_without_its_safety():
    published, _ = reconstruct_from_afar(saddle.geco(**UNSAFE))
    assert np.max(published) == 1e8  # the end of the multiplier's range
    # Clamping the step is not enough: the average pushes on long after the constraint is met.
    wound_up, _ = reconstruct_from_afar(saddle.geco(anti_windup=False))
    assert np.max(wound_up) > 100 * wound_up[-1]


def stationary_constraint(dual, noise, scale=1.0):
    """E[C] under batch noise of standard deviation one: a mean per independent run, [16]."""
    levels = {"c": (NORMAL, level_for(0.5))}
    tx = saddle.saddle_point(optax.sgd(0.01), dual, scales=scale)
    start = saddle_at(A + 0.5 * NORMAL, c=0.5)

    @jax.jit
    @jax.vmap
    def run(key):
        draws = noise(key, (50_000,))
        loss = functools.partial(quadratic, levels=levels)
        _, (path, _) = descend(tx, lambda v, n: loss(v, noise=n), start, None, draws)
        return jnp.mean(levels["c"][1] - path.params[10_000:] @ NORMAL)

    return np.asarray(run(jax.random.split(jax.random.key(0), 16)))


def symmetric(key, shape):
    return jax.random.normal(key, shape)


def skewed(key, shape):
    return jax.random.exponential(key, shape) - 1.0


@pytest.mark.parametrize("noise", [symmetric, skewed])
@pytest.mark.parametrize(
    ("dual", "scale"),
    [
        (saddle.geco(0.003), 1.0),
        (saddle.geco(0.003, **UNSAFE), 1.0),
        (saddle.pi_geco(0.03, proportional=4.0), 10.0),  # the noise is a tenth of the scale
        (saddle.nu_pi(0.003, nu=0.99), 1.0),
    ],
    ids=["geco", "geco_unsafe", "pi_geco", "nu_pi"],
)
def test_duals_meet_the_constraint_on_average_under_batch_noise(dual, scale, noise):
    means = stationary_constraint(dual, noise, scale)
    standard_error = np.std(means, ddof=1) / 4
    assert standard_error < 0.002
    assert abs(np.mean(means)) < 4 * standard_error


def feed(tx, state, variables, *batches):
    """One update per dict of constraints, with a unit gradient for every parameter."""
    for batch in batches:
        ones = jax.tree.map(jnp.ones_like, variables.params)
        gradients = Saddle(ones, {name: jnp.array(value) for name, value in batch.items()})
        updates, state = tx.update(gradients, state, variables)
        variables = optax.apply_updates(variables, updates)
    return variables, state


def test_rewo_holds_until_all_averages_are_met_and_never_again():
    tx = saddle.saddle_point(optax.sgd(0.0), saddle.rewo(1.0), decay=0.0)
    variables = saddle_at(0.0, a=50.0, b=40.0)
    state = tx.init(variables)
    for batch in ({"a": 1.0, "b": 1.0}, {"a": -1.0, "b": 0.1}, {"a": 0.1, "b": -1.0}):
        variables, state = feed(tx, state, variables, batch)
        assert not state.feasible_once
        assert variables.multipliers == {"a": 50.0, "b": 40.0}
    variables, state = feed(tx, state, variables, {"a": -0.01, "b": 0.0})
    assert state.feasible_once
    assert variables.multipliers["a"] < 50.0
    before = variables
    variables, state = feed(tx, state, before, {"a": 1.0, "b": 1.0})  # all violated again
    assert state.feasible_once
    assert variables.multipliers["a"] > before.multipliers["a"]
    assert variables.multipliers["b"] > before.multipliers["b"]


def test_the_latch_reads_the_average_and_not_the_batch():
    tx = saddle.saddle_point(optax.sgd(0.0), saddle.rewo(), decay=0.9)
    variables = saddle_at(0.0, c=10.0)
    variables, state = feed(tx, tx.init(variables), variables, {"c": 1.0}, {"c": -1.0})
    assert not state.feasible_once  # average 0.8
    variables, state = feed(tx, state, variables, {"c": -8.0})
    assert state.feasible_once  # average −0.08


def test_rewo_started_below_kkt_stays_in_its_initial_phase():
    """Why one starts with λ ≫ 1."""
    levels = {"c": (NORMAL, level_for(2.5))}
    tx = saddle.saddle_point(optax.sgd(0.1), saddle.rewo(), decay=0.9)
    start = saddle_at(np.zeros(3), c=2.0)
    (variables, state), _ = descend(tx, lambda v: quadratic(v, levels), start, 500)
    assert not state.feasible_once
    assert variables.multipliers["c"] == 2.0


def test_nothing_is_frozen_where_nothing_is_constrained():
    tx = saddle.saddle_point(saddle.freeze_until_feasible(optax.sgd(1.0)), saddle.rewo())
    variables, state = feed(tx, tx.init(saddle_at(1.0)), saddle_at(1.0), {})
    assert state.feasible_once
    assert float(variables.params) == 0.0


def test_a_frozen_group_keeps_its_parameters_moments_and_count():
    primal = optax.partition(
        {"vae": optax.adam(0.1), "prior": saddle.freeze_until_feasible(optax.adam(0.1))},
        {"encoder": "vae", "prior": "prior"},
    )
    tx = saddle.saddle_point(primal, saddle.rewo(), decay=0.0)
    params = {"encoder": jnp.array([1.0, 2.0]), "prior": jnp.array([3.0])}
    variables = Saddle(params, {"c": jnp.array(100.0)})
    state = tx.init(variables)

    def adam_state(state, group):
        return optax.tree.get(state.primal.inner_states[group], "ScaleByAdamState")

    variables, state = feed(tx, state, variables, *[{"c": 1.0}] * 5)
    frozen = adam_state(state, "prior")
    assert int(frozen.count) == 0
    assert np.all(frozen.mu["prior"] == 0)
    assert np.all(frozen.nu["prior"] == 0)
    assert np.all(variables.params["prior"] == 3.0)
    assert int(adam_state(state, "vae").count) == 5
    assert np.all(variables.params["encoder"] < params["encoder"])
    # From the step that opens the latch on it is Adam from its first step, whatever C does.
    variables, state = feed(tx, state, variables, {"c": -1.0}, {"c": 1.0}, {"c": 1.0})
    thawed = adam_state(state, "prior")
    assert int(thawed.count) == 3
    np.testing.assert_allclose(thawed.mu["prior"], 1 - 0.9**3, rtol=1e-6)
    np.testing.assert_allclose(thawed.nu["prior"], 1 - 0.999**3, rtol=1e-6)
    np.testing.assert_allclose(variables.params["prior"], 3.0 - 3 * 0.1, rtol=1e-6)


@pytest.mark.parametrize("make", [saddle.geco, saddle.rewo], ids=["geco", "rewo"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_steps_and_multipliers_stay_in_their_ranges(make, sign):
    tx = saddle.saddle_point(
        optax.sgd(0.0),
        make(1e3, step_range=(0.8, 1.25), multiplier_range=(0.5, 20.0)),
        decay=0.0,
    )
    variables = saddle_at(0.0, c=10.0)
    variables, state = feed(tx, tx.init(variables), variables, {"c": -1e-9})  # opens the latch
    for _ in range(20):
        before = float(variables.multipliers["c"])
        variables, state = feed(tx, state, variables, {"c": sign * 1e6})
        after = float(variables.multipliers["c"])
        assert 0.8 - 1e-12 <= after / before <= 1.25 + 1e-12
        assert 0.5 <= after <= 20.0
    # REWO stops at one where the constraint is met; at this step size it jumps to and fro.
    limit = 20.0 if sign > 0 else 0.5
    assert after == limit or (make is saddle.rewo and sign < 0 and 0.75 < after < 1.3)


@pytest.mark.parametrize("make", [saddle.projected, saddle.nu_pi], ids=["projected", "nu_pi"])
def test_additive_duals_stay_in_their_range(make):
    for sign, limit in ((1.0, 20.0), (-1.0, 0.5)):
        tx = saddle.saddle_point(optax.sgd(0.0), make(1.0, multiplier_range=(0.5, 20.0)), decay=0.0)
        variables = saddle_at(0.0, c=10.0)
        variables, _ = feed(tx, tx.init(variables), variables, *[{"c": sign * 7.0}] * 3)
        assert float(variables.multipliers["c"]) == limit


def test_update_every_makes_the_double_loop():
    """Three inner steps on θ, φ and λ per outer step on the prior."""
    primal = optax.partition(
        {"vae": optax.sgd(1.0), "prior": saddle.update_every(optax.sgd(1.0), 3)},
        {"encoder": "vae", "prior": "prior"},
    )
    tx = saddle.saddle_point(primal, saddle.projected(1.0), decay=0.0)
    variables = Saddle({"encoder": jnp.array(0.0), "prior": jnp.array(0.0)}, {"c": jnp.array(0.0)})
    state, path = tx.init(variables), []
    for _ in range(7):
        variables, state = feed(tx, state, variables, {"c": 1.0})
        path.append(
            (
                -float(variables.params["encoder"]),
                float(variables.multipliers["c"]),
                -float(variables.params["prior"]),
            )
        )
    assert path == [(1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 1), (5, 5, 1), (6, 6, 2), (7, 7, 2)]


def test_update_every_and_hold_for_pace_a_dual():
    def multipliers(dual):
        tx = saddle.saddle_point(optax.sgd(0.0), dual, decay=0.0)
        variables = saddle_at(0.0, c=0.0)
        state, path = tx.init(variables), []
        for _ in range(5):
            variables, state = feed(tx, state, variables, {"c": 1.0})
            path.append(float(variables.multipliers["c"]))
        return path

    assert multipliers(saddle.update_every(saddle.nu_pi(1.0), 2)) == [0, 1, 1, 2, 2]
    assert multipliers(saddle.hold_for(saddle.nu_pi(1.0), 3)) == [0, 0, 0, 1, 2]
    both = saddle.hold_for(saddle.update_every(saddle.projected(1.0), 2), 1)
    assert multipliers(both) == [0, 0, 1, 1, 2]


def test_scales_as_a_number_and_as_a_tree():
    def update(scales):
        tx = saddle.saddle_point(optax.sgd(0.0), saddle.nu_pi(1.0), scales=scales)
        variables = saddle_at(0.0, a=5.0, b=5.0)
        after, _ = feed(tx, tx.init(variables), variables, {"a": 8.0, "b": -2.0})
        return {name: float(value) for name, value in after.multipliers.items()}

    assert update(4) == {"a": 7.0, "b": 4.5}
    assert update(jnp.array(4.0)) == {"a": 7.0, "b": 4.5}
    assert update({"a": 2.0, "b": 4.0}) == {"a": 9.0, "b": 4.5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: saddle.saddle_point(optax.sgd(1.0), saddle.geco(), decay=1.0),
            r"decay must lie in \[0, 1\), got 1\.0\.",
        ),
        (
            lambda: saddle.saddle_point(optax.sgd(1.0), saddle.geco(), decay=-0.1),
            r"decay must lie in \[0, 1\), got -0\.1\.",
        ),
        (
            lambda: saddle.saddle_point(optax.sgd(1.0), saddle.geco(), scales=0),
            r"scales must be positive and finite, got 0\.",
        ),
        (
            lambda: saddle.saddle_point(optax.sgd(1.0), saddle.geco(), scales={"re": -2.0}),
            r"scales must be positive and finite, got -2\.0\.",
        ),
        (lambda: saddle.geco(0.0), r"step_size must be positive and finite, got 0\.0\."),
        (lambda: saddle.rewo(-1.0), r"step_size must be positive and finite, got -1\.0\."),
        (lambda: saddle.projected(0), r"step_size must be positive and finite, got 0\."),
        (lambda: saddle.nu_pi(float("nan")), r"step_size must be positive and finite, got nan\."),
        (
            lambda: saddle.geco(step_range=(1.1, 0.9)),
            r"step_range must be \(low, high\) with 0 <= low < high, got \(1\.1, 0\.9\)\.",
        ),
        (
            lambda: saddle.rewo(step_range=(-0.1, 0.9)),
            r"step_range must be \(low, high\) with 0 <= low < high, got \(-0\.1, 0\.9\)\.",
        ),
        (
            lambda: saddle.projected(1.0, multiplier_range=(2.0, 2.0)),
            r"multiplier_range must be \(low, high\) with 0 <= low < high, got \(2\.0, 2\.0\)\.",
        ),
        (
            lambda: saddle.nu_pi(1.0, multiplier_range=(-1.0, 2.0)),
            r"multiplier_range must be \(low, high\) with 0 <= low < high, got \(-1\.0, 2\.0\)\.",
        ),
        (lambda: saddle.rewo(steepness=0.0), r"steepness must be positive and finite, got 0\.0\."),
        (
            lambda: saddle.update_every(optax.sgd(1.0), 0),
            r"period must be at least 1, got 0\.",
        ),
        (
            lambda: saddle.hold_for(optax.sgd(1.0), -1),
            r"num_steps must be finite and not negative, got -1\.",
        ),
        (lambda: saddle.geco(math.inf), r"step_size must be positive and finite, got inf\."),
        (
            lambda: saddle.geco(np.float32(-1)),
            r"step_size must be positive and finite, got -1\.0\.",
        ),
        (lambda: saddle.pi_geco(-1.0), r"step_size must be positive and finite, got -1\.0\."),
        (
            lambda: saddle.pi_geco(proportional=-1.0),
            r"proportional must be finite and not negative, got -1\.0\.",
        ),
        (lambda: saddle.nu_pi(1.0, nu=1.5), r"nu must lie in \(-1, 1\), got 1\.5\."),
        (lambda: saddle.nu_pi(1.0, integral=math.inf), r"integral must be finite, got inf\."),
    ],
)
def test_impossible_settings_are_refused_with_a_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()


SWEPT = {
    "geco": saddle.geco,
    "pi_geco": functools.partial(saddle.pi_geco, proportional=0.1),
    "rewo": saddle.rewo,
    "projected": saddle.projected,
    "nu_pi": functools.partial(saddle.nu_pi, nu=0.5),
}


@pytest.mark.parametrize("dual", SWEPT)
def test_hyperparameters_and_first_multipliers_may_be_swept(dual):
    """Under jit and vmap over (ν, α, scale, λ_0), equal to a loop over Python numbers."""
    levels = {"c": (NORMAL, level_for(0.5))}

    def run(step_size, decay, scale, first):
        tx = saddle.saddle_point(
            optax.sgd(0.1), SWEPT[dual](step_size), decay=decay, scales={"c": scale}
        )
        variables = saddle_at(np.zeros(3), c=first)
        return descend(tx, lambda v: quadratic(v, levels), variables, 200)

    settings = np.array([[0.01, 0.9, 1.0, 0.3], [0.05, 0.5, 2.0, 8.0], [0.02, 0.0, 1.0, 2.0]])
    (swept, swept_state), _ = jax.jit(jax.vmap(run))(*settings.T)
    for i, row in enumerate(settings):
        (variables, state), _ = run(*map(float, row))
        for actual, expected in ((swept, variables), (swept_state, state)):
            jax.tree.map(
                lambda a, e, i=i: np.testing.assert_allclose(a[i], e, rtol=1e-9, atol=1e-12),
                actual,
                expected,
            )


def test_rewo_steepness_may_be_traced():
    def update(steepness):
        tx = saddle.rewo(steepness=steepness)
        multiplier = jnp.array(2.0)
        return tx.update(jnp.array(-0.01), tx.init(multiplier), multiplier, feasible_once=True)[0]

    swept = jax.jit(jax.vmap(update))(np.array([0.5, 3.0]))
    np.testing.assert_allclose(swept, [update(0.5), update(3.0)], rtol=1e-12)


@pytest.mark.parametrize("dual", DUALS)
def test_state_is_a_tree_that_survives_jit(dual):
    tx = saddle.saddle_point(optax.adam(0.1), DUALS[dual][0]())
    variables = saddle_at(np.zeros(3), c=2.0)
    gradients = saddle_at(np.ones(3), c=-0.3)
    state = tx.init(variables)
    updates, eager = tx.update(gradients, state, variables)
    jitted_updates, jitted = jax.jit(tx.update)(gradients, state, variables)
    assert jax.tree.structure(state) == jax.tree.structure(eager) == jax.tree.structure(jitted)
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), s) for s in (state, jitted)]
    assert types[0] == types[1]
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9),
        (jitted_updates, jitted),
        (updates, eager),
    )
    leaves, treedef = jax.tree.flatten(jitted)
    assert isinstance(jax.tree.unflatten(treedef, leaves), saddle.SaddleState)


def test_extra_arguments_reach_primal_and_dual():
    """For example optax's reduce_on_plateau, which needs the loss."""
    seen = {}

    def spy(name):
        def update(updates, state, params=None, **extra_args):
            seen[name] = extra_args
            return updates, state

        return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)

    tx = saddle.saddle_point(spy("primal"), spy("dual"), scales=2.0)
    variables = saddle_at(0.0, c=1.0)
    tx.update(saddle_at(1.0, c=-3.0), tx.init(variables), variables, value=7.0)
    for extra_args in seen.values():
        assert extra_args["value"] == 7.0
        assert float(extra_args["constraint"]["c"]) == -1.5
        assert bool(extra_args["feasible_once"])


def test_pi_geco_gives_back_what_a_closing_constraint_gathered():
    """log λ_t = log λ_0 + Σ ν C̄_s + K (c_t − 1), c = C̄ clipped to [−1, 1], unclamped."""
    nu, gain = 0.05, 3.0
    tx = saddle.pi_geco(nu, proportional=gain, step_range=(0, float("inf")), anti_windup=False)
    averages = [5.0, 0.9, 0.4, -0.2, 0.1]
    multiplier = jnp.array(2.0)
    state = tx.init(multiplier)
    for count, average in enumerate(averages, start=1):
        update, state = tx.update(jnp.array(average), state, multiplier, constraint=average)
        multiplier = multiplier + update
        clipped = min(max(average, -1.0), 1.0)
        expected = np.log(2.0) + nu * sum(averages[:count]) + gain * (clipped - 1.0)
        np.testing.assert_allclose(np.log(multiplier), expected, rtol=1e-5)


def test_pi_geco_without_a_proportional_part_is_geco():
    levels = {"c": (NORMAL, level_for(0.5))}

    def path(dual):
        tx = saddle.saddle_point(optax.sgd(0.1), dual, decay=0.9)
        start = saddle_at(np.zeros(3), c=8.0)
        return descend(tx, lambda v: quadratic(v, levels), start, 500)[1][0].multipliers["c"]

    plain, with_gain_zero = path(saddle.geco(0.01)), path(saddle.pi_geco(0.01, proportional=0.0))
    assert np.array_equal(plain, with_gain_zero)


SCHEDULED = {
    "geco": lambda step_size: saddle.geco(step_size, **UNSAFE),
    "pi_geco": lambda step_size: saddle.pi_geco(step_size, proportional=0.0, **UNSAFE),
    "rewo": lambda step_size: saddle.rewo(step_size, step_range=(0.0, math.inf)),
    "projected": saddle.projected,
    "nu_pi": functools.partial(saddle.nu_pi, proportional=0.0),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_gives_the_step_size_of_each_update(name):
    """Each step is that of a dual with the schedule's number of that step, as in optax from 0 on."""
    schedule = lambda step: 0.5 / (1 + step)  # noqa: E731
    extra = dict(constraint=jnp.array(0.3), feasible_once=jnp.array(True))
    scheduled, multiplier = SCHEDULED[name](schedule), jnp.array(2.0)
    state = scheduled.init(multiplier)
    for step in range(6):
        update, state = scheduled.update(jnp.array(0.3), state, multiplier, **extra)
        constant = SCHEDULED[name](float(schedule(step)))
        expected, _ = constant.update(
            jnp.array(0.3), constant.init(multiplier), multiplier, **extra
        )
        np.testing.assert_allclose(update, expected, rtol=1e-12)
        multiplier = multiplier + update
    assert int(state.step) == 6


def test_no_file_of_the_package_has_the_name_of_a_function():
    """`saddle.geco` is the function, whatever was imported before."""
    files = {module.name for module in pkgutil.iter_modules(saddle.__path__)}
    assert not files & set(saddle.__all__)
    assert all(callable(getattr(saddle, name)) for name in set(saddle.__all__) - {"StepSize"})

"""Fixed points against closed forms, direct numpy iterations and dense solvers, in float64."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import logsumexp

from experiments.fixed_points import __main__ as command
from vaelab import theory
from vaelab.cli import parsing
from vaelab.data import planar
from vaelab.plotting import fixed_points as plots
from vaelab.plotting import tiles as tile_plots

CONVERGED = theory.Rule(smoothing=1.0, tolerance=1e-11, max_steps=20_000)
OFFSETS = ((0.6, 0.0), (0.0, 0.25), (0.08, 0.0))  # mergers near β = 0.013, 0.125 and 0.73


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def data():
    """16 points in 8 clusters."""
    x = planar.clusters(jax.random.key(0), 16, offsets=OFFSETS, noise=0.005)
    return jnp.asarray(x, jnp.float64)


def start(side=6):
    return theory.initial_reconstructions(jax.random.key(1), side)


def converged(x, g, beta, log_prior=None, penalty=None):
    return theory.iterate(x, g, beta, log_prior, penalty, rule=CONVERGED)


def number_of_tiles(x, g, beta):
    return int(jnp.sum(theory.tiles(x, g, beta, tolerance=1e-6).prior > 0))


def nonuniform(num_cells):
    return jnp.log(jnp.asarray(np.random.default_rng(0).dirichlet(np.full(num_cells, 3.0))))


def test_posteriors_are_normalised_under_the_prior():
    x, g, log_prior = data(), start(), nonuniform(36)
    for beta in (1e-6, 0.1, 1e6):
        log_m = theory.log_ratio(x, g, beta, log_prior)
        np.testing.assert_allclose(logsumexp(log_m + log_prior, axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.005, 0.06, 0.4, 1.0])
def test_converged_reconstructions_are_stationary_and_inside_the_data(beta):
    x = data()
    end = converged(x, start(), beta)
    assert int(end.num_steps) < CONVERGED.max_steps
    assert end.g.dtype == jnp.float64
    np.testing.assert_allclose(theory.transition(x, end.g, beta), end.g, atol=1e-8)
    # The ELBO itself, not only the map, is stationary there.
    slope = jax.grad(theory.fixed_point_objective, argnums=1)(x, end.g, beta)
    np.testing.assert_allclose(slope, 0, atol=1e-8 / beta)
    # Each is a convex combination of data: a linear program finds the weights.
    ones = np.ones((1, len(x)))
    for point in np.unique(np.round(np.asarray(end.g), 9), axis=0):
        target = np.append(point, 1.0)
        slack = np.full(3, 1e-8)
        rows = np.concatenate([np.asarray(x).T, ones])
        found = linprog(
            np.zeros(len(x)), np.concatenate([rows, -rows]),
            np.concatenate([target + slack, slack - target]), bounds=(0, None),
        )  # fmt: skip
        assert found.status == 0


def test_clusters_merge_scale_by_scale_as_beta_grows():
    x, g = data(), start(8)
    betas = (0.006, 0.06, 0.4, 1.0)
    found = [number_of_tiles(x, converged(x, g, beta).g, beta) for beta in betas]
    assert found == [8, 4, 2, 1]


def test_the_last_merger_is_where_the_mean_becomes_stable():
    x = data()
    known = theory.last_merger(x)
    np.testing.assert_allclose(
        known, 2 * np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1], rtol=1e-12
    )
    mean = jnp.mean(x, axis=0)
    for factor, merged in ((1.1, True), (0.9, False)):
        g = converged(x, start(4), factor * known).g
        assert bool(jnp.max(jnp.abs(g - mean)) < 1e-6) == merged


@pytest.mark.parametrize("smoothing", [0.1, 1.0, 1.9])
@pytest.mark.parametrize("constrained", [False, True])
def test_no_step_decreases_the_objective(smoothing, constrained):
    x, g, beta = data(), start(), 0.05
    penalty = theory.local_penalty(theory.grid(6), 0.5, 0.3) if constrained else None
    rule = theory.Rule(smoothing=smoothing, tolerance=0.0, max_steps=60)
    path = theory.iterate(x, g, beta, None, penalty, rule=rule, keep_path=True).path
    values = jax.vmap(lambda g: theory.fixed_point_objective(x, g, beta, None, penalty))(path)
    assert values[-1] - values[0] > 0.1
    assert jnp.all(jnp.diff(values) > -1e-13)


def test_no_step_decreases_the_objective_under_another_prior():
    x, log_prior = data(), nonuniform(36)
    rule = theory.Rule(smoothing=1.0, tolerance=0.0, max_steps=60)
    path = theory.iterate(x, start(), 0.05, log_prior, rule=rule, keep_path=True).path
    values = jax.vmap(lambda g: theory.fixed_point_objective(x, g, 0.05, log_prior))(path)
    assert jnp.all(jnp.diff(values) > -1e-13)


def test_the_objective_is_the_elbo_at_the_best_encoder():
    """−E‖x − g‖²/β − KL(q ‖ π), from q = π m alone."""
    x, g, log_prior, beta = map(np.asarray, (data(), start(), nonuniform(36), 0.05))
    m = np.exp(theory.log_ratio(x, g, beta, log_prior))
    q = m * np.exp(log_prior)
    square = ((x[:, None] - g) ** 2).sum(-1)
    elbo = np.mean((-q * square / beta - q * np.log(m)).sum(axis=1))
    np.testing.assert_allclose(
        theory.fixed_point_objective(x, g, beta, log_prior), elbo, rtol=1e-12
    )
    error = theory.reconstruction_error(x, g, beta, log_prior)
    np.testing.assert_allclose(error, np.mean((q * square).sum(axis=1)), rtol=1e-12)


def test_steps_are_kernel_pcas_pre_image_iteration_with_the_normalised_kernel():
    """Mika et al., 1999, eq. 10: z ← Σ_i γ_i k(z, x_i) x_i / Σ_i γ_i k(z, x_i), loop by loop."""
    x, g, beta = data(), start(4), 0.2
    rule = theory.Rule(smoothing=1.0, tolerance=0.0, max_steps=30)
    path = theory.iterate(x, g, beta, rule=rule, keep_path=True).path
    points, pre_images = np.asarray(x), np.asarray(g).copy()
    for step in range(30):
        gram = np.array(
            [[np.exp(-np.sum((z - p) ** 2) / beta) for z in pre_images] for p in points]
        )
        kernel = gram / gram.mean(axis=1, keepdims=True)
        pre_images = np.array([(k @ points) / k.sum() for k in kernel.T])
        np.testing.assert_allclose(path[step + 1], pre_images, rtol=0, atol=1e-11)


def test_at_zero_temperature_cells_move_to_the_datum_of_smallest_excess():
    x, g = data(), start()
    square = ((np.asarray(x)[:, None] - np.asarray(g)) ** 2).sum(-1)
    winner = (square - square.min(axis=1, keepdims=True)).argmin(axis=0)
    # Cells nearest to several data are the mean of these.
    nearest = square.argmin(axis=1)
    expected = [
        x[nearest == a].mean(axis=0) if np.any(nearest == a) else x[winner[a]] for a in range(36)
    ]
    limit = theory.transition(x, g, 1e-9)
    np.testing.assert_allclose(limit, np.stack(expected), atol=1e-9)
    assert np.any(winner != square.argmin(axis=0))  # which is not their nearest datum ...
    covered = jnp.concatenate([g, x])  # ... unless every datum is some cell's reconstruction
    square = ((np.asarray(x)[:, None] - np.asarray(covered)) ** 2).sum(-1)
    limit = theory.transition(x, covered, 1e-9)
    np.testing.assert_allclose(limit, x[square.argmin(axis=0)], atol=1e-9)


def test_holes_have_finite_targets_where_their_mass_underflows():
    x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
    g = jnp.concatenate([x, jnp.array([[40.0, 0.0]])])
    assert jnp.sum(jnp.exp(theory.log_ratio(x, g, 0.1)[:, 2])) == 0
    np.testing.assert_allclose(theory.transition(x, g, 0.1)[2], x[1], atol=1e-12)


def test_at_high_temperature_cells_move_to_the_mean_at_the_known_rate():
    """T(g)_a = mean + (2/β) C (g_a − mean g) + O(β⁻²)."""
    x, g = map(np.asarray, (data(), start()))
    covariance = np.cov(x.T, bias=True)
    linear = 2 * (g - g.mean(axis=0)) @ covariance
    rest = [
        np.abs(theory.transition(x, g, beta) - x.mean(axis=0) - linear / beta).max()
        for beta in (1e3, 1e4)
    ]
    assert rest[0] < 1e-5
    np.testing.assert_allclose(rest[0] / rest[1], 100, rtol=0.02)


def test_second_derivatives_and_critical_temperatures():
    betas = jnp.linspace(0.1, 3.0, 30) ** 1.3
    np.testing.assert_allclose(theory.second_derivative(betas, 3 * betas**2 - betas), 6, rtol=1e-9)
    bends = [(0.5, 1.0), (1.2, 3.0), (2.1, 2.0)]  # (where, change of slope)
    betas = jnp.linspace(0.0, 3.0, 31)
    errors = sum(change * jnp.minimum(betas, at) for at, change in bends)
    found = theory.critical_temperatures(betas, errors)
    np.testing.assert_allclose(found.beta, [1.2, 2.1, 0.5], atol=1e-9)
    np.testing.assert_allclose(found.curvature, [30, 20, 10], rtol=1e-6)
    few = theory.critical_temperatures(betas, jnp.minimum(betas, 1.0))
    np.testing.assert_array_equal(jnp.isnan(few.beta), [False, True, True])


def test_the_error_curve_equals_the_iteration_of_each_beta():
    x, g, betas = data(), start(4), jnp.array([0.05, 0.3, 2.0])
    errors, steps = theory.error_curve(x, g, betas)
    for beta, error, count in zip(betas, errors, steps, strict=True):
        end = theory.iterate(x, g, beta)
        assert int(end.num_steps) == int(count)
        np.testing.assert_allclose(error, theory.reconstruction_error(x, end.g, beta), rtol=1e-12)
    np.testing.assert_allclose(errors[-1], np.trace(np.cov(x.T, bias=True)), rtol=1e-3)


def test_the_projection_minimises_the_penalised_square():
    """Against least squares on the stacked residuals √m_ia (g_a − x_i) and √Λ_ab (g_a − g_b)."""
    generator = np.random.default_rng(0)
    x, m = generator.normal(size=(5, 2)), generator.uniform(size=(5, 4)) ** 3
    m[:, 3] = 0.0  # a hole
    penalty = np.triu(generator.uniform(size=(4, 4)), 1)
    penalty = penalty + penalty.T
    identity = np.eye(4)
    rows, sides = [], []
    for i, a in np.ndindex(5, 4):
        rows.append(np.sqrt(m[i, a]) * identity[a])
        sides.append(np.sqrt(m[i, a]) * x[i])
    for a, b in np.ndindex(4, 4):
        rows.append(np.sqrt(penalty[a, b]) * (identity[a] - identity[b]))
        sides.append(np.zeros(2))
    dense = np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)[0]
    targets = (m.T @ x) / np.append(m.sum(axis=0)[:3], 1.0)[:, None]
    found = theory.projection(targets, m.sum(axis=0), penalty)
    np.testing.assert_allclose(found, dense, atol=1e-10)


def test_without_a_penalty_the_projection_keeps_the_targets():
    targets, masses = start(3), jnp.linspace(0.0, 1.0, 9)
    np.testing.assert_array_equal(theory.projection(targets, masses, jnp.zeros((9, 9))), targets)
    x, g = data(), start(3)
    np.testing.assert_allclose(
        theory.transition(x, g, 0.1, None, jnp.zeros((9, 9))), theory.transition(x, g, 0.1), atol=0
    )


def test_a_strong_global_constraint_makes_all_cells_the_mean():
    """The data's mean, under a uniform prior: Σ_a m_ia = A."""
    x, g = data(), start(4)
    previous = np.inf
    for strength in (1.0, 1e3, 1e6):
        found = theory.transition(x, g, 0.05, None, theory.global_penalty(16, strength))
        distance = float(jnp.max(jnp.abs(found - jnp.mean(x, axis=0))))
        assert distance < previous
        previous = distance
    assert distance < 1e-6


def test_local_constraints_hold_within_their_radius():
    cells = theory.grid(4)  # spacing 0.5
    penalty = np.asarray(theory.local_penalty(cells, 0.5, 2.0))
    distance = np.linalg.norm(np.asarray(cells)[:, None] - np.asarray(cells), axis=-1)
    np.testing.assert_array_equal(penalty, 2.0 * ((distance > 0) & (distance < 0.6)))
    x, beta = data(), 0.02
    free, held = (converged(x, start(4), beta, None, p) for p in (None, jnp.asarray(penalty)))
    np.testing.assert_allclose(
        theory.transition(x, held.g, beta, None, jnp.asarray(penalty)), held.g, atol=1e-8
    )
    assert theory.roughness(held.g, penalty) < theory.roughness(free.g, penalty)


def test_equipartition_holds_at_the_best_prior_and_not_at_a_given_one():
    x, beta = data()[:11], 0.06  # of unequal clusters
    g = converged(x, start(), beta).g
    uniform = jnp.full(36, -jnp.log(36.0))
    best = theory.optimal_log_prior(x, g, beta, uniform, 3000)
    np.testing.assert_allclose(theory.tile_ratios(x, g, beta, best), 1, atol=1e-8)
    assert abs(theory.tile_kl(x, g, beta, best)) < 1e-12
    assert theory.tile_kl(x, g, beta) > 1e-3
    assert theory.fixed_point_objective(x, g, beta, best) > theory.fixed_point_objective(x, g, beta)
    found = theory.tiles(x, g, beta, best, tolerance=1e-6)
    np.testing.assert_allclose(found.prior, found.posterior, atol=1e-9)
    np.testing.assert_allclose([found.prior.sum(), found.posterior.sum()], 1, rtol=1e-12)


def test_at_zero_temperature_the_best_tiles_are_equiprobable():
    """One tile per datum, mass 1/n each, objective −log n (proposition 3.1)."""
    x = data()[::2]
    g, beta = jnp.concatenate([x, x[:3], x[:1]]), 1e-6
    best = theory.optimal_log_prior(x, g, beta, jnp.full(len(g), -jnp.log(len(g))))
    found = theory.tiles(x, g, beta, best, tolerance=1e-9)
    np.testing.assert_array_equal(found.label, [*range(8), 0, 1, 2, 0])
    np.testing.assert_allclose(found.prior[:8], 1 / 8, rtol=1e-9)
    np.testing.assert_allclose(
        theory.fixed_point_objective(x, g, beta, best), -np.log(8), rtol=1e-9
    )
    assert theory.fixed_point_objective(x, g, beta) < -np.log(8)


def test_chains_of_near_reconstructions_are_one_tile():
    g = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.9, 0.0], [1.8, 0.0], [3.1, 0.0], [-0.9, 0.0]])
    assert theory.tiles(data(), g, 1.0, tolerance=1.0).label.tolist() == [0, 1, 0, 0, 1, 0]


def test_overlaps_decode_to_inverse_mass_means_and_holes_to_nan():
    x = jnp.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    supports = jnp.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]], bool)
    prior = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    g, weights, holes = theory.blurred_reconstructions(x, supports, prior)
    np.testing.assert_allclose(g[:2], [x[0], x[0]])
    density = np.array([1 / 0.6, 1 / 0.55])
    np.testing.assert_allclose(g[2], density / density.sum())
    density = np.array([1 / 0.55, 1 / 0.25]) / (1 / 0.55 + 1 / 0.25)
    np.testing.assert_allclose(g[3], density @ np.asarray(x)[1:])
    assert holes.tolist() == [False] * 4 + [True]
    assert jnp.all(jnp.isnan(g[4]))
    np.testing.assert_array_equal(weights[:, 4], 0)


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_a_variance_optimised_jointly_falls_to_zero_and_the_elbo_never_falls(smoothing):
    run = theory.optimise_variance(
        data(), start(8), 0.5, num_steps=250, smoothing=smoothing, smallest=1e-20
    )
    falling = run.variance > 1e-20
    assert jnp.all(jnp.diff(run.variance)[falling[1:]] < 0)
    assert run.variance[-1] < 1e-14
    assert jnp.all(jnp.diff(run.elbo)[falling[1:]] > 0)


def test_too_few_cells_keep_the_variance_positive():
    x = data()
    run = theory.optimise_variance(x, start(2)[:1], 0.5, num_steps=60, smoothing=1.0)
    np.testing.assert_allclose(run.variance[-1], np.trace(np.cov(x.T, bias=True)) / 2, rtol=1e-9)


def test_paths_begin_at_the_start_and_are_constant_after_the_stop():
    x, g = data(), start(3)
    end = theory.iterate(x, g, 2.0, keep_path=True)
    count = int(end.num_steps)
    assert 1 < count < 400
    np.testing.assert_array_equal(end.path[0], g)
    np.testing.assert_array_equal(end.path[count:], jnp.broadcast_to(end.g, (401 - count, 9, 2)))
    steps = np.linalg.norm(np.diff(end.path, axis=0).reshape(400, -1), axis=1)
    np.testing.assert_allclose(end.distance, steps[count - 1], rtol=1e-12)
    assert steps[count - 1] < 1e-3 <= steps[: count - 1].min()


def test_iterations_map_over_beta_without_the_host():
    x, g, betas = data(), start(3), jnp.array([0.05, 1.0])
    with jax.transfer_guard("disallow"):
        ends = jax.jit(jax.vmap(lambda beta: theory.iterate(x, g, beta).g))(betas)
    for beta, found in zip(betas, ends, strict=True):
        np.testing.assert_allclose(found, theory.iterate(x, g, beta).g, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (dict(smoothing=0.0), "smoothing must lie in (0, 2), got 0.0."),
        (dict(tolerance=-1.0), "tolerance must not be negative, got -1.0."),
        (dict(max_steps=0), "max_steps must be at least 1, got 0."),
    ],
)
def test_rules_out_of_range_are_refused(rule, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared in full)
        theory.Rule(**rule)
    assert str(error.value) == sentence


def test_mixtures_are_at_their_centres_and_segments():
    key, number = jax.random.key(3), 600
    rings = [((0, 1), 0.5), ((2, 0), 0.25), ((1, 1), 0.1)]
    x = planar.circles(key, number, centres_and_radii=rings, noise=0.0)
    assert (x.shape, x.dtype) == ((number, 2), jnp.float32)
    for which, (centre, radius) in enumerate(rings):
        distance = np.linalg.norm(np.asarray(x)[which::3] - centre, axis=1)
        np.testing.assert_allclose(distance, radius, rtol=1e-5)
    segments = [((0, 0), (1, 2)), ((1, 1), (1, 3)), ((0, -1), (1, -1))]
    x = np.asarray(planar.lines(key, number, segments=segments, noise=0.0))
    for which, (first, last) in enumerate(np.asarray(segments, float)):
        along = last - first
        place = (x[which::3] - first) @ along / (along @ along)
        np.testing.assert_allclose(x[which::3], first + place[:, None] * along, atol=1e-6)
        assert 0 <= place.min() < 0.05
        assert 0.95 < place.max() <= 1
    for make in (planar.lines, planar.circles, planar.clusters):
        noisy, exact = (np.asarray(make(key, number, noise=noise)) for noise in (0.05, 0.0))
        np.testing.assert_allclose((noisy - exact).std(axis=0), 0.05, rtol=0.1)
        np.testing.assert_array_equal(make(key, number, noise=0.05), noisy)


def test_the_command_writes_every_plot_and_its_numbers(tmp_path, monkeypatch, capsys):
    small = dict(SIDE=5, LIPSCHITZ_SIDE=5, NUM_POINTS=15, NUM_CURVE_POINTS=15)
    for name, value in small.items():
        monkeypatch.setattr(command.plots, name, value)
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 30)
    argv = ["--workdir", str(tmp_path), "--data-dir", str(tmp_path / "none")]
    with jax.enable_x64(False):
        # Without MNIST the plot of seven digits is left out.
        assert parsing.run(command.FixedPoints, argv, prog="study") == 0
    assert "micro_mnist.png is left out" in capsys.readouterr().out
    names = set(command.plots.PLOTS)
    results = json.loads((tmp_path / "fixed_points.json").read_text())
    assert set(results) == names | {"seed"}
    assert {path.name for path in tmp_path.glob("*.png")} == {f"{name}.png" for name in names}
    assert results["vanishing_variance"]["never rises"]


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (partial(plots.trajectories, []), "at least one panel"),
        (partial(plots.phase_transitions, [], []), "at least one each"),
        (partial(plots.vanishing_variance, [1.0], [1.0, 2.0], smallest=0.1), r"\[S\] each"),
        (partial(tile_plots.equipartition, []), "at least one β"),
        (
            partial(tile_plots.blurs_and_holes, np.ones((2, 2)), np.ones((2, 1)), np.ones((1, 2))),
            r"\[n, 2\], \[n, H, W\]",
        ),
    ],
)
def test_plots_refuse_arrays_that_do_not_fit(draw, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw()

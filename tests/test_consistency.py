"""The study of consistency: its claims on small problems, its command and its plots."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from small_studies import main_of

from experiments.consistency import __main__ as command
from experiments.consistency import (
    chain,
    four_gaussians,
    gap_plots,
    geometry_plot,
    learning_plot,
    optimise,
    theorem,
)
from experiments.consistency.points import Model, all_values, quadrature
from experiments.consistency.problem import Problem
from vaelab import theory
from vaelab.checks import UsageError


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def one_encoder(monkeypatch):
    """Linear encoders alone, from one start."""
    monkeypatch.setattr(optimise, "ENCODERS", {"linear": ()})
    for module in (theorem, four_gaussians):
        monkeypatch.setattr(module, "ENCODERS", {"linear": ()})


def test_lbfgs_finds_the_maximum_of_a_quadratic_and_every_step_raises_it():
    centre = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}

    def objective(parameters, scale):
        squares = jax.tree.map(lambda x, c: jnp.sum((x - c) ** 2), parameters, centre)
        return 5.0 - scale * (squares["a"] + 10 * squares["b"])

    start = {"a": jnp.zeros(2), "b": jnp.array(0.0)}
    end = optimise.maximise(objective, [start], 2.0, max_steps=50)
    np.testing.assert_allclose(end.value, 5.0, rtol=1e-12)
    np.testing.assert_allclose(end.parameters["a"], [1.0, -2.0], atol=1e-6)
    values = [float(objective(each, 2.0)) for each in end.path]
    assert np.all(np.diff(values) > 0)


def test_points_have_the_moments_of_their_mixture():
    family = theory.GaussianFamily(0.25)
    means = jnp.array([[-1.0, 0.0], [2.0, 1.0]])
    x, weights = quadrature(family, 8, Model(family.natural(means), jnp.log(jnp.array([0.3, 0.7]))))
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(weights @ x, [1.1, 0.7], rtol=1e-12)
    between = 0.3 * 0.7 * np.array([3.0, 1.0]) ** 2
    np.testing.assert_allclose(weights @ (x - weights @ x) ** 2, 0.25 + between, rtol=1e-12)
    family = theory.CategoricalFamily(3)
    points = all_values(family, 3, 2, Model(jnp.ones((2, 4)), jnp.zeros(2)))
    assert points.x.shape == (9, 2)
    np.testing.assert_allclose(points.weights.sum(), 1, rtol=1e-12)


def bernoulli(scale=1.0):
    family = theory.BernoulliFamily()
    return theorem.Case("Bernoulli", family, 4, scale, partial(all_values, family, 2, 4))


@pytest.mark.parametrize(
    ("case", "least"),
    [(bernoulli(1.5), 1e-3), (theorem.gaussian(10), 1e-4)],
    ids=["Bernoulli", "Gaussian"],
)
def test_a_harmonium_has_no_gap_for_linear_and_deep_encoders(case, least, monkeypatch):
    monkeypatch.setattr(theorem, "ENCODERS", {"linear": (), "deep": (6,)})
    monkeypatch.setattr(theorem, "NUM_STARTS", 1)
    found = theorem.on_the_set(case, 0, max_steps=150)
    assert abs(found.gaps["analytic"]) < 1e-12
    assert found.gaps["linear"] < 1e-6
    assert found.gaps["deep"] < 1e-3
    assert found.uniform_prior > least


def test_quadratures_of_gaussian_x_have_converged():
    """log p(x) against a fine grid, and gaps against twice as many nodes in each direction."""
    family, scale = theorem.gaussian(1).family, theorem.gaussian(1).scale
    generator = np.random.default_rng([0, 1])  # the study's model off the set
    model = Model(jnp.asarray(generator.normal(scale=scale, size=(4, 2))), jnp.zeros(4))
    values = []
    for num_nodes in (theorem.NUM_NODES, 2 * theorem.NUM_NODES):
        points = theorem.gaussian(num_nodes).points(model)
        problem = Problem(family, points, theory.binary_states(2))
        smooth = points.x @ jnp.array([[0.5, -1.0], [1.0, 2.0]]) + 0.3  # an encoder without kinks
        values.append([
            float(problem.log_likelihood(model)),
            float(problem.gap(model, smooth)),
            float(problem.gap(model, problem.free(model))),
        ])  # fmt: skip
    np.testing.assert_array_less(np.abs(np.subtract(*values)), [1e-5, 1e-5, 3e-4])
    line = np.arange(-8.0, 8.0, 0.05)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 1, 2)
    squares = np.sum((grid - np.asarray(family.mean(model.natural))) ** 2, axis=2)
    p = np.mean(np.exp(-squares / 1.28) / (1.28 * np.pi), axis=1)  # σ² = 0.64
    np.testing.assert_allclose(np.sum(p) * 0.05**2, 1, rtol=1e-9)
    entropy = np.sum(p * np.log(p)) * 0.05**2
    np.testing.assert_allclose(values[0][0], entropy, atol=1e-5)


def test_off_the_set_joint_training_lowers_the_likelihood_and_the_gap(one_encoder):
    case = bernoulli(1.5)._replace(
        num_statistics=5, points=partial(all_values, theory.BernoulliFamily(), 2, 5)
    )
    found = theorem.off_the_set(case, 0, max_steps=60)
    free, linear = found.gaps[theorem.FREE], found.gaps["linear"]
    assert linear > free > 1e-2
    for each in found.joint.values():
        assert each.elbo_after > each.elbo_before
        assert each.likelihood_change < -1e-4
        assert each.gap_after < 0.2 * each.gap_before
    path = found.path
    assert path.log_likelihood[0] == pytest.approx(found.log_likelihood)
    assert max(path.log_likelihood) == path.log_likelihood[0]
    np.testing.assert_allclose(path.log_likelihood[0] - path.elbo[0], free, rtol=1e-6)


def test_two_bits_pull_four_gaussians_towards_a_rectangle_and_four_states_do_not(one_encoder):
    """The numbers of the population, by quadrature. The study's 40² nodes give ELBOs of −3.0736 and −3.0218."""
    toy = four_gaussians.four_gaussians(0.8, 0, num_nodes=14, max_steps=40)
    free, states = toy.trained["free bits"], toy.trained["all states"]
    np.testing.assert_allclose(toy.log_likelihood, -3.0041, atol=1e-4)
    np.testing.assert_allclose(toy.residual, [np.sqrt(5), 1.0], rtol=1e-12)
    np.testing.assert_allclose([free.elbo_before, free.elbo_after], [-3.0735, -3.0218], atol=3e-4)
    np.testing.assert_allclose(free.likelihood_change, -0.0115, atol=2e-4)
    np.testing.assert_allclose(free.residual.sides, 0.91, atol=0.01)
    assert abs(free.residual.diagonals) < 1e-3
    assert abs(free.amortisation_before) < 1e-12
    assert abs(states.elbo_before - toy.log_likelihood) < 1e-12
    assert abs(states.likelihood_change) < 1e-6
    linear = toy.trained["linear"]
    assert linear.amortisation_before > 0.1
    np.testing.assert_allclose(
        linear.approximation_after + linear.amortisation_after,
        toy.log_likelihood + linear.likelihood_change - linear.elbo_after, rtol=1e-9,
    )  # fmt: skip


def test_em_ends_above_elbo_learning_and_joint_training_lowers_the_likelihood(monkeypatch):
    monkeypatch.setattr(chain, "SIZES", (1, 2))
    monkeypatch.setattr(chain, "NUM_PIXELS", 4)
    found = chain.chains(0, num_starts=2, num_steps=80)
    assert found.recursion_error < 1e-12
    assert found.em_never_falls
    for start in found.starts:
        assert start.elbo <= start.elbo_likelihood + 1e-12
        assert start.em <= found.entropy + 1e-12
    best = max(start.elbo_likelihood for start in found.starts)
    assert max(start.em for start in found.starts) > best
    for stage in (found.truth, found.joint):
        assert stage.elbo <= stage.free + 1e-12 <= stage.log_likelihood + 2e-12
        assert all(fit.learned <= fit.best + 1e-9 for fit in stage.fits)
    assert found.joint.elbo > found.truth.elbo
    np.testing.assert_allclose(found.truth.log_likelihood, found.entropy, rtol=1e-12)
    assert found.joint.log_likelihood < found.truth.log_likelihood


def test_the_command_writes_its_plots_and_numbers(tmp_path, monkeypatch, capsys, one_encoder):
    monkeypatch.setattr(theorem, "CASES", (bernoulli(),))
    monkeypatch.setattr(four_gaussians, "SIGMAS", (0.8,))
    monkeypatch.setattr(chain, "SIZES", (1, 2))
    monkeypatch.setattr(chain, "NUM_PIXELS", 4)
    monkeypatch.setattr(chain, "NUM_STARTS", 2)
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 30)
    main = main_of(command.Consistency)
    with jax.enable_x64(False):
        assert main(["--workdir", tmp_path, "--max-steps", "3"]) == 0
        assert jnp.zeros(1).dtype == jnp.float32  # float64 ends with the study
    printed = capsys.readouterr().out
    assert "On the consistent set" in printed
    assert f"everything is in {tmp_path}" in printed
    results = json.loads((tmp_path / "consistency.json").read_text())
    assert set(results) == {"seed", "on", "off", "toys", "chains"}
    assert abs(results["on"][0]["gaps"]["analytic"]) < 1e-6
    plots = {"encoder_gaps", "joint_training", "decoder_geometry", "chain"}
    assert {path.name for path in tmp_path.glob("*.png")} == {f"{name}.png" for name in plots}


def test_the_command_refuses_no_steps(refusal):
    sentence = refusal("--max-steps", "0", main=main_of(command.Consistency))
    assert "max_steps must be at least 1, got 0." in sentence


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (partial(geometry_plot.decoder_geometry, []), "at least one decoder"),
        (
            partial(
                geometry_plot.decoder_geometry,
                [geometry_plot.Geometry("a", np.zeros((4, 2)), 1.0)],
            ),
            r"needs a path \[T, 4, 2\]",
        ),
        (partial(gap_plots.encoder_gaps, {}, {}), "at least one series"),
        (partial(gap_plots.joint_training, []), "at least one model"),
        (
            partial(learning_plot.chain_learning, [1.0], [1.0], [], [], best=0.0),
            "one number for each start, got 1, 1 and 0",
        ),
    ],
)
def test_plots_refuse_values_that_do_not_fit(draw, sentence):
    with pytest.raises(UsageError, match=sentence):
        draw()

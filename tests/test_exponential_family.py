"""Exact quantities of models with few binary latents, against numpy loops, quadrature and finite differences."""

from __future__ import annotations

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from vaelab import theory
from vaelab.checks import UsageError


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def numbers(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng([seed, *shape]).normal(size=shape))


def bits_of(num):
    return list(itertools.product((0.0, 1.0), repeat=num))


def data_and_natural(kind, num_states):
    """(family, x [B, 2], natural [S, N], log p(x|z) by scipy) for each family."""
    if kind == "bernoulli":
        x = jnp.asarray(bits_of(2))
        natural = numbers(num_states, 2)
        p = 1 / (1 + np.exp(-np.asarray(natural)))
        family = theory.BernoulliFamily()
        return family, x, natural, lambda b, s: stats.bernoulli.logpmf(x[b], p[s]).sum()
    if kind == "gaussian":
        x, mean = numbers(5, 2), numbers(num_states, 2, seed=2)
        family = theory.GaussianFamily(0.49)
        return (
            family,
            x,
            family.natural(mean),
            lambda b, s: stats.norm.logpdf(x[b], mean[s], 0.7).sum(),
        )
    x = jnp.asarray(list(itertools.product(range(3), repeat=2)))
    logits = numbers(num_states, 2, 3)
    p = np.exp(logits)
    p /= p.sum(axis=-1, keepdims=True)
    family = theory.CategoricalFamily(3)
    return (
        family,
        x,
        family.natural(logits),
        lambda b, s: sum(math.log(p[s, d, x[b, d]]) for d in range(2)),
    )


KINDS = ["bernoulli", "gaussian", "categorical"]


def test_states_are_all_states_in_binary_order():
    np.testing.assert_array_equal(theory.binary_states(3), bits_of(3))
    largest = theory.binary_states(theory.MAX_LATENTS)
    assert largest.shape == (2**20, 20)
    place = 5 * 2**16 + 3
    assert "".join(str(int(bit)) for bit in largest[place]) == f"{place:020b}"


@pytest.mark.parametrize("kind", KINDS)
def test_exact_values_equal_loops_over_all_states(kind):
    num = 3
    family, x, natural, log_px = data_and_natural(kind, 2**num)
    log_prior = np.log(np.random.default_rng(3).dirichlet(np.ones(2**num)))
    logits = numbers(len(x), num, seed=4)
    found = theory.exact_bound(
        log_prior + family.log_prob(x, natural),
        theory.encoder_log_prob(logits, theory.binary_states(num)),
    )
    for b in range(len(x)):
        total, bound, kl = 0.0, 0.0, 0.0
        for s in range(2**num):
            total += math.exp(log_prior[s] + log_px(b, s))
        for s, z in enumerate(bits_of(num)):
            log_q = sum(
                -math.log1p(math.exp(-(2 * bit - 1) * float(e)))
                for bit, e in zip(z, logits[b], strict=True)
            )
            joint = log_prior[s] + log_px(b, s)
            bound += math.exp(log_q) * (joint - log_q)
            kl += math.exp(log_q) * (log_q - joint + math.log(total))
        np.testing.assert_allclose(
            [found.log_likelihood[b], found.elbo[b], found.gap[b]],
            [math.log(total), bound, kl],
            rtol=1e-11,
        )


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_probabilities_of_all_x_add_up_to_one(kind):
    family, x, natural, _ = data_and_natural(kind, 4)
    np.testing.assert_allclose(jnp.exp(family.log_prob(x, natural)).sum(axis=0), 1, rtol=1e-12)


def test_densities_integrate_to_one():
    family, natural = theory.GaussianFamily(0.3), jnp.array([[1.2]])
    density = jax.jit(lambda x: jnp.exp(family.log_prob(x[None, None], natural))[0, 0])
    total, error = integrate.quad(lambda x: float(density(x)), -12, 12, points=(0, 1))
    assert error < 1e-6
    np.testing.assert_allclose(total, 1, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_log_partition_generates_the_means_of_the_statistics(kind):
    """∇A(η) = E ν(x), by an integral or a sum over x."""
    family, x, natural, _ = data_and_natural(kind, 1)
    weights = jnp.ones(len(x))
    if kind == "gaussian":
        grid = jnp.linspace(-12, 12, 601)
        x = jnp.stack(jnp.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
        weights = jnp.full(len(x), (grid[1] - grid[0]) ** 2)
    p = weights * jnp.exp(family.log_prob(x, natural)[:, 0])
    slope = jax.grad(lambda eta: family.log_partition(eta))(natural[0])
    np.testing.assert_allclose(p @ family.statistics(x), slope, rtol=1e-8, atol=1e-12)


def small_model(parameters):
    """Tables of a nonlinear decoder, a learned prior, a learned σ and a deep encoder."""
    z, x = theory.binary_states(2), numbers(4, 3, seed=5)
    family = theory.GaussianFamily(jnp.exp(parameters["log_variance"]))
    mean = jnp.tanh(z @ parameters["first"]) @ parameters["second"]
    log_prior = jax.nn.log_softmax(parameters["prior"])
    logits = jnp.tanh(x @ parameters["encoder"]) @ parameters["head"]
    return (
        log_prior + family.log_prob(x, family.natural(mean)),
        theory.encoder_log_prob(logits, z),
    )


def small_parameters():
    return {
        "log_variance": jnp.asarray(-0.3),
        "first": numbers(2, 4),
        "second": numbers(4, 3),
        "prior": numbers(4),
        "encoder": numbers(3, 5),
        "head": numbers(5, 2),
    }


def test_gradients_equal_finite_differences():
    parameters = small_parameters()
    found = theory.exact_gradients(small_model, parameters)
    flat, restore = jax.flatten_util.ravel_pytree(parameters)
    step = 1e-5
    for name in ("log_likelihood", "elbo", "gap"):
        slope = jax.flatten_util.ravel_pytree(getattr(found, name))[0]

        @jax.jit
        def mean(values, name=name):
            return jnp.mean(getattr(theory.exact_bound(*small_model(restore(values))), name))

        expected = [
            (mean(flat.at[i].add(step)) - mean(flat.at[i].add(-step))) / (2 * step)
            for i in range(len(flat))
        ]
        np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-9)


def test_a_caller_in_float32_gets_float64():
    parameters = small_parameters()
    with jax.enable_x64(False):
        narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), parameters)
        found = theory.in_float64(theory.exact_gradients, small_model, narrow)
        assert jnp.zeros(1).dtype == jnp.float32
    expected = theory.exact_gradients(
        small_model, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), narrow)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_flax_model_can_be_measured():
    decoder, encoder = nn.Dense(3), nn.Dense(2)
    with jax.enable_x64(False):
        x = jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
        params = (
            decoder.init(jax.random.key(0), theory.binary_states(2)),
            encoder.init(jax.random.key(1), x),
        )

        def tables(params):
            z = theory.binary_states(2)
            log_px = theory.BernoulliFamily().log_prob(x, decoder.apply(params[0], z))
            log_q = theory.encoder_log_prob(encoder.apply(params[1], x), z)
            return log_px - jnp.log(4.0), log_q

        found = theory.in_float64(theory.exact_gradients, tables, params)
    assert found.exact.gap.dtype == np.float64
    np.testing.assert_allclose(
        found.exact.gap, found.exact.log_likelihood - found.exact.elbo, rtol=1e-10
    )
    # The encoder does not move log p(x).
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(found.log_likelihood[1]))


def test_states_without_mass_have_finite_gradients():
    log_joint = jnp.log(jnp.array([[0.1, 0.2, 0.7]]))
    log_q = jnp.array([[-jnp.inf, math.log(0.25), math.log(0.75)]])
    found = theory.exact_bound(log_joint, log_q)
    expected = 0.25 * math.log(0.2 / 0.25) + 0.75 * math.log(0.7 / 0.75)
    np.testing.assert_allclose([found.elbo[0], found.gap[0]], [expected, -expected], rtol=1e-12)
    slope = jax.grad(lambda q: theory.exact_bound(log_joint, q).elbo[0])(log_q)
    assert jnp.all(jnp.isfinite(slope))


def test_nested_lists_are_tables():
    log_q = [[math.log(0.25), math.log(0.75)]]
    found = theory.exact_bound([[0, 0]], log_q)
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    expected = [math.log(2), entropy, math.log(2) - entropy]
    np.testing.assert_allclose(jnp.concatenate(found), expected, rtol=1e-12)
    parts = theory.gap_parts([[0.0, 0.0]], log_q)
    np.testing.assert_allclose(jnp.concatenate(parts), [0.0, expected[2]], atol=1e-12)


def test_an_encoder_over_all_states_has_no_gap():
    log_joint = numbers(5, 8)
    found = theory.exact_bound(log_joint, theory.encoder_log_prob(log_joint, jnp.eye(8)))
    np.testing.assert_allclose(found.gap, 0, atol=1e-14)


def harmonium(kind, num=3, scale=0.7):
    psi = theory.binary_states(num)
    family, x, natural, _ = data_and_natural(kind, 2)
    N = natural.shape[1]
    W, u = numbers(N, num, scale=scale), numbers(N)
    return theory.Harmonium(W, u, numbers(num, seed=7), psi, family), x


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmonium_has_no_gap_at_the_analytic_encoder(kind):
    model, x = harmonium(kind)
    found = theory.exact_bound(
        model.log_joint(x), theory.encoder_log_prob(model.encode(x), model.psi)
    )
    assert jnp.max(jnp.abs(found.gap)) < 1e-13
    residual = theory.consistency_residual(model.natural, model.log_prior, model.psi, model.family)
    np.testing.assert_allclose(residual, 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_a_harmoniums_joint_is_its_definition(kind):
    """p(x, z) ∝ exp(⟨ν, Wψ⟩ + ⟨ν, u⟩ + ⟨ψ, v⟩), normalised over all x and z by a loop."""
    model, x = harmonium(kind)
    weights = np.array([
        [
            math.exp(nu @ np.asarray(model.W) @ psi + nu @ np.asarray(model.u) + psi @ np.asarray(model.v))
            for psi in np.asarray(model.psi)
        ]
        for nu in np.asarray(model.family.statistics(x))
    ])  # fmt: skip
    np.testing.assert_allclose(
        jnp.exp(model.log_joint(x)), weights / weights.sum(), rtol=1e-11, atol=0
    )


def test_a_harmonium_with_another_prior_has_a_gap():
    model, x = harmonium("bernoulli", scale=2.0)
    log_joint = model.family.log_prob(x, model.natural) - jnp.log(8.0)
    best = theory.gap_parts(log_joint, theory.encoder_log_prob(model.encode(x), model.psi))
    assert jnp.min(best.approximation) > 1e-3
    residual = theory.consistency_residual(
        model.natural, jnp.full(8, -jnp.log(8.0)), model.psi, model.family
    )
    assert residual.decoder < 1e-12
    assert residual.prior > 1e-2


@pytest.mark.parametrize("dim", [2, 3])
def test_the_rectangle_residual_is_the_consistency_residual_of_two_bits(dim):
    means = numbers(4, dim)
    variance, signs = 0.64, np.array([1.0, -1.0, -1.0, 1.0])
    sides, diagonals = theory.rectangle_residual(means)
    np.testing.assert_allclose(sides, np.linalg.norm(signs @ np.asarray(means)), rtol=1e-12)
    family = theory.GaussianFamily(variance)
    residual = theory.consistency_residual(
        family.natural(means), jnp.full(4, -jnp.log(4.0)), theory.binary_states(2), family
    )
    # The rest of four values after an affine fit is (1, −1, −1, 1)/4 times their alternating sum.
    np.testing.assert_allclose(residual.decoder, sides / variance / 4, rtol=1e-10)
    np.testing.assert_allclose(residual.prior, abs(diagonals) / (2 * variance) / 4, rtol=1e-9)


def test_a_rectangle_of_gaussians_has_no_gap_and_a_kite_has_one():
    angle = 0.4
    turn = jnp.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    rectangle = jnp.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]]) @ turn + 0.3
    np.testing.assert_allclose(theory.rectangle_residual(rectangle), 0, atol=1e-12)
    family, x = theory.GaussianFamily(0.64), numbers(50, 2)

    def approximation(means):
        log_joint = family.log_prob(x, family.natural(means)) - jnp.log(4.0)
        return theory.gap_parts(log_joint, jnp.full((50, 4), -jnp.log(4.0))).approximation

    np.testing.assert_allclose(approximation(rectangle), 0, atol=1e-12)
    assert jnp.mean(approximation(rectangle.at[0].add(-1.0))) > 1e-2


def test_mean_field_finds_the_maximum_of_a_grid():
    log_joint = numbers(12, 4, scale=2.0)
    log_joint -= jax.nn.logsumexp(log_joint, axis=1, keepdims=True)
    best = theory.exact_bound(
        log_joint, theory.encoder_log_prob(theory.mean_field(log_joint), theory.binary_states(2))
    ).elbo
    logits = jnp.linspace(-12, 12, 241)
    grid = jnp.stack(jnp.meshgrid(logits, logits), axis=-1).reshape(-1, 2)
    log_q = theory.encoder_log_prob(grid, theory.binary_states(2))
    for b in range(12):
        highest = jnp.max(jnp.sum(jnp.exp(log_q) * (log_joint[b] - log_q), axis=1))
        assert highest - 1e-9 <= best[b] <= highest + 1e-3


def test_gaps_are_split_into_two_parts_that_add_up():
    log_joint = numbers(6, 8, scale=2.0)
    log_q = theory.encoder_log_prob(numbers(6, 3), theory.binary_states(3))
    approximation, amortisation = theory.gap_parts(log_joint, log_q)
    np.testing.assert_allclose(
        approximation + amortisation, theory.exact_bound(log_joint, log_q).gap, rtol=1e-12
    )
    assert jnp.all(approximation > 0)
    assert jnp.all(amortisation > 0)


def test_the_derivative_at_the_mean_field_optimum_needs_no_derivative_of_the_logits():
    """The envelope theorem, against finite differences of the optimum."""
    base, direction, psi = numbers(5, 8), numbers(5, 8, seed=1), theory.binary_states(3)

    def value(t):
        log_joint = base + t * direction
        return jnp.mean(
            theory.exact_bound(
                log_joint, theory.encoder_log_prob(theory.mean_field(log_joint), psi)
            ).elbo
        )

    np.testing.assert_allclose(jax.grad(value)(0.0), (value(1e-4) - value(-1e-4)) / 2e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: theory.binary_states(24),
            "num_latents must be at most 20 for enumeration, got 24: a table of 1,000 examples and 2^24 "
            "states needs 134 GB, so choose fewer latents or estimate log p(x) by sampling.",
        ),
        (lambda: theory.binary_states(0), "num_latents must be at least 1, got 0."),
        (lambda: theory.binary_states(2.0), "num_latents must be an integer such as 2, got 2.0."),
        (
            lambda: jax.eval_shape(theory.mean_field, jax.ShapeDtypeStruct((5, 2**21), float)),
            "the number of bits of log_joint must be at most 20 for enumeration, got 21: a table of 1,000 "
            "examples and 2^21 states needs 16.8 GB, so choose fewer latents or estimate log p(x) by sampling.",
        ),
        (
            lambda: theory.exact_bound(jnp.zeros((2, 2)), jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.2]]))),
            "log_q has log Σ_z q(z|x) = -0.357 in example 1 and must have 0: give log p(x, z) first, and second "
            "log q(z|x), normalised as by encoder_log_prob.",
        ),
        (
            lambda: theory.BernoulliFamily().log_prob(jnp.array([[0.0, 1.0], [3.0, 0.0]]), jnp.zeros((4, 2))),
            "x holds 3 in example 1, and BernoulliFamily has bits: binarise the data.",
        ),
        (
            lambda: theory.CategoricalFamily(3).log_prob(jnp.array([[7]]), jnp.zeros((4, 2))),
            "x holds 7 in example 0, and CategoricalFamily(3) has the classes 0 to 2: number the classes "
            "from 0, or increase num_classes.",
        ),
        (
            lambda: theory.CategoricalFamily(3).log_prob(jnp.array([[-1]]), jnp.zeros((4, 2))),
            "x holds -1 in example 0, and CategoricalFamily(3) has the classes 0 to 2: number the classes "
            "from 0, or increase num_classes.",
        ),
        (
            lambda: harmonium("bernoulli")[0].encode(jnp.zeros((5, 1))),
            "x has statistics of the shape (5, 1) and W has the shape (2, 3): give x [B, D] with one statistic "
            "for each row of W.",
        ),
        (
            lambda: theory.encoder_log_prob(jnp.zeros((5, 3)), theory.binary_states(2)),
            "the encoder gives (5, 3) and psi has the shape (4, 2): give natural [B, m] and psi [S, m] with "
            "one parameter for each statistic of z.",
        ),
        (
            lambda: theory.BernoulliFamily().log_prob(jnp.zeros((5, 3)), jnp.zeros((4, 2))),
            "x has statistics of the shape (5, 3) and natural has the shape (4, 2): give x [B, D] and natural "
            "[S, N] with one parameter for each statistic.",
        ),
        (
            lambda: theory.exact_bound(jnp.zeros((5, 4)), jnp.zeros((5, 8))),
            "log_joint has the shape (5, 4) and log_q the shape (5, 8): give both as tables [B, S] of the same "
            "examples and states.",
        ),
        (
            lambda: theory.mean_field(jnp.zeros((5, 3))),
            "log_joint has the shape (5, 3): give a table [B, 2^n] of all states of n bits.",
        ),
        (
            lambda: theory.rectangle_residual(jnp.zeros((3, 2))),
            "means must be [4, D], one for each state of two bits, got (3, 2).",
        ),
        (
            lambda: theory.Harmonium(
                jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(4), theory.binary_states(2), theory.BernoulliFamily()
            ),
            "columns of W = 2 and length of v = 4 and columns of psi = 2 must be the same.",
        ),
        (
            lambda: theory.consistency_residual(
                jnp.zeros((4, 2)), jnp.zeros(8), theory.binary_states(2), theory.BernoulliFamily()
            ),
            "states of natural = 4 and states of log prior = 8 and states of psi = 4 must be the same.",
        ),
        (lambda: theory.CategoricalFamily(1), "num_classes must be at least 2, got 1."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(UsageError) as error:
        call()
    assert str(error.value).replace("log_prior", "log prior") == sentence

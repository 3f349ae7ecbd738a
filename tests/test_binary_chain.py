"""Small hierarchies against enumeration of all their states, in float64."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import theory
from vaelab.checks import UsageError

SIZES = (2, 1, 3)  # bits of z_0, z_1, z_2
DIM = 4


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def numbers(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng([seed, *shape]).normal(size=shape))


def affine(num_in, num_out, seed=0, scale=1.5):
    return theory.Affine(
        numbers(num_in, num_out, seed=seed, scale=scale), numbers(num_out, seed=seed)
    )


def model_of(seed=0, scale=1.5):
    pairs = zip(SIZES, (*SIZES[1:], DIM), strict=True)
    return theory.LogisticChain(
        numbers(SIZES[0], seed=seed), tuple(affine(*pair, seed, scale) for pair in pairs)
    )


def all_x():
    return jnp.asarray(list(itertools.product((0.0, 1.0), repeat=DIM)))


def log_bits(logits, bits):
    return sum(
        -math.log1p(math.exp(-(2 * bit - 1) * float(eta)))
        for eta, bit in zip(np.asarray(logits), bits, strict=True)
    )


def levels_of(sizes=SIZES):
    return [list(itertools.product((0.0, 1.0), repeat=size)) for size in sizes]


def paths(model, x):
    """(indices of all levels, log p(z), log p(x|z_m)) of every joint state, by a loop."""
    for path in itertools.product(*map(enumerate, levels_of())):
        index, z = zip(*path, strict=True)
        log_z = log_bits(model.top, z[0])
        for layer, above, below in zip(model.layers, z, z[1:], strict=False):
            log_z += log_bits(layer(np.asarray(above)), below)
        yield index, z, log_z, log_bits(model.layers[-1](np.asarray(z[-1])), x)


def test_the_backward_recursion_equals_enumeration():
    model, x = model_of(), all_x()[jnp.array([3, 9])]
    levels = theory.backward_recursion(*model.tables(x))
    for b in range(2):
        joint = [np.zeros(2**size) for size in SIZES]  # p(x, z_i)
        prior = [np.zeros(2**size) for size in SIZES]
        for index, _, log_z, log_x in paths(model, x[b]):
            for level, state in enumerate(index):
                joint[level][state] += math.exp(log_z + log_x)
                prior[level][state] += math.exp(log_z)
        for level in range(3):
            np.testing.assert_allclose(
                levels[level][b], np.log(joint[level] / prior[level]), rtol=1e-11
            )
        np.testing.assert_allclose(model.log_likelihood(x)[b], math.log(joint[0].sum()), rtol=1e-12)


def test_probabilities_of_all_x_add_up_to_one():
    np.testing.assert_allclose(jnp.exp(model_of().log_likelihood(all_x())).sum(), 1, rtol=1e-12)


def test_conditional_and_marginal_posteriors_equal_enumeration():
    model, x = model_of(), all_x()[5:6]
    posterior = theory.chain_posterior(*model.tables(x))
    pairs = [np.zeros((2**a, 2**b)) for a, b in itertools.pairwise(SIZES)]
    for index, _, log_z, log_x in paths(model, x[0]):
        for level, pair in enumerate(itertools.pairwise(index)):
            pairs[level][pair] += math.exp(log_z + log_x)
    for level, pair in enumerate(pairs):
        conditional = pair / pair.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(jnp.exp(posterior.steps[level][0]), conditional, rtol=1e-10)
    np.testing.assert_allclose(
        jnp.exp(posterior.top[0]), pairs[0].sum(axis=1) / pairs[0].sum(), rtol=1e-10
    )
    found = theory.level_marginals(posterior)
    np.testing.assert_allclose(
        jnp.exp(found[2][0]), pairs[1].sum(axis=0) / pairs[1].sum(), rtol=1e-10
    )
    counts = theory.expected_counts(posterior, jnp.array([2.0]))
    for level, pair in enumerate(pairs):
        np.testing.assert_allclose(counts.steps[level], 2 * pair / pair.sum(), rtol=1e-10)


def encoder(seed=3):
    return (affine(SIZES[1], SIZES[0], seed), affine(SIZES[2], SIZES[1], seed), affine(DIM, SIZES[2], seed))  # fmt: skip


def test_the_shared_encoder_is_the_seeds_recursion():
    layers, x = encoder(), all_x()
    top, middle, bottom = theory.pre_activations(layers, x)
    W = [np.asarray(layer.W) for layer in layers]
    b = [np.asarray(layer.b) for layer in layers]
    third = np.asarray(x) @ W[2] + b[2]
    second = np.tanh(third) @ W[1] + b[1]
    np.testing.assert_allclose(bottom, third, rtol=1e-12)
    np.testing.assert_allclose(middle, second, rtol=1e-12)
    np.testing.assert_allclose(top, np.tanh(second) @ W[0] + b[0], rtol=1e-12)


def test_the_elbo_equals_enumeration_and_natural_parameters_add():
    model, x = model_of(), all_x()[6:7]
    pre = theory.pre_activations(encoder(), x)
    expected = 0.0
    for _, z, log_z, log_x in paths(model, x[0]):
        log_q = log_bits(model.top + pre[0][0], z[0])
        for level in (1, 2):
            logits = model.layers[level - 1](np.asarray(z[level - 1])) + pre[level][0]
            log_q += log_bits(logits, z[level])
        expected += math.exp(log_q) * (log_z + log_x - log_q)
    np.testing.assert_allclose(theory.chain_elbo(model, pre, x), [expected], rtol=1e-11)


def test_the_elbo_of_one_level_is_that_of_a_flat_model():
    top, layer, x = numbers(3), affine(3, DIM), all_x()
    model, pre = theory.LogisticChain(top, (layer,)), (numbers(len(x), 3, seed=8),)
    z = theory.binary_states(3)
    log_prior = jnp.sum(z * top - jax.nn.softplus(top), axis=1)
    log_joint = log_prior + theory.BernoulliFamily().log_prob(x, layer(z))
    flat = theory.exact_bound(log_joint, theory.encoder_log_prob(pre[0] + top, z))
    np.testing.assert_allclose(model.log_likelihood(x), flat.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(theory.chain_elbo(model, pre, x), flat.elbo, rtol=1e-12)


def test_bits_with_one_child_have_an_exact_shared_posterior():
    """log p(x|z_i) of a single bit is always affine in it, so free a_i(x) make the bound tight."""
    layers = (affine(1, 1), affine(1, DIM, 1))
    model, x = theory.LogisticChain(numbers(1), layers), all_x()
    levels = theory.backward_recursion(*model.tables(x))
    pre = tuple(level[:, 1:] - level[:, :1] for level in levels)
    np.testing.assert_allclose(
        theory.chain_elbo(model, pre, x), model.log_likelihood(x), rtol=1e-11
    )
    for level, a in zip(levels, pre, strict=True):
        fit = theory.affine_fit(level, a, jnp.zeros_like(level))
        np.testing.assert_allclose([fit.residual, fit.best], 0, atol=1e-12)


def test_the_affine_fit_is_weighted_least_squares():
    log_px, pre = numbers(1, 4), numbers(1, 2)
    weights = np.random.default_rng(0).dirichlet(np.ones(4))
    fit = theory.affine_fit(log_px, pre, jnp.log(weights)[None] + 3.0)
    z, y = np.asarray(theory.binary_states(2)), np.asarray(log_px[0])
    features = np.column_stack([z, np.ones(4)])
    normal = features.T @ np.diag(weights)
    rest = y - features @ np.linalg.solve(normal @ features, normal @ y)
    np.testing.assert_allclose(fit.best, [weights @ rest**2], rtol=1e-10)
    rest = y - z @ np.asarray(pre[0])
    np.testing.assert_allclose(
        fit.residual, [weights @ rest**2 - (weights @ rest) ** 2], rtol=1e-10
    )
    np.testing.assert_allclose(fit.total, [weights @ y**2 - (weights @ y) ** 2], rtol=1e-10)


def data():
    """All x and their shares in the data: those of another chain."""
    x = all_x()
    return x, jnp.exp(model_of(seed=9, scale=3.0).log_likelihood(x))


def test_logistic_em_never_lowers_the_likelihood_and_ends_where_it_is_stationary():
    x, weights = data()
    start = model_of(seed=4)
    end, values = theory.expectation_maximisation(start, x, weights, num_steps=400)
    np.testing.assert_allclose(values[0], weights @ start.log_likelihood(x), rtol=1e-12)
    np.testing.assert_allclose(values[-1], weights @ end.log_likelihood(x), rtol=1e-12)
    assert jnp.all(jnp.diff(values) > -1e-13)
    assert values[-1] - values[0] > 0.1
    slope = jax.grad(lambda model: weights @ model.log_likelihood(x))(end)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-3
    assert values[-1] < weights @ jnp.log(weights)  # the entropy of the data


def test_one_em_step_of_a_flat_model_is_the_closed_form():
    """One bit: new p(x_d = 1|z) is Σ_b w_b q(z|x_b) x_bd / Σ_b w_b q(z|x_b)."""
    x, weights = data()
    model = theory.LogisticChain(numbers(1), (affine(1, DIM),))
    q = np.asarray(jnp.exp(theory.chain_posterior(*model.tables(x)).top))
    mass = np.asarray(weights) @ q
    expected = (np.asarray(weights)[:, None] * q).T @ np.asarray(x) / mass[:, None]
    new, _ = theory.expectation_maximisation(model, x, weights, num_steps=1, num_newton=30)
    np.testing.assert_allclose(
        jax.nn.sigmoid(new.layers[0](theory.binary_states(1))), expected, rtol=1e-6
    )
    np.testing.assert_allclose(jax.nn.sigmoid(new.top), mass[1:] / mass.sum(), rtol=1e-10)


def test_states_that_cannot_give_x_have_no_nan():
    log_top = jnp.log(jnp.array([0.5, 0.5]))
    chain = theory.HiddenChain(log_top, (jnp.log(jnp.eye(2)),))
    log_x = jnp.log(jnp.array([[1.0, 0.0]]))
    posterior = theory.chain_posterior(chain, log_x)
    np.testing.assert_allclose(jnp.exp(posterior.top), [[1.0, 0.0]])
    counts = theory.expected_counts(posterior, jnp.ones(1))
    np.testing.assert_allclose(counts.steps[0], [[1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: theory.backward_recursion(theory.HiddenChain(jnp.zeros(2), (jnp.zeros((4, 2)),)), jnp.zeros((5, 2))),
            "the chain has the shapes [(2,), (4, 2)] and log_x has the shape (5, 2): give top [S_0], steps "
            "[S_{i-1}, S_i] and log_x [B, S_m].",
        ),
        (
            lambda: theory.chain_elbo(model_of(), (jnp.zeros((2, 2)), jnp.zeros((2, 3))), all_x()[:2]),
            "pre has levels of [2, 3] bits and the model has [2, 1, 3]: give one array [B, n_i] for each "
            "level, top first.",
        ),
        (
            lambda: model_of().log_likelihood(jnp.zeros((2, 5))),
            "columns of x = 5 and outputs of the_last_layer = 4 must be the same.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(UsageError) as error:
        call()
    assert str(error.value) == sentence

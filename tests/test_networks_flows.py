"""Flows and masked networks, in float64: inverses, Jacobians by differentiation, densities by sums."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value, z_scores

from vaelab import losses
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.networks.autoregressive import MADE
from vaelab.networks.conditional_flow import ConditionalFlow
from vaelab.networks.coupling import RealNVP
from vaelab.priors import HierarchicalPrior, StandardNormal


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def random_variables(init, *args, scale=0.5):
    """Variables with the shapes of `init`, nothing zero."""
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape)), shapes)


@pytest.mark.parametrize(
    ("dim", "num_layers", "context_dim"), [(1, 4, 0), (1, 4, 3), (2, 2, 0), (5, 3, 0), (5, 4, 3)]
)
def test_the_map_is_inverted_and_its_volume_is_the_jacobian_s(dim, num_layers, context_dim):
    flow = RealNVP(dim, num_layers, hidden=(4,))
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(3, 6, dim))
    context = rng.normal(size=(6, context_dim)) if context_dim else None  # shared by the three
    variables = random_variables(functools.partial(flow.init, method="forward"), z, context)

    @jax.jit
    def both_ways(z, context):
        u, log_det = flow.apply(variables, z, context, method="forward")
        back = flow.apply(variables, u, context, method="inverse")
        f = lambda z, c: flow.apply(variables, z, c, method="forward")[0]  # noqa: E731
        jacobian = jax.vmap(
            jax.vmap(jax.jacobian(f), (0, None if context is None else 0)), (0, None)
        )
        return u, log_det, back, jacobian(z, context)

    u, log_det, (back, log_det_back), jacobian = both_ways(z, context)
    np.testing.assert_allclose(back, z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-9, atol=1e-9)
    assert u.shape == z.shape
    # Every coordinate is moved, and where there are layers enough all depend on all.
    assert np.all(np.abs(u - z) > 1e-6)
    if dim == 1 and context is None:
        assert np.ptp(jacobian) < 1e-12
    elif num_layers > 2:
        assert np.all(np.any(np.abs(jacobian) > 1e-9, axis=(0, 1)))


@pytest.mark.parametrize("dim", [1, 3])
def test_a_flow_starts_as_the_identity(dim):
    z = np.random.default_rng(0).normal(size=(4, dim))
    init = functools.partial(RealNVP(dim).init_with_output, method="forward")
    (u, log_det), _ = jax.jit(init)(jax.random.key(0), z)
    np.testing.assert_allclose(u, z, rtol=1e-12)
    np.testing.assert_array_equal(log_det, np.zeros(4))


def test_errors_are_sentences():
    for make in (lambda: RealNVP(2, num_layers=0), lambda: ConditionalFlow(MLP(()), 2, 0)):
        with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
            make()


X = np.array([[1.2, -0.7], [0.1, 0.9]])


def conditional(dim, **fields):
    module = ConditionalFlow(MLP((3,), activation=jnp.tanh), dim, hidden=(3,), **fields)
    return module, random_variables(module.init, X)


def test_a_conditional_flow_is_a_density_for_every_input():
    module, variables = conditional(2, num_layers=3)
    axis = np.linspace(-12.0, 12.0, 121)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)

    @jax.jit
    def use(x, key):
        posterior = module.apply(variables, x)
        z, log_prob = posterior.sample_and_log_prob(seed=key, sample_shape=(20_000,))
        again = posterior.sample(seed=key, sample_shape=20_000)
        return posterior.log_prob(grid), z, log_prob, again, posterior.log_prob(z)

    log_density, z, log_prob, again, same = use(X, jax.random.key(0))
    density = np.exp(log_density) * (axis[1] - axis[0]) ** 2  # [N, B]
    np.testing.assert_allclose(np.sum(density, axis=0), 1.0, atol=1e-6)
    np.testing.assert_allclose(log_prob, same, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(z, again)
    powers = lambda z: np.concatenate([z, z**2, z[..., :1] * z[..., 1:]], axis=-1)  # noqa: E731
    expected = np.sum(density[..., None] * powers(grid), axis=0)
    assert np.max(np.abs(z_scores(powers(np.asarray(z)), expected))) < critical_value(10)
    assert np.max(np.abs(expected[0] - expected[1])) > 0.1  # the input matters


def test_a_conditional_flow_of_one_coordinate_equals_scipy():
    module, variables = conditional(1)
    params = variables["params"]
    context = np.tanh(X @ params["trunk"]["Dense_0"]["kernel"] + params["trunk"]["Dense_0"]["bias"])
    affine = params["flow"]["affine"]
    shift, half = (context @ affine["context"]["kernel"] + affine["bias"]).T
    value = np.linspace(-2.0, 2.0, 5)[:, None, None]
    expected = scipy.stats.norm.logpdf(value[..., 0], shift, np.exp(10 * np.tanh(half / 20)))
    np.testing.assert_allclose(module.apply(variables, X).log_prob(value), expected, rtol=1e-9)


def test_a_flow_distribution_is_a_pytree_that_outlives_its_module():
    module, variables = conditional(2, num_layers=1)
    encode = jax.jit(lambda variables, x: module.apply(variables, x))
    first, second = encode(variables, X), encode(variables, X)
    assert (first.batch_shape, first.event_shape) == ((2,), (2,))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    at_once = jax.jit(lambda variables, x: module.apply(variables, x).log_prob(x))(variables, X)
    log_prob = jax.jit(lambda posterior, z: posterior.log_prob(z))(first, X)
    np.testing.assert_allclose(log_prob, at_once, rtol=1e-12)

    def total(variables, x):
        stopped = jax.lax.stop_gradient(module.apply(variables, x))
        return jnp.sum(stopped.log_prob(x))  # depends on x still, as a point

    by_variables, by_x = jax.jit(jax.grad(total, argnums=(0, 1)))(variables, X)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by_variables))
    assert np.all(by_x != 0)


# The doubly reparameterised gradient with flows in the place of both Gaussian encoders.


@functools.cache
def gradients_of_flows():
    """Naive and doubly reparameterised gradients of one bound, 4,000 times: L = 3, J = 3."""
    flow = lambda: ConditionalFlow(MLP(()), 2, num_layers=2, hidden=(2,))  # noqa: E731
    gaussian = ConditionalGaussian(MLP(()), 2)
    prior = HierarchicalPrior(
        2, num_samples=3, encoder=flow(), decoder=gaussian, top=StandardNormal(2)
    )
    decoder = GaussianDecoder(MLP(()), shape=(2,), scale=1.0)
    model = VAE(encoder=flow(), decoder=decoder, prior=prior)
    params = random_variables(model.init, X, jax.random.key(0), scale=0.3)["params"]

    def loss(params, key, weights):
        terms = model.apply({"params": params}, X, key, 3, weights)
        return -jnp.mean(losses.importance_weighted_bound(terms.log_weights)), terms.log_weights

    def both(key):
        naive, log_weights = jax.grad(loss, has_aux=True)(params, key, None)
        weights = losses.normalised_weights(log_weights)
        dreg, same = jax.grad(loss, has_aux=True)(params, key, weights)
        return naive, dreg, log_weights, same

    keys = jax.random.split(jax.random.key(7), 4_000)
    return jax.jit(lambda keys: jax.lax.map(both, keys, batch_size=500))(keys)


def flat(tree):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def test_the_doubly_reparameterised_gradient_of_flows_is_unbiased():
    naive, dreg, log_weights, same = gradients_of_flows()
    np.testing.assert_allclose(same, log_weights, rtol=1e-9)  # weights change no value
    for phi in (lambda g: g["encoder"], lambda g: g["prior"]["encoder"]):
        difference = flat(phi(dreg)) - flat(phi(naive))
        assert np.max(np.abs(z_scores(difference, 0.0))) < critical_value(difference.shape[1])
        assert np.min(np.std(difference, axis=0)) > 1e-4  # zero is not compared with zero
    for theta in (lambda g: g["decoder"], lambda g: g["prior"]["decoder"]):
        np.testing.assert_allclose(flat(theta(dreg)), flat(theta(naive)), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("dim", "hidden"), [(1, (4,)), (2, (3, 5)), (5, (8, 6)), (5, (2,)), (4, ())]
)
def test_masked_outputs_depend_on_the_coordinates_before_and_on_no_other(dim, hidden):
    network = MADE(dim, num_outputs=2, hidden=hidden)
    z = np.random.default_rng(0).normal(size=dim)
    variables = random_variables(network.init, z)

    @jax.jit
    def use(z):
        at = jax.vmap(lambda d: network.apply(variables, z, d, method="at"))(jnp.arange(dim))
        return (
            at,
            network.apply(variables, z),
            jax.jacobian(lambda z: network.apply(variables, z))(z),
        )

    at, outputs, jacobian = use(z)
    np.testing.assert_allclose(at, outputs, rtol=1e-12)
    depends = np.any(jacobian != 0, axis=1)  # [d, j]
    before = np.tri(dim, k=-1, dtype=bool)
    if min(hidden, default=dim) >= dim - 1:
        np.testing.assert_array_equal(depends, before)
    else:
        assert not np.any(depends & ~before)
        assert np.all(np.any(depends[2:], axis=1))

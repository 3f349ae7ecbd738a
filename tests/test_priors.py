"""The contract of `vaelab.priors.base`, one table over all priors: a new prior is a new row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.stats
from conftest import optimised_jit
from oracles import critical_value, z_scores

from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian
from vaelab.priors import (
    GTM,
    AutoregressivePrior,
    FlowPrior,
    GaussianMixture,
    Given,
    GTMVampPrior,
    HierarchicalPrior,
    Prior,
    ResampledPrior,
    StandardNormal,
    VampPrior,
    functional,
)

SHAPE = (2, 2, 1)  # of the images that pseudo-inputs imitate


@functools.cache
def encoder(latent_dim: int) -> ConditionalGaussian:
    """q(z|x), of a model and of its prior one and the same."""
    trunk = MLP((4,), event_ndims=3, activation=jnp.tanh)  # units of a relu may be dead
    return ConditionalGaussian(trunk, latent_dim, log_variance_range=(-6.0, 2.0))


class StudentT(Prior):
    """Multivariate Student-t with learned location and scales: tails as heavy as |z|^−(ν + D)."""

    num_degrees: float = 3.0
    """degrees of freedom ν"""

    def setup(self):
        self.mean = self.param("mean", jax.nn.initializers.zeros, (self.latent_dim,))
        self.log_scale = self.param("log_scale", jax.nn.initializers.zeros, (self.latent_dim,))

    def log_prob(self, z, given=Given()):
        nu, dim = self.num_degrees, self.latent_dim
        squared = jnp.sum(((z - self.mean) * jnp.exp(-self.log_scale)) ** 2, axis=-1)
        constant = scipy.special.gammaln((nu + dim) / 2) - scipy.special.gammaln(nu / 2)
        constant -= 0.5 * dim * np.log(nu * np.pi)
        return constant - jnp.sum(self.log_scale) - 0.5 * (nu + dim) * jnp.log1p(squared / nu)

    def sample(self, key, num_samples, given=Given()):
        normal_key, chi_key = jax.random.split(key)
        normal = jax.random.normal(normal_key, (num_samples, self.latent_dim))
        chi_squared = jax.random.chisquare(chi_key, self.num_degrees, (num_samples, 1))
        noise = normal / jnp.sqrt(chi_squared / self.num_degrees)
        return self.mean + jnp.exp(self.log_scale) * noise


PRIORS: dict[str, Callable[[int], Prior]] = {
    "standard normal": StandardNormal,
    "gaussian mixture": lambda dim: GaussianMixture(dim, num_components=4),
    "vamp": lambda dim: VampPrior(dim, SHAPE, num_components=5, encoder=encoder(dim)),
    "vamp, learned weights": lambda dim: VampPrior(
        dim, SHAPE, num_components=3, learned_weights=True, encoder=encoder(dim)
    ),
    "gtm": lambda dim: GTM(dim, grid_size=2, hidden=(4,)),
    "gtm, learned weights": lambda dim: GTM(
        dim, grid_size=3, grid_dim=1, hidden=(4,), learned_weights=True
    ),
    "gtm vamp": lambda dim: GTMVampPrior(
        dim, SHAPE, grid_size=2, hidden=(4,), learned_weights=True, encoder=encoder(dim)
    ),
    "flow": lambda dim: FlowPrior(dim, num_layers=3, hidden=(4,)),
    "autoregressive": lambda dim: AutoregressivePrior(dim, num_components=2, hidden=(4,)),
    "resampled": lambda dim: ResampledPrior(dim, max_tries=4, num_samples=16, hidden=(4,)),
    "hierarchical": lambda dim: HierarchicalPrior(dim, num_samples=16, hidden=(4,)),
    "hierarchical with a flow as encoder": lambda dim: HierarchicalPrior(
        dim,
        num_samples=16,
        hidden=(4,),
        encoder=ConditionalFlow(MLP((4,), activation=jnp.tanh), dim, num_layers=2, hidden=(2,)),
    ),
    "hierarchical on hierarchical": lambda dim: HierarchicalPrior(
        dim,
        num_samples=16,
        encoder=ConditionalGaussian(MLP(()), 1, log_variance_range=(-6.0, 2.0)),
        decoder=ConditionalGaussian(MLP((4,)), dim, log_variance_range=(-6.0, 2.0)),
        top=HierarchicalPrior(1, num_samples=2, hidden=(3,)),
    ),
    "hierarchical on vamp": lambda dim: HierarchicalPrior(
        dim,
        num_samples=16,
        encoder=ConditionalGaussian(MLP(()), 1, log_variance_range=(-6.0, 2.0)),
        decoder=ConditionalGaussian(MLP((4,)), dim, log_variance_range=(-6.0, 2.0)),
        top=VampPrior(1, (dim,), num_components=3, data_range=(-2.0, 2.0)),
    ),
    "student t": StudentT,
}

# The densities are looked at in two oblique coordinates y, so that a wrong order or scale of any one
# coordinate of z shows in both. The plane is mapped into a square, w = c atan(t/c), t being y from its
# median in units of its spread: near t within one spread, and at most c π/2 however heavy the tails.
# A sum over the cells is an integral over the plane, and all moments of w exist.
C = 3.0
EDGES = np.linspace(-C * np.pi / 2, C * np.pi / 2, 49)
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])


class Case(NamedTuple):
    prior: Prior
    variables: dict

    def log_prob(self, z, key=None, weights=None):
        return self.prior.apply(self.variables, z, Given(key, weights))

    def sample(self, key, num_samples):
        return self.prior.apply(self.variables, key, num_samples, method="sample")


@functools.cache
def make(name: str, latent_dim: int) -> Case:
    """A prior with random parameters, no bias zero and no density symmetric about the origin."""
    prior = PRIORS[name](latent_dim)
    shapes = jax.eval_shape(prior.init, jax.random.key(0), jnp.zeros(latent_dim))
    rng = np.random.default_rng(3)
    draw = lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return Case(prior, jax.tree.map(draw, shapes))


@functools.cache
def evaluate(name: str):
    """(z, key, weights) -> log_prob without and with weights, the first one's gradients. Jitted."""
    case = make(name, 3)

    @jax.jit
    def values_and_gradients(z, key, weights):
        def total(variables, z):
            log_prob = Case(case.prior, variables).log_prob(z, key)
            return jnp.sum(log_prob), log_prob

        gradients, log_prob = jax.grad(total, argnums=(0, 1), has_aux=True)(case.variables, z)
        return log_prob, case.log_prob(z, key, weights), gradients

    return values_and_gradients


@pytest.fixture(params=PRIORS)
def name(request) -> str:
    return request.param


class Square(NamedTuple):
    """The map between z [N, 2] and w [N, 2], fitted to a prior's samples: any fit is a right one."""

    median: np.ndarray  # [2], of y
    spread: np.ndarray  # [2], the standard deviation of a Gaussian with y's quartiles

    def to_square(self, z: np.ndarray) -> np.ndarray:
        return C * np.arctan((z @ TURN - self.median) / (C * self.spread))

    def from_square(self, w: np.ndarray) -> np.ndarray:
        return (self.median + self.spread * C * np.tan(w / C)) @ TURN.T


@functools.cache
def square(name: str) -> Square:
    quartiles = np.quantile(samples(name) @ TURN, [0.25, 0.5, 0.75], axis=0)
    return Square(quartiles[1], (quartiles[2] - quartiles[0]) / (2 * scipy.stats.norm.ppf(0.75)))


def grid(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middles of the square's cells: w [N, 2], z [N, 2] there, and the cells' areas in z [N]."""
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    w = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    stretch = square(name).spread / np.cos(w / C) ** 2  # dy/dw
    area = (EDGES[1] - EDGES[0]) ** 2 * np.prod(stretch, axis=1)
    return w, square(name).from_square(w), area


@functools.cache
def densities(name: str) -> np.ndarray:
    """Independent estimates of p(z) on the grid, [replicates, N]; one where p is exact."""
    case, (_, z, _) = make(name, 2), grid(name)
    keys = jax.random.split(jax.random.key(1), 1 if case.prior.exact else 300)
    # Many estimates take longer to compute than to compile.
    jit = jax.jit if case.prior.exact else optimised_jit
    log_prob = jit(lambda keys: jax.lax.map(lambda key: case.log_prob(z, key), keys))
    return np.exp(np.asarray(log_prob(keys), np.float64))


@functools.cache
def joint(name: str) -> tuple[np.ndarray, ...]:
    """Two draws of 10,000, with a key of their own each: z by `sample` [20_000, 2], and z and u by
    `sample_joint`, in one array [20_000, M]; log p(z, u) and, of the prior if it is exact, log p(z).
    """
    case = make(name, 2)

    @jax.jit
    def draw(key):
        z, u = case.prior.apply(case.variables, key, 10_000, method="sample_joint")
        log_joint = case.prior.apply(case.variables, z, u, method="joint_log_prob")
        parts = [part.reshape(len(z), -1) for part in jax.tree.leaves((z, u))]
        log_prob = case.log_prob(z) if case.prior.exact else log_joint
        return case.sample(key, 10_000), jnp.concatenate(parts, axis=1), log_joint, log_prob

    draws = [draw(key) for key in jax.random.split(jax.random.key(2))]
    return tuple(np.concatenate(part).astype(np.float64) for part in zip(*draws, strict=True))


def samples(name: str) -> np.ndarray:
    """z ~ p(z), [20_000, 2]."""
    return joint(name)[0]


def moments(w: np.ndarray) -> np.ndarray:
    """w_1, w_2, w_1², w_2², w_1 w_2: location, scale and correlation. [N, 2] -> [N, 5]."""
    return np.stack([w[:, 0], w[:, 1], w[:, 0] ** 2, w[:, 1] ** 2, w[:, 0] * w[:, 1]], axis=1)


def test_density_integrates_to_one(name):
    mass = densities(name) @ grid(name)[2]
    if make(name, 2).prior.exact:
        np.testing.assert_allclose(mass, 1.0, atol=1e-3)
    else:
        assert abs(z_scores(mass, 1.0)) < critical_value(1)
        assert np.std(mass) / np.sqrt(len(mass)) < 2e-3  # and the interval is a narrow one


def test_samples_have_the_density_s_moments(name):
    w, _, area = grid(name)
    expected = (densities(name) * area) @ moments(w)  # [replicates, 5], unbiased
    drawn = moments(square(name).to_square(samples(name)))
    variance = np.var(drawn, axis=0, ddof=1) / len(drawn)
    if len(expected) > 1:
        variance += np.var(expected, axis=0, ddof=1) / len(expected)
    difference = np.mean(drawn, axis=0) - np.mean(expected, axis=0)
    assert np.all(np.abs(difference) < critical_value(5) * np.sqrt(variance))


def test_samples_have_the_density_s_projections(name):
    mass = np.mean(densities(name), axis=0) * grid(name)[2]
    mass = mass.reshape(len(EDGES) - 1, -1)
    w = square(name).to_square(samples(name))
    for axis in (0, 1):
        cumulative = np.concatenate([[0.0], np.cumsum(np.sum(mass, axis=1 - axis))])
        cdf = scipy.interpolate.PchipInterpolator(EDGES, cumulative / cumulative[-1])
        assert scipy.stats.kstest(w[:, axis], cdf).pvalue > 1e-3


def test_joint_samples_have_the_joint_density(name):
    """Of an exact prior it is p(z); of others E_p(z,u)[h(z, u) / p(z, u)] = ∫∫ h = 1 for densities h."""
    z, joint_samples, log_joint, log_prob = joint(name)
    np.testing.assert_array_equal(joint_samples[:, :2], z)
    if make(name, 2).prior.exact:
        assert joint_samples.shape == z.shape
        np.testing.assert_array_equal(log_joint, log_prob)
        return
    assert joint_samples.shape[1] > 2
    # Gaussians h narrower than p, or the ratio's variance could be infinite.
    mean, factor = np.mean(joint_samples, axis=0), np.linalg.cholesky(np.cov(joint_samples.T))
    for shift in (0.0, 0.6 * factor[:, 0], -0.6 * factor[:, -1]):
        h = scipy.stats.multivariate_normal(mean + shift, 0.6**2 * factor @ factor.T)
        ratio = np.exp(h.logpdf(joint_samples) - log_joint)
        assert abs(z_scores(ratio, 1.0)) < critical_value(3)
        assert np.std(ratio) / np.sqrt(len(ratio)) < 0.03  # and the interval is a narrow one


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_shapes(name, latent_dim):
    case, key = make(name, latent_dim), jax.random.key(0)
    for batch in ((), (5,), (2, 5)):
        z, weights = jnp.ones((*batch, latent_dim)), jnp.ones(batch)
        assert jax.eval_shape(case.log_prob, z, key).shape == batch
        assert jax.eval_shape(case.log_prob, z, key, weights).shape == batch
    for num_samples in (1, 7):
        drawn = jax.eval_shape(lambda key, n=num_samples: case.sample(key, n), key)
        assert drawn.shape == (num_samples, latent_dim)


def test_weights_change_no_value_and_the_key_is_used_as_the_prior_says(name):
    case, log_prob = make(name, 3), evaluate(name)
    key, ones = jax.random.key(1), jnp.ones((4, 5))
    z = jnp.broadcast_to(jnp.linspace(-1.0, 0.5, 3), (4, 5, 3))
    weights = jax.nn.softmax(jax.random.normal(jax.random.key(2), (4, 5)), axis=0)
    first, weighted, _ = log_prob(z, key, weights)
    np.testing.assert_allclose(weighted, first, rtol=2e-6)
    other = log_prob(z, jax.random.key(2), ones)[0]
    if case.prior.exact:
        np.testing.assert_array_equal(first, other)
        without_a_key = jax.jit(lambda z: (case.log_prob(z), case.log_prob(z[1, 2])))
        batch, one = without_a_key(z)
        np.testing.assert_allclose(batch, first, rtol=1e-6)
        np.testing.assert_allclose(one, first[1, 2], rtol=1e-6)
    else:
        assert np.all(first != other)
        assert len(np.unique(first)) == 20  # every z has an estimate of its own
        np.testing.assert_array_equal(first, log_prob(z, key, ones)[0])


def test_gradients_are_finite_far_away(name):
    z = np.random.default_rng(0).normal(size=(4, 5, 3))
    z = 50.0 * z / np.linalg.norm(z, axis=-1, keepdims=True)
    z[0] = 0.0
    log_prob, _, gradients = evaluate(name)(z, jax.random.key(0), jnp.ones((4, 5)))
    for leaf in jax.tree.leaves((log_prob, gradients)):
        assert np.all(np.isfinite(leaf))
    assert np.all(np.any(np.asarray(gradients[1])[1:] != 0, axis=-1))


def test_samples_differ_between_keys_and_within_a_draw(name):
    # Among 20,000 float32 in a few units a handful of values come twice by chance.
    assert len(np.unique(samples(name), axis=0)) > 19_990


def test_another_number_of_inner_samples_is_the_same_density(name):
    case = make(name, 2)
    other = case.prior.with_num_samples(64)
    if case.prior.exact:
        assert other is case.prior
        return
    assert (other.num_samples, case.prior.num_samples) == (64, 16)
    w, z, _ = grid(name)
    points = np.flatnonzero(np.all(np.abs(w) < 2.0, axis=1))[::20]
    z, few = z[points], densities(name)[:, points]
    log_prob = jax.vmap(lambda key: Case(other, case.variables).log_prob(z, key))
    keys = jax.random.split(jax.random.key(3), 100)
    many = np.exp(np.asarray(jax.jit(log_prob)(keys), float))
    error = np.sqrt(np.var(few, axis=0) / len(few) + np.var(many, axis=0) / len(many))
    difference = np.mean(few, axis=0) - np.mean(many, axis=0)
    assert np.all(np.abs(difference) < critical_value(len(z)) * error)
    assert np.sum(np.var(many, axis=0)) < 0.5 * np.sum(np.var(few, axis=0))


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_closed_form_kl_equals_numerical_integration(name, latent_dim):
    """Σ_d KL_d = E_q[log q(z) − log p(z)], by the Gauss-Hermite product rule in each coordinate."""
    case = make(name, latent_dim)
    mean = np.linspace(-1.5, 2.0, 2 * latent_dim).reshape(2, latent_dim)
    std = np.linspace(0.1, 2.5, 2 * latent_dim).reshape(2, latent_dim)
    posterior = distrax.Independent(distrax.Normal(jnp.asarray(mean), jnp.asarray(std)), 1)
    kl = case.prior.kl(posterior)
    if kl is None:  # not a prior that says it had one
        assert type(case.prior).kl is Prior.kl
        return
    assert kl.shape == (2, latent_dim)
    node, weight = np.polynomial.hermite_e.hermegauss(12)
    nodes = np.stack(np.meshgrid(*[node] * latent_dim), axis=-1).reshape(-1, latent_dim)
    product = np.stack(np.meshgrid(*[weight] * latent_dim), axis=-1).reshape(-1, latent_dim)
    product = np.prod(product / np.sum(weight), axis=1)
    z = mean + std * nodes[:, None]  # [nodes, 2, D]
    log_q = scipy.stats.norm.logpdf(z, mean, std).sum(-1)
    expected = product @ (log_q - np.asarray(case.log_prob(jnp.asarray(z)), np.float64))
    np.testing.assert_allclose(np.sum(kl, axis=-1), expected, rtol=1e-4)


def test_kl_is_none_where_the_posterior_has_no_closed_form(name):
    prior = make(name, 2).prior
    scale = distrax.Block(distrax.ScalarAffine(jnp.zeros(2), jnp.full(2, 0.5)), 1)
    normal = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
    assert prior.kl(distrax.Transformed(normal, scale)) is None
    assert prior.kl(distrax.Independent(distrax.Logistic(jnp.zeros(2), jnp.ones(2)), 1)) is None


def leaves(tree) -> dict[str, tuple]:
    """Shape and type of every array, by its path."""
    paths = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in paths}


def test_one_call_initialises_the_parameters_that_a_model_has(name):
    prior, key, x = PRIORS[name](2), jax.random.key(0), jnp.zeros((3, *SHAPE))
    alone = jax.eval_shape(prior.init, key, jnp.zeros(2)).get("params", {})
    decoder = BernoulliDecoder(MLP((4,)), shape=SHAPE)
    model = VAE(ConditionalGaussian(MLP((4,), event_ndims=3), 2), decoder, prior)
    inside = jax.eval_shape(lambda: model.init(key, x, key))["params"].get("prior", {})
    assert leaves(alone) == leaves(inside)


def test_an_exact_prior_ignores_key_and_weights_and_every_prior_an_encoder_it_does_not_need(name):
    """What is ignored leaves no trace in the program."""
    case, z = make(name, 2), jnp.array([[0.5, -1.0], [2.0, 0.3]])
    refuse = lambda x: pytest.fail("the prior has what it needs")  # noqa: E731

    def program(everything, z, key, weights):
        if everything:
            given = Given(key, weights if case.prior.exact else None, refuse)
            joint = Given(key, weights, refuse)
        else:
            given, joint = Given(None if case.prior.exact else key), Given()
        apply = functools.partial(case.prior.apply, case.variables)
        draw_key = jax.random.key(1)
        drawn, auxiliary = apply(draw_key, 3, joint, method="sample_joint")
        log_joint = apply(drawn, auxiliary, joint._replace(key=None), method="joint_log_prob")
        return apply(z, given), drawn, auxiliary, log_joint

    arguments = z, jax.random.key(7), jnp.full(2, 0.3)
    few, everything = (
        str(jax.make_jaxpr(functools.partial(program, flag))(*arguments)) for flag in (False, True)
    )
    assert few == everything


def test_functions_of_the_parameters_equal_the_methods(name):
    prior, key = PRIORS[name](2), jax.random.key(1)
    made = []

    def start(key):
        params, functions = functional(prior, key)
        made.append(functions)
        return params

    starts = start, lambda key: prior.init(key, jnp.zeros(2)).get("params", {})
    # Two equal programs need not be compiled to have equal values.
    programs = [str(jax.make_jaxpr(f)(key)) for f in starts]
    assert programs[0] == programs[1]
    (functions,) = made
    variables = make(name, 2).variables
    params, given = variables.get("params", {}), Given(None if prior.exact else key)
    z = jnp.array([[0.5, -1.0], [2.0, 0.3]])

    def by_functions(params, z):
        total = lambda params, z: jnp.sum(functions.log_prob(params, z, given))  # noqa: E731
        drawn, auxiliary = functions.sample_joint(params, key, 3)
        return (
            functions.log_prob(params, z, given),
            jax.grad(total, argnums=(0, 1))(params, z),
            functions.sample(params, key, 3),
            (drawn, auxiliary),
            functions.joint_log_prob(params, drawn, auxiliary),
        )

    def by_methods(params, z):
        apply = functools.partial(prior.apply, {"params": params})
        joint = apply(key, 3, method="sample_joint")

        def total(params, z):
            return jnp.sum(prior.apply({"params": params}, z, given, method="log_prob"))

        return (
            apply(z, given, method="log_prob"),
            jax.grad(total, argnums=(0, 1))(params, z),
            apply(key, 3, method="sample"),
            joint,
            apply(*joint, method="joint_log_prob"),
        )

    programs = [str(jax.make_jaxpr(f)(params, z)) for f in (by_functions, by_methods)]
    assert programs[0] == programs[1]
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    one_prior_each = jax.vmap(functions.log_prob, in_axes=(0, None, None), axis_size=2)
    assert jax.eval_shape(one_prior_each, members, z, given).shape == (2, 2)
    posterior = distrax.Independent(distrax.Normal(jnp.zeros((2, 2)), jnp.ones((2, 2))), 1)
    kl, expected = functions.kl(params, posterior), prior.kl(posterior)
    assert (kl is None) == (expected is None)
    if kl is not None:
        np.testing.assert_array_equal(kl, expected)


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_standard_normal_equals_scipy(latent_dim):
    z = np.random.default_rng(0).normal(size=(4, 5, latent_dim))
    expected = scipy.stats.norm.logpdf(z).sum(-1)
    log_prob = make("standard normal", latent_dim).log_prob(z)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_student_t_equals_scipy(latent_dim):
    case = make("student t", latent_dim)
    z = (
        np.random.default_rng(0).normal(size=(4, 5, latent_dim))
        * np.logspace(0, 3, 4)[:, None, None]
    )
    mean, log_scale = (np.asarray(case.variables["params"][part]) for part in ("mean", "log_scale"))
    covariance = np.diag(np.exp(2.0 * log_scale))
    expected = scipy.stats.multivariate_t(mean, covariance, df=3.0).logpdf(z)
    np.testing.assert_allclose(case.log_prob(z).ravel(), np.ravel(expected), rtol=1e-6)


def test_standard_normal_kl_per_coordinate_equals_quadrature():
    mean, std = np.array([[-1.0, 0.0, 2.0]]), np.array([[0.1, 1.0, 1.7]])
    posterior = distrax.Independent(distrax.Normal(jnp.asarray(mean), jnp.asarray(std)), 1)

    def kl(m, s):
        q, p = scipy.stats.norm(m, s), scipy.stats.norm(0, 1)
        integrand = lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z))  # noqa: E731
        return scipy.integrate.quad(integrand, m - 12 * s, m + 12 * s, epsabs=1e-10)[0]

    expected = [[kl(m, s) for m, s in zip(mean[0], std[0], strict=True)]]
    np.testing.assert_allclose(StandardNormal(3).kl(posterior), expected, rtol=1e-5, atol=1e-6)

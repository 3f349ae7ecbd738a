"""The resampled prior in one dimension, where Z and its density are integrals by the trapezoid rule."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.stats
from oracles import critical_value, within_confidence, z_scores
from scipy.special import expit

from vaelab.priors import GaussianMixture, Given, HierarchicalPrior, StandardNormal, VampPrior
from vaelab.priors.resampled import ResampledPrior

GRID = np.linspace(-9.0, 9.0, 721)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def make(**fields):
    """A prior in one dimension that accepts 1 to 70 % of the tries, by where they are."""
    prior = ResampledPrior(1, hidden=(3,), **fields)
    shapes = jax.eval_shape(prior.init, jax.random.key(0), jnp.zeros(1))
    rng = np.random.default_rng(2)
    variables = jax.tree.map(lambda leaf: jnp.asarray(1.5 * rng.normal(size=leaf.shape)), shapes)
    variables["params"]["head"]["bias"] = jnp.array([-1.5])
    return prior, variables


def acceptance(variables, z):
    """a(z), written out in numpy. [N] -> [N]."""
    params = jax.tree.map(np.asarray, variables["params"])
    first, head = params["trunk"]["Dense_0"], params["head"]
    hidden = np.tanh(z[:, None] @ first["kernel"] + first["bias"])
    return expit(hidden @ head["kernel"] + head["bias"])[:, 0]


def density(variables, max_tries, proposal=scipy.stats.norm.pdf):
    """p(z) = (1 − α) π a/Z + α π on the grid, α = (1 − Z)^(T−1)."""
    pi, a = proposal(GRID), acceptance(variables, GRID)
    Z = np.trapezoid(pi * a, GRID)
    alpha = (1 - Z) ** (max_tries - 1)
    return (1 - alpha) * pi * a / Z + alpha * pi


def log_prob(prior, variables, z, num_replicates):
    keys = jax.random.split(jax.random.key(3), num_replicates)
    estimate = lambda key: prior.apply(variables, z, Given(key))  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(estimate))(keys))


@pytest.mark.parametrize("max_tries", [2, 6])
def test_the_density_is_estimated_without_bias(max_tries):
    prior, variables = make(max_tries=max_tries, num_samples=2)
    points = slice(240, 481, 40)
    z = GRID[points, None]
    estimates = np.exp(log_prob(prior, variables, z, 20_000))
    p = density(variables, max_tries)[points]
    assert np.all(within_confidence(estimates, p))
    assert np.all(z_scores(np.log(estimates), np.log(p)) < -critical_value(len(p)))  # Jensen
    # The check can tell the truncated density from its neighbours.
    for other in (scipy.stats.norm.pdf(GRID), density(variables, max_tries + 1)):
        assert not np.all(within_confidence(estimates, other[points]))


def gaussian_encoder(u):
    """q(z|u) = N(2u − 1, (0.4 + u)²), in plain JAX."""
    return 2 * u - 1, 0.4 + u


@pytest.mark.parametrize("max_tries", [2, 6])
def test_a_vamp_prior_as_the_proposal_takes_the_encoder_that_is_given(max_tries):
    proposal = VampPrior(1, (1,), num_components=3)
    given = Given(encode=gaussian_encoder)
    prior = ResampledPrior(1, proposal, hidden=(3,), max_tries=max_tries, num_samples=2)
    shapes = jax.eval_shape(
        lambda: prior.init(jax.random.key(0), jnp.zeros(1), given)["params"]["proposal"]
    )
    assert jax.tree.map(jnp.shape, shapes) == {"pseudo_inputs": (3, 1)}
    pseudo_inputs = np.array([[0.1], [0.5], [0.95]])
    variables = make()[1]
    variables["params"]["proposal"] = {"pseudo_inputs": pseudo_inputs}
    mean, scale = gaussian_encoder(pseudo_inputs)

    def pdf(z):
        return np.mean(scipy.stats.norm.pdf(z, mean, scale), axis=0)

    points = slice(240, 481, 40)
    z, p = GRID[points, None], density(variables, max_tries, pdf)

    def estimate(key):
        return prior.apply(variables, z, given._replace(key=key))

    estimates = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(3), 20_000))
    assert np.all(within_confidence(np.exp(estimates), p[points]))

    @jax.jit
    def draw(key):
        joint = prior.apply(variables, key, 20_000, given, method="sample_joint")
        return *joint, prior.apply(variables, *joint, given, method="joint_log_prob")

    drawn, others, log_joint = draw(jax.random.key(1))
    cumulative = scipy.integrate.cumulative_trapezoid(p, GRID, initial=0.0)
    cdf = lambda v: np.interp(v, GRID, cumulative)  # noqa: E731
    assert scipy.stats.kstest(np.asarray(drawn)[:, 0], cdf).pvalue > 1e-3
    # E[h(z) h(u_1) … / p(z, u)] = 1 for a density h.
    values = np.concatenate([drawn[:, None], others], axis=1)[..., 0]
    log_h = scipy.stats.norm.logpdf(values, 0.0, 0.5).sum(axis=1)
    assert within_confidence(np.exp(log_h - log_joint), 1.0)


def test_one_try_is_the_proposal():
    prior, variables = make(max_tries=1)
    z = GRID[:, None]
    np.testing.assert_allclose(
        log_prob(prior, variables, z, 2),
        np.broadcast_to(scipy.stats.norm.logpdf(GRID), (2, len(GRID))),
        rtol=1e-12,
    )

    @jax.jit
    def joint(key):
        drawn, others = prior.apply(variables, key, 5, method="sample_joint")
        return drawn, others, prior.apply(variables, drawn, others, method="joint_log_prob")

    drawn, others, log_joint = joint(jax.random.key(0))
    assert others.shape == (5, 0, 1)
    np.testing.assert_allclose(log_joint, scipy.stats.norm.logpdf(drawn)[:, 0], rtol=1e-12)


def test_many_tries_leave_no_truncation():
    prior, variables = make(max_tries=100, num_samples=1)
    pi, a = scipy.stats.norm.pdf(GRID), acceptance(variables, GRID)
    p = pi * a / np.trapezoid(pi * a, GRID)
    points = slice(240, 481, 80)
    estimates = np.exp(log_prob(prior, variables, GRID[points, None], 2_000))
    assert np.all(within_confidence(estimates, p[points]))


def test_the_joint_density_is_the_formula_and_the_samples_are_its():
    """p(z, u) with T = 3 on a grid of z, u_1 and u_2, where it sums to 1 and gives every moment."""
    prior, variables = make(max_tries=3)
    axis = np.linspace(-6.0, 6.0, 41)
    values = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    pi, a = scipy.stats.norm.pdf(values), acceptance(variables, values.ravel()).reshape(-1, 3)
    refused = 1 - a[:, 1:]
    bracket = a[:, 0] * (1 + refused[:, 0]) + refused[:, 0] * refused[:, 1]
    p = np.prod(pi, axis=1) * bracket

    joint = lambda z, u: prior.apply(variables, z, u, method="joint_log_prob")  # noqa: E731
    log_joint = jax.jit(joint)(values[:, :1], values[:, 1:, None])
    np.testing.assert_allclose(log_joint, np.log(p), rtol=1e-9)
    mass = p * (axis[1] - axis[0]) ** 3
    np.testing.assert_allclose(np.sum(mass), 1.0, atol=1e-6)

    def moments(v):
        z, u, w = v.T
        return np.stack([z, u, w, z**2, u**2, w**2, z * u, z * w, u * w, z * u * w], axis=1)

    draw = lambda key: prior.apply(variables, key, 40_000, method="sample_joint")  # noqa: E731
    z, others = jax.jit(draw)(jax.random.key(5))
    drawn = np.concatenate([z, others[..., 0]], axis=1)
    expected = mass @ moments(values)
    assert np.all(within_confidence(moments(drawn), expected))
    # Refused tries differ from those never looked at: u_1 and u_2 are not exchangeable.
    assert abs(expected[1] - expected[2]) > 0.02
    for axis_ in range(3):  # each one's distribution, not only its moments
        marginal = mass.reshape(41, 41, 41).sum(axis=tuple({0, 1, 2} - {axis_}))
        cdf = scipy.interpolate.PchipInterpolator(
            axis + 0.5 * (axis[1] - axis[0]), np.cumsum(marginal)
        )
        clipped = np.clip(drawn[:, axis_], -5.8, 6.1)
        assert scipy.stats.kstest(clipped, cdf).pvalue > 1e-3


@pytest.mark.parametrize("max_tries", [2, 30])
def test_samples_have_the_truncated_density(max_tries):
    prior, variables = make(max_tries=max_tries)
    draw = lambda key: prior.apply(variables, key, 20_000, method="sample")  # noqa: E731
    z = np.asarray(jax.jit(draw)(jax.random.key(1)))[:, 0]
    p = density(variables, max_tries)
    cumulative = scipy.integrate.cumulative_trapezoid(p, GRID, initial=0.0)
    np.testing.assert_allclose(cumulative[-1], 1.0, atol=1e-6)
    assert scipy.stats.kstest(z, lambda v: np.interp(v, GRID, cumulative)).pvalue > 1e-3
    assert scipy.stats.kstest(z, "norm").pvalue < 1e-6


def test_gradients_of_the_density_are_unbiased_for_the_proposal_too():
    """∇ exp(log_prob), of a and of a mixture π, against ∇p by differentiating the integral.

    The mixture's samples are not differentiable: gradients through them would miss the weights.
    """
    proposal = GaussianMixture(1, num_components=2)
    prior, variables = make(max_tries=4, num_samples=1, proposal=proposal)
    variables["params"]["proposal"] = {
        "mean": jnp.array([[-1.0], [1.2]]),
        "log_variance": jnp.array([[-0.5], [0.3]]),
        "logits": jnp.array([0.4, -0.3]),
    }
    z = jnp.array([0.4])

    def truncated(variables):
        bound = prior.bind(variables)
        pi = jnp.exp(bound.proposal.log_prob(GRID[:, None]))
        a = jax.nn.sigmoid(bound.head(bound.trunk(GRID[:, None]))[:, 0])
        Z = jnp.sum(pi * a) * (GRID[1] - GRID[0])
        alpha = (1 - Z) ** 3
        i = np.argmin(np.abs(GRID - 0.4))
        return (1 - alpha) * pi[i] * a[i] / Z + alpha * pi[i]

    def estimate(key):
        p = lambda variables: jnp.exp(prior.apply(variables, z, Given(key)))  # noqa: E731
        return jax.value_and_grad(p)(variables)

    keys = jax.random.split(jax.random.key(2), 10_000)
    estimates = jax.jit(jax.vmap(estimate))(keys)
    expected = jax.jit(jax.value_and_grad(truncated))(variables)
    assert np.min(np.abs(expected[1]["params"]["proposal"]["logits"])) > 1e-3
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(expected)]
    for name, drawn, exact in zip(
        names, jax.tree.leaves(estimates), jax.tree.leaves(expected), strict=True
    ):
        assert np.all(within_confidence(drawn, exact, level=1e-4)), name


def test_gradients_are_finite_at_extreme_z_and_where_nothing_is_accepted():
    prior = ResampledPrior(3, hidden=(4,), max_tries=5)
    key, rng = jax.random.key(0), np.random.default_rng(0)
    shapes = jax.eval_shape(prior.init, key, jnp.zeros(3))
    draw = lambda leaf: jnp.asarray(100 * rng.normal(size=leaf.shape), jnp.float32)  # noqa: E731
    variables = jax.tree.map(draw, shapes)
    z = jnp.asarray(rng.normal(size=(8, 3)) * np.logspace(0, 4, 8)[:, None], jnp.float32)

    @jax.jit
    def use(variables, z):
        total = lambda v, z: jnp.sum(prior.apply(v, z, Given(key)))  # noqa: E731
        return jax.grad(total, argnums=(0, 1))(variables, z)

    for bias in (-1000.0, 0.0, 1000.0):
        variables["params"]["head"]["bias"] = jnp.full(1, bias, jnp.float32)
        for leaf in jax.tree.leaves(use(variables, z)):
            assert np.all(np.isfinite(leaf))


def test_any_number_of_coordinates_and_batch_axes():
    for latent_dim in (1, 2, 511, 512):
        prior = ResampledPrior(latent_dim, max_tries=3)

        def use(key, prior=prior):
            z = jnp.zeros((2, 5, prior.latent_dim))
            log_p, variables = prior.init_with_output(key, z)
            z, u = prior.apply(variables, key, 7, method="sample_joint")
            return log_p, z, u, prior.apply(variables, z, u, method="joint_log_prob")

        shapes = [part.shape for part in jax.eval_shape(use, jax.random.key(0))]
        assert shapes == [(2, 5), (7, latent_dim), (7, 2, latent_dim), (7,)]


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="max_tries must be at least 1, got 0"):
        ResampledPrior(2, max_tries=0)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        ResampledPrior(2, num_samples=0)
    with pytest.raises(ValueError, match="exact log_prob, and HierarchicalPrior has not"):
        ResampledPrior(2, proposal=HierarchicalPrior(2))
    with pytest.raises(ValueError, match=r"proposal\.latent_dim = 3 and latent_dim = 2 must be"):
        ResampledPrior(2, proposal=StandardNormal(3))
    prior, variables = make()
    with pytest.raises(ValueError, match=r"pass Given\(key=key\)"):
        prior.apply(variables, jnp.zeros(1), method="log_prob")

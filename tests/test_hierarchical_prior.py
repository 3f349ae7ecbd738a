"""The hierarchical prior where everything is Gaussian, and its doubly reparameterised gradient."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax.scipy.special import logsumexp
from oracles import critical_value, within_confidence, z_scores

from vaelab import losses
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import Given, HierarchicalPrior, StandardNormal, VampPrior
from vaelab.types import Array, PyTree


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


# p(ζ) = N(0, I), p(z|ζ) = N(Wζ + b, s²I), z in R³ and ζ in R².
RNG = np.random.default_rng(5)
W, BIAS, S = RNG.normal(size=(3, 2)), RNG.normal(size=3), 0.7
Z = RNG.normal(size=(4, 3)) @ np.diag([1.0, 2.0, 1.5]) + BIAS


class FullGaussian(nn.Module):
    """N(Ax + a, LLᵀ) with any L: what a diagonal Gaussian cannot be, an exact posterior."""

    dim: int

    @nn.compact
    def __call__(self, x):
        mean = nn.Dense(self.dim)(x)
        scale = self.param("scale", nn.initializers.ones, (self.dim, self.dim))
        return distrax.MultivariateNormalTri(mean, jnp.broadcast_to(scale, (*mean.shape, self.dim)))


class LogisticEncoder(nn.Module):
    """Independent logistic distributions about Ax + a."""

    dim: int

    @nn.compact
    def __call__(self, x):
        mean = nn.Dense(self.dim)(x)
        return distrax.Independent(distrax.Logistic(mean, jnp.full_like(mean, 0.6)), 1)


class FlowEncoder(nn.Module):
    """A Gaussian pushed through one coupling layer, (u, v) -> (u, v + tanh u)."""

    dim: int = 2

    @nn.compact
    def __call__(self, x):
        bend = distrax.MaskedCoupling(
            jnp.array([True, False]), lambda u: jnp.tanh(u[..., ::-1]), self._shift
        )
        return distrax.Transformed(FullGaussian(self.dim)(x), bend)

    def _shift(self, amount):
        return distrax.ScalarAffine(amount)


def affine(weight: np.ndarray, bias: np.ndarray) -> dict:
    """Parameters of a Dense layer that computes `weight @ x + bias`."""
    return {"kernel": weight.T, "bias": bias}


def full_gaussian(weight, bias, covariance) -> dict:
    return {"Dense_0": affine(weight, bias), "scale": np.linalg.cholesky(covariance)}


def exact_posterior(weight, bias, noise, mean, covariance):
    """A, a, C of p(ζ|z) = N(Az + a, C), for p(ζ) = N(mean, covariance), z|ζ ~ N(Wζ + b, noise² I)."""
    precision = np.linalg.inv(covariance)
    C = np.linalg.inv(precision + weight.T @ weight / noise**2)
    A = C @ weight.T / noise**2
    return A, C @ precision @ mean - A @ bias, C


A, OFFSET, C = exact_posterior(W, BIAS, S, np.zeros(2), np.eye(2))
LOG_P = scipy.stats.multivariate_normal(BIAS, W @ W.T + S**2 * np.eye(3)).logpdf(Z)
DECODER = {"Dense_0": affine(W, BIAS)}
# A proposal beside the posterior and wider than it, so that the weights have moments.
WRONG_OFFSET, WRONG_COVARIANCE = OFFSET + np.array([0.2, -0.1]), 1.7 * C + 0.1 * np.eye(2)


def make_prior(encoder=FullGaussian(2), **fields):  # noqa: B008
    return HierarchicalPrior(
        3,
        encoder=encoder,
        decoder=GaussianDecoder(MLP(()), shape=(3,), scale=S),
        top=fields.pop("top", StandardNormal(2)),
        **fields,
    )


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, None, None, 0))
def log_prob(prior, params, z, key):
    return prior.apply({"params": params}, z, Given(key))


def replicates(prior, params, z, num_replicates):
    """Independent estimates of log p(z), [num_replicates, ...]."""
    keys = jax.random.split(jax.random.key(0), num_replicates)
    return np.asarray(log_prob(prior, params, z, keys))


@pytest.mark.parametrize("num_samples", [1, 7])
def test_the_exact_posterior_leaves_no_variance(num_samples):
    params = {"encoder": full_gaussian(A, OFFSET, C), "decoder": DECODER}
    estimates = replicates(make_prior(num_samples=num_samples), params, Z, 5)
    np.testing.assert_allclose(estimates, np.broadcast_to(LOG_P, (5, 4)), rtol=1e-12)


def test_a_hierarchical_prior_on_top_of_another():
    """ζ|η ~ N(Vη + c, t²I), η ~ N(0, I) in one dimension: ζ ~ N(c, VVᵀ + t²I)."""
    V, c, t = np.array([[0.8], [-1.3]]), np.array([0.3, -0.4]), 0.5
    covariance = V @ V.T + t**2 * np.eye(2)
    top = HierarchicalPrior(
        2,
        num_samples=2,
        encoder=FullGaussian(1),
        decoder=GaussianDecoder(MLP(()), shape=(2,), scale=t),
        top=StandardNormal(1),
    )
    prior = make_prior(top=top, num_samples=3)
    exact_top = exact_posterior(V, c, t, np.zeros(1), np.eye(1))
    gain, offset, posterior = exact_posterior(W, BIAS, S, c, covariance)
    log_p = scipy.stats.multivariate_normal(
        W @ c + BIAS, W @ covariance @ W.T + S**2 * np.eye(3)
    ).logpdf(Z)

    def params(widening):
        return {
            "encoder": full_gaussian(gain, offset, widening * posterior),
            "decoder": DECODER,
            "top": {
                "encoder": full_gaussian(*exact_top[:2], widening * exact_top[2]),
                "decoder": {"Dense_0": affine(V, c)},
            },
        }

    exact = replicates(prior, params(1.0), Z, 20_000)
    np.testing.assert_allclose(exact, np.broadcast_to(log_p, exact.shape), rtol=1e-12)
    estimates = replicates(prior, params(1.8), Z, 20_000)
    assert np.all(within_confidence(np.exp(estimates - log_p), 1.0))
    assert np.all(z_scores(estimates, log_p) < -critical_value(4))


def test_a_vamp_prior_on_top_is_a_mixture_of_the_hierarchical_prior_s_own_posteriors():
    """q_Φ(ζ|u) = N(Au + a, diag σ²), u in the space of z: log p(z) is that of a mixture of Gaussians."""
    top = VampPrior(2, (3,), num_components=4, learned_weights=True, data_range=(-2.0, 2.0))
    encoder = ConditionalGaussian(MLP(()), 2, log_variance_range=None)
    prior = make_prior(encoder, top=top, num_samples=16)
    rng = np.random.default_rng(3)
    pseudo_inputs, logits = rng.uniform(-2, 2, (4, 3)), rng.normal(size=4)
    variance = np.array([0.9, 0.6])
    head = affine(np.concatenate([A, np.zeros((2, 3))]), np.concatenate([OFFSET, np.log(variance)]))
    params = {
        "encoder": {"Dense_0": head},
        "decoder": DECODER,
        "top": {"pseudo_inputs": pseudo_inputs, "logits": logits},
    }
    shapes = jax.eval_shape(prior.init, jax.random.key(0), jnp.zeros(3))["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(jnp.shape, shapes)
    covariance = W @ np.diag(variance) @ W.T + S**2 * np.eye(3)
    components = [
        scipy.stats.multivariate_normal(W @ (A @ u + OFFSET) + BIAS, covariance)
        for u in pseudo_inputs
    ]
    log_weights = scipy.special.log_softmax(logits)
    log_joint = log_weights + np.stack([c.logpdf(Z) for c in components], axis=1)
    log_p = scipy.special.logsumexp(log_joint, axis=1)
    assert np.all(within_confidence(np.exp(replicates(prior, params, Z, 20_000) - log_p), 1.0))
    sample = lambda key: prior.apply({"params": params}, key, 20_000, method="sample")  # noqa: E731
    z = np.asarray(jax.jit(sample)(jax.random.key(0)))
    weights = np.exp(log_weights)
    mean = weights @ np.stack([c.mean for c in components])
    second = covariance + np.einsum("k,ki,kj->ij", weights, *[[c.mean for c in components]] * 2)
    assert np.all(within_confidence(z, mean))
    assert np.all(within_confidence(z[:, :, None] * z[:, None, :], second))
    summary = prior.summary(params)
    assert summary.keys() == {"top_effective_components"}
    entropy = -np.sum(weights * log_weights)
    np.testing.assert_allclose(summary["top_effective_components"], np.exp(entropy))


def test_its_gradient_is_unbiased_with_a_vamp_prior_on_top():
    """Φ is the sampler of ζ and makes the components of p(ζ), which get the plain gradient."""
    top = VampPrior(2, (2,), num_components=3, data_range=(-2.0, 2.0))
    naive, dreg, _ = replicate(naive_and_dreg(make_model(one_layer, top=top), num_outer=4), 5_000)
    for phi in (lambda g: g["encoder"], lambda g: g["prior"]["encoder"]):
        assert largest_z_score(phi(dreg), phi(naive.gradient)) < 1
        assert np.min(np.std(flat(phi(dreg)) - flat(phi(naive.gradient)), axis=0)) > 1e-3
    theta = lambda g: flat(g["prior"]["top"])  # noqa: E731
    np.testing.assert_allclose(theta(dreg), theta(naive.gradient), rtol=1e-9, atol=1e-12)
    assert np.min(np.std(theta(dreg), axis=0)) > 1e-3


@pytest.mark.parametrize("encoder", [FullGaussian(2), LogisticEncoder(2), FlowEncoder()])
def test_any_encoder_estimates_the_density_without_bias(encoder):
    params = {
        "full": full_gaussian(A, WRONG_OFFSET, WRONG_COVARIANCE),
        "logistic": {"Dense_0": affine(A, OFFSET)},
    }
    if isinstance(encoder, FullGaussian):
        encoder_params = params["full"]
    elif isinstance(encoder, LogisticEncoder):
        encoder_params = params["logistic"]
    else:
        encoder_params = {"FullGaussian_0": params["full"]}
    params = {"encoder": encoder_params, "decoder": DECODER}
    estimates = replicates(make_prior(encoder, num_samples=4), params, Z, 20_000)
    assert np.all(within_confidence(np.exp(estimates - LOG_P), 1.0))
    assert np.all(z_scores(estimates, LOG_P) < -critical_value(4))  # Jensen


def test_the_bound_tightens_with_the_number_of_samples():
    params = {
        "encoder": full_gaussian(A, WRONG_OFFSET, WRONG_COVARIANCE),
        "decoder": DECODER,
    }
    bounds = [replicates(make_prior(num_samples=J), params, Z, 20_000) - LOG_P for J in (1, 4, 16)]
    # With one sample it is the ELBO: log p(z) − KL(q(ζ|z) ‖ p(ζ|z)).
    shift, ratio = WRONG_OFFSET - OFFSET, np.linalg.solve(C, WRONG_COVARIANCE)
    kl = np.trace(ratio) - 2 - np.linalg.slogdet(ratio)[1] + shift @ np.linalg.solve(C, shift)
    assert np.all(within_confidence(bounds[0], -0.5 * kl))
    for looser, tighter in itertools.pairwise(bounds):
        assert np.all(z_scores(tighter - looser, 0.0) > critical_value(4))
    assert np.all(z_scores(bounds[-1], 0.0) < -critical_value(4))


def test_every_z_has_inner_samples_of_its_own():
    params = {
        "encoder": full_gaussian(A, WRONG_OFFSET, WRONG_COVARIANCE),
        "decoder": DECODER,
    }
    same = np.broadcast_to(Z[0], (4, 3))
    p_hat = np.exp(replicates(make_prior(num_samples=4), params, same, 20_000) - LOG_P[0]) - 1
    for i in range(4):
        for j in range(i):
            assert within_confidence(p_hat[:, i] * p_hat[:, j], 0.0, level=1e-4)


def test_samples_come_from_the_joint_density():
    prior = make_prior()
    params = {"encoder": full_gaussian(A, OFFSET, C), "decoder": DECODER}
    sample = lambda key: prior.apply({"params": params}, key, 20_000, method="sample")  # noqa: E731
    z = jax.jit(sample)(jax.random.key(0))
    centred = np.asarray(z) - BIAS
    assert np.all(within_confidence(centred, 0.0))
    products = centred[:, :, None] * centred[:, None, :]
    assert np.all(within_confidence(products, W @ W.T + S**2 * np.eye(3)))


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        HierarchicalPrior(2, num_samples=0)
    with pytest.raises(ValueError, match=r"encoder\.dim = 3 and top\.latent_dim = 2 must be"):
        HierarchicalPrior(2, encoder=ConditionalGaussian(MLP(()), 3))
    with pytest.raises(ValueError, match=r"encoder\.dim = 2 and top\.latent_dim = 4 must be"):
        HierarchicalPrior(2, encoder=ConditionalGaussian(MLP(()), 2), top=StandardNormal(4))
    with pytest.raises(ValueError, match=r"decoder\.dim = 3 and latent_dim = 2 must be"):
        HierarchicalPrior(2, decoder=ConditionalGaussian(MLP(()), 3))
    params = {"encoder": full_gaussian(A, OFFSET, C), "decoder": DECODER}
    with pytest.raises(ValueError, match=r"pass Given\(key=key\)"):
        make_prior().apply({"params": params}, Z, method="log_prob")


# The doubly reparameterised gradient inside a VAE. φ: encoder, Φ: prior.encoder, Θ: prior.decoder,
# θ: decoder; L outer and J inner samples. Every network is a stack of two linear layers.


def two_layers():
    return ConditionalGaussian(nn.Dense(2), 2)


def one_layer():
    return ConditionalGaussian(MLP(()), 2)


def make_model(network=two_layers, num_inner=4, top=StandardNormal(2)):  # noqa: B008
    prior = HierarchicalPrior(
        2, num_samples=num_inner, encoder=network(), decoder=network(), top=top
    )
    decoder = GaussianDecoder(nn.Dense(2), shape=(2,), scale=0.8)
    return VAE(encoder=network(), decoder=decoder, prior=prior)


def random_params(model):
    """Random parameters, with encoders that are wider than their posteriors."""
    x, key = jnp.zeros((1, 2)), jax.random.key(0)
    params = jax.eval_shape(lambda: model.init(key, x, key))["params"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape)), params)
    for tree in (params, params["prior"], params["prior"].get("top", {})):
        if "encoder" in tree:
            tree["encoder"]["Dense_0"]["bias"] += jnp.array([0.0, 0.0, 0.3, 0.3])
    return params


X = np.array([[1.2, -0.7], [0.1, 0.9]])


class Pass(NamedTuple):
    """One naive pass: the gradient of its loss, and what was drawn on the way."""

    gradient: PyTree
    log_weights: Array  # [L, B]
    z: Array  # [L, B, D]
    zeta: Array  # [J, L, B, D]


def bound_loss(terms):
    return -jnp.mean(losses.importance_weighted_bound(terms.log_weights))


def naive_pass(model, params, x, key, num_outer) -> Pass:
    seen = []

    def record(next_function, args, kwargs, context):
        if context.module.path == ("prior", "decoder"):
            seen.append(args[0])
        return next_function(*args, **kwargs)

    def loss(params):
        with nn.intercept_methods(record):
            terms = model.apply({"params": params}, x, key, num_outer)
        return bound_loss(terms), (terms.log_weights, terms.latents[0], seen[0])

    gradient, drawn = jax.grad(loss, has_aux=True)(params)
    return Pass(gradient, *drawn)


def weighted_gradient(model, params, x, key, weights):
    """The model's gradient with weights [L, B] and its log_weights, for `naive_pass`'s samples."""

    def loss(params):
        terms = model.apply({"params": params}, x, key, len(weights), weights)
        return bound_loss(terms), terms.log_weights

    return jax.grad(loss, has_aux=True)(params)


# The same model again, as plain functions of arrays.


def gaussian(params, value):
    h = value @ params["trunk"]["kernel"] + params["trunk"]["bias"]
    out = h @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    return out[..., :2], jnp.exp(0.5 * out[..., 2:])


def log_normal(value, mean, std):
    return jnp.sum(
        -0.5 * ((value - mean) / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi), axis=-1
    )


def log_v(theta, zeta, z, posterior):
    log_prior = log_normal(zeta, jnp.zeros(2), jnp.ones(2))
    return log_normal(z, *gaussian(theta, zeta)) + log_prior - log_normal(zeta, *posterior)


def log_w(params, z, x, inner_noise, posterior):
    """log w of one z [D], ζ_j moving with z; `inner_noise` [J, D]. q(z|x)'s outputs are given."""
    mean, std = gaussian(params["prior"]["encoder"], z)
    log_vs = log_v(params["prior"]["decoder"], mean + std * inner_noise, z, (mean, std))
    h = z @ params["decoder"]["trunk"]["kernel"] + params["decoder"]["trunk"]["bias"]
    mean_x = h @ params["decoder"]["Dense_0"]["kernel"] + params["decoder"]["Dense_0"]["bias"]
    log_likelihood = log_normal(x, mean_x, jnp.full(2, 0.8))
    log_prior = logsumexp(log_vs) - jnp.log(len(inner_noise))
    return log_likelihood + log_prior - log_normal(z, *posterior)


def reparameterised(params, value, noise):
    mean, std = gaussian(params, value)
    return mean + std * noise


# One compilation each: the loops by hand call them for every sample.
weight, inner_weight = jax.jit(log_w), jax.jit(log_v)
dlogw_dz = jax.jit(jax.jacobian(log_w, argnums=1))
dlogw_dparams = jax.jit(jax.jacobian(log_w, argnums=0))
dlogv_dzeta = jax.jit(jax.jacobian(log_v, argnums=1))
dsample_dparams = jax.jit(jax.jacobian(reparameterised))


def q(params, value):
    return tuple(np.asarray(part) for part in jax.jit(gaussian)(params, value))


def add(total, coefficient, gradient):
    return jax.tree.map(lambda t, g: t + coefficient * np.asarray(g), total, gradient)


def chain(gradient, jacobian):
    return jax.tree.map(lambda jac: np.tensordot(gradient, jac, 1), jacobian)


def gradient_by_hand(params, z, zeta, given_weights):
    """Loops over examples b, outer samples l and inner samples j; `given_weights` maps w̃ to [L]."""
    Phi, Theta = params["prior"]["encoder"], params["prior"]["decoder"]
    total = jax.tree.map(np.zeros_like, params)
    d_phi, d_theta = total["encoder"], total["decoder"]
    d_Phi, d_Theta = total["prior"]["encoder"], total["prior"]["decoder"]
    for b, x in enumerate(X):
        z_b, zeta_b = z[:, b], zeta[:, :, b].swapaxes(0, 1)  # [L, D], [L, J, D]
        q_z, q_zeta = q(params["encoder"], x), [q(Phi, z_l) for z_l in z_b]
        noise = (z_b - q_z[0]) / q_z[1]
        inner_noise = [(zeta_l - m) / s for zeta_l, (m, s) in zip(zeta_b, q_zeta, strict=True)]
        outer = list(
            zip(z_b, itertools.repeat(x), inner_noise, itertools.repeat(q_z), strict=False)
        )
        w = scipy.special.softmax(np.array([weight(params, *args) for args in outer]))
        given = given_weights(w)
        for i, args in enumerate(outer):  # i is l
            d_z = dlogw_dz(params, *args)
            jacobian = dsample_dparams(params["encoder"], x, noise[i])
            d_phi = add(d_phi, w[i] * given[i], chain(d_z, jacobian))
            plain = dlogw_dparams(params, *args)
            d_theta = add(d_theta, w[i], plain["decoder"])
            d_Theta = add(d_Theta, w[i], plain["prior"]["decoder"])
            inner = [(zeta_ij, z_b[i], q_zeta[i]) for zeta_ij in zeta_b[i]]
            v = scipy.special.softmax(np.array([inner_weight(Theta, *args) for args in inner]))
            for j, args in enumerate(inner):
                jacobian = dsample_dparams(Phi, z_b[i], inner_noise[i][j])
                joint = w[i] * v[j] * given[i] * v[j]
                d_Phi = add(d_Phi, joint, chain(dlogv_dzeta(Theta, *args), jacobian))
    total = {"encoder": d_phi, "decoder": d_theta, "prior": {"encoder": d_Phi, "decoder": d_Theta}}
    return jax.tree.map(lambda leaf: -leaf / len(X), total)


def naive_and_dreg(model, num_outer):
    """key -> naive pass, doubly reparameterised gradient at its samples, and log_weights there."""
    params = random_params(model)

    def gradients(key):
        naive = naive_pass(model, params, X, key, num_outer)
        weights = losses.normalised_weights(naive.log_weights)
        return naive, *weighted_gradient(model, params, X, key, weights)

    return gradients


def wrong_gradient(params, naive: Pass):
    """For Φ, the outer weight unsquared: Σ_lj w̃_l ṽ_lj² (∂log v_lj/∂ζ_lj) ∂ζ_lj/∂Φ, by hand."""
    Phi, Theta = params["prior"]["encoder"], params["prior"]["decoder"]
    w = jax.nn.softmax(naive.log_weights, axis=0)
    q_zeta = gaussian(Phi, naive.z)
    noise = (naive.zeta - q_zeta[0]) / q_zeta[1]
    v = jax.nn.softmax(log_v(Theta, naive.zeta, naive.z, q_zeta), axis=0)
    d_zeta = jax.grad(lambda zeta: jnp.sum(log_v(Theta, zeta, naive.z, q_zeta)))(naive.zeta)
    pull_back = jax.vjp(lambda Phi: reparameterised(Phi, naive.z, noise), Phi)[1]
    return pull_back(-(w * v**2)[..., None] * d_zeta / len(X))[0]


def replicate(function, num_replicates):
    keys = jax.random.split(jax.random.key(7), num_replicates)
    return jax.jit(jax.vmap(function))(keys)


def flat(tree):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def largest_z_score(gradient, naive):
    """Largest |z| of their mean difference, over that allowed among all coordinates."""
    difference = flat(gradient) - flat(naive)
    return np.max(np.abs(z_scores(difference, 0.0))) / critical_value(difference.shape[1])


@functools.cache
def gradients_of_three_kinds():
    """Naive pass, DReG, weights of all ones, `wrong_gradient`, log_weights; 10,000 times, L = J = 4."""
    model = make_model()
    params, both = random_params(model), naive_and_dreg(model, num_outer=4)

    def everything(key):
        naive, dreg, log_weights = both(key)
        ones, _ = weighted_gradient(model, params, X, key, jnp.ones((4, len(X))))
        return naive, dreg, ones, wrong_gradient(params, naive), log_weights

    return replicate(everything, 10_000)


def test_each_realised_gradient_is_the_formula():
    """Φ: Σ_lj (w̃_l ṽ_lj)² ∂log v/∂ζ ∂ζ/∂Φ; φ: Σ_l w̃_l² dlog w/dz ∂z/∂φ; Θ, θ: Σ_l w̃_l ∂log w.

    Weights of all ones in the place of w̃ leave one factor w̃_l instead of two.
    """
    params, replicates = random_params(make_model()), gradients_of_three_kinds()
    for i in range(2):
        naive, dreg, ones, *_ = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), replicates)
        for gradient, given_weights in ((dreg, lambda w: w), (ones, np.ones_like)):
            jax.tree.map(
                lambda g, h: np.testing.assert_allclose(g, h, rtol=1e-9, atol=1e-12),
                gradient,
                gradient_by_hand(params, naive.z, naive.zeta, given_weights),
            )


def test_the_gradient_is_unbiased_and_the_wrong_weights_are_seen_not_to_be():
    drawn, dreg, ones, wrong, log_weights = gradients_of_three_kinds()
    naive = drawn.gradient
    np.testing.assert_allclose(log_weights, drawn.log_weights, rtol=1e-12)  # the same value
    for phi in (lambda g: g["encoder"], lambda g: g["prior"]["encoder"]):
        assert largest_z_score(phi(dreg), phi(naive)) < 1
        # They differ in every coordinate: this is not a comparison of zero with zero.
        assert np.min(np.std(flat(phi(dreg)) - flat(phi(naive)), axis=0)) > 1e-3
    assert largest_z_score(wrong, naive["prior"]["encoder"]) > 2
    assert largest_z_score(ones["encoder"], naive["encoder"]) > 2
    for theta in (lambda g: g["decoder"], lambda g: g["prior"]["decoder"]):
        np.testing.assert_allclose(flat(theta(dreg)), flat(theta(naive)), rtol=1e-9, atol=1e-12)


def test_the_gradient_is_unbiased_with_a_hierarchical_prior_on_top():
    top = HierarchicalPrior(2, num_samples=2, encoder=one_layer(), decoder=one_layer())
    naive, dreg, _ = replicate(naive_and_dreg(make_model(one_layer, top=top), num_outer=4), 5_000)
    for phi in (
        lambda g: g["encoder"],
        lambda g: g["prior"]["encoder"],
        lambda g: g["prior"]["top"]["encoder"],
    ):
        assert largest_z_score(phi(dreg), phi(naive.gradient)) < 1
        assert np.min(np.std(flat(phi(dreg)) - flat(phi(naive.gradient)), axis=0)) > 1e-3
    for theta in (
        lambda g: g["decoder"],
        lambda g: g["prior"]["decoder"],
        lambda g: g["prior"]["top"]["decoder"],
    ):
        np.testing.assert_allclose(
            flat(theta(dreg)), flat(theta(naive.gradient)), rtol=1e-9, atol=1e-12
        )


def test_its_variance_is_lower_at_many_samples():
    naive, dreg, _ = replicate(naive_and_dreg(make_model(num_inner=16), num_outer=16), 300)
    for phi in (lambda g: g["encoder"], lambda g: g["prior"]["encoder"]):
        naive_variance, variance = (
            np.sum(np.var(flat(phi(g)), axis=0)) for g in (naive.gradient, dreg)
        )
        assert variance < 0.5 * naive_variance


def test_parameters_can_be_made_with_weights_too():
    model, x, key = make_model(), X[:1], jax.random.key(0)
    init = lambda weights: model.init(key, x, key, 3, weights)  # noqa: E731
    shapes = [jax.eval_shape(init, weights) for weights in (None, jnp.ones((3, 1)))]
    assert shapes[0] == shapes[1]


def test_the_two_passes_over_the_inner_samples_share_their_computation():
    prior = HierarchicalPrior(4, num_samples=8, hidden=(64, 64))
    z, key = jnp.ones((10, 5, 4)), jax.random.key(0)
    variables = jax.eval_shape(prior.init, key, z)

    def flops(weights):
        def total(variables, z):
            return jnp.sum(prior.apply(variables, z, Given(key, weights)))

        lowered = jax.jit(jax.grad(total, argnums=(0, 1))).lower(variables, z)
        return lowered.compile().cost_analysis()["flops"]

    assert flops(jnp.full((10, 5), 0.1)) < 1.06 * flops(None)  # apart they would be 1.32


def test_a_vamp_prior_on_top_cannot_start_at_the_data():
    top = VampPrior(2, (3,), num_components=4, from_data=True)
    with pytest.raises(ValueError, match=r"pseudo-inputs are latent vectors: set top\.from_data"):
        HierarchicalPrior(3, top=top)

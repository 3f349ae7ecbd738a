"""The VAE's terms by hand, its gradient estimators at a simple prior, and shared encoders."""

from __future__ import annotations

import functools

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value
from scipy.special import log_expit

from vaelab import losses
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import (
    GTM,
    AutoregressivePrior,
    FlowPrior,
    GaussianMixture,
    Given,
    HierarchicalPrior,
    Prior,
    StandardNormal,
    VampPrior,
)

K, B, D = 3, 4, 2
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 2, size=(B, 3, 2, 1)).astype(np.float32)


class NoisePrior(Prior):
    """log_prob is standard normal noise: with z's own key it would be z's own noise."""

    def log_prob(self, z, given=Given()):
        return jax.random.normal(given.key, z.shape)[..., 0]

    def sample(self, key, num_samples, given=Given()):
        return jax.random.normal(key, (num_samples, self.latent_dim))


def make_encoder():
    return ConditionalGaussian(MLP((4,), event_ndims=3), D)


def make_model(prior=None, decoder=BernoulliDecoder):
    encoder = make_encoder()
    prior = prior(encoder) if prior else StandardNormal(D)
    return VAE(encoder=encoder, decoder=decoder(MLP((4,)), shape=(3, 2, 1)), prior=prior)


def dense(params, h):
    return h @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def random_params(model, seed=1):
    x, key = jnp.asarray(IMAGES), jax.random.key(0)
    shapes = jax.eval_shape(lambda: model.init(key, x, key))["params"]
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, params, key, num_samples, weights=None):
    return model.apply({"params": params}, IMAGES, key, num_samples, weights)


@functools.partial(jax.jit, static_argnums=(0, 3))
def run_and_encode(model, params, key, num_samples):
    """Terms, and log q(z|x) [K, B], mean and standard deviation [B, D] of the posterior."""
    terms = run(model, params, key, num_samples)
    posterior = model.apply({"params": params}, IMAGES, method="encode")
    log_q = posterior.log_prob(terms.latents[0])
    return terms, log_q, posterior.mean(), posterior.stddev()


@pytest.mark.parametrize("decoder", [BernoulliDecoder, GaussianDecoder])
@pytest.mark.parametrize(
    "prior",
    [None, lambda _: HierarchicalPrior(D, num_samples=2, hidden=(3,))],
    ids=["standard normal", "hierarchical"],
)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_shapes_of_the_terms(decoder, prior, num_samples):
    model, key = make_model(prior, decoder), jax.random.key(0)

    def call(key):
        terms = model.init_with_output(key, IMAGES, key, num_samples)[0]
        assert terms.likelihood.batch_shape == (num_samples, B)
        assert terms.likelihood.event_shape == (3, 2, 1)
        return terms._replace(likelihood=None), terms.total_rate, terms.log_weights

    terms, total_rate, log_weights = jax.eval_shape(call, key)
    for array in (terms.distortion, *terms.rate, total_rate, log_weights):
        assert array.shape == (num_samples, B)
    assert [z.shape for z in terms.latents] == [(num_samples, B, D)]
    assert [kl if kl is None else kl.shape for kl in terms.kl] == [None if prior else (B, D)]


@pytest.mark.parametrize("decoder", [BernoulliDecoder, GaussianDecoder])
def test_log_weights_are_log_joint_minus_log_posterior(decoder):
    model = make_model(decoder=decoder)
    params = random_params(model)
    terms, _, mean, std = run_and_encode(model, params, jax.random.key(0), K)
    mean, std, z = (np.asarray(v, np.float64) for v in (mean, std, terms.latents[0]))
    rate = scipy.stats.norm.logpdf(z, mean, std).sum(-1) - scipy.stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(terms.rate[0], rate, rtol=1e-4, atol=1e-5)
    h = np.maximum(dense(params["decoder"]["trunk"]["Dense_0"], z), 0.0)
    output = dense(params["decoder"]["Dense_0"], h).reshape(K, B, 3, 2, 1)
    if decoder is BernoulliDecoder:
        log_likelihood = IMAGES * log_expit(output) + (1 - IMAGES) * log_expit(-output)
    else:
        log_likelihood = scipy.stats.norm.logpdf(IMAGES, output, 0.1)
    distortion = -log_likelihood.sum((-3, -2, -1))
    np.testing.assert_allclose(terms.distortion, distortion, rtol=1e-5)
    np.testing.assert_allclose(terms.log_weights, -distortion - rate, rtol=1e-5, atol=1e-4)
    kl = 0.5 * (mean**2 + std**2 - 1) - np.log(std)
    np.testing.assert_allclose(terms.kl[0], kl, rtol=1e-4, atol=1e-6)


def test_with_one_sample_the_importance_weighted_bound_is_the_elbo():
    model = make_model()
    terms = run(model, random_params(model), jax.random.key(0), 1)
    elbo = losses.elbo(terms.distortion, terms.total_rate)
    bound = losses.importance_weighted_bound(terms.log_weights)
    np.testing.assert_allclose(bound, elbo, rtol=1e-6)


def test_latents_follow_the_posterior_and_the_prior_has_a_key_of_its_own():
    model = make_model(lambda _: NoisePrior(D))
    params = random_params(model)
    terms, log_q, mean, std = run_and_encode(model, params, jax.random.key(0), 5000)
    noise = np.asarray((terms.latents[0] - mean) / std).reshape(-1, B * D)
    prior_noise = np.asarray(log_q - terms.rate[0])  # [K, B]
    columns = np.concatenate([noise, noise**2, prior_noise], axis=1)
    for column in noise.T:
        assert scipy.stats.kstest(column, "norm").pvalue > 1e-3 / (B * D)
    independent = np.abs(np.corrcoef(columns.T)) < critical_value(columns.shape[1] ** 2) / 5000**0.5
    assert np.all(independent | np.eye(columns.shape[1], dtype=bool))


def test_weights_give_the_gradients_of_the_bounds_in_losses():
    """All ones are sticking the landing; the normalised weights of a first pass are DReG."""
    model, key = make_model(), jax.random.key(2)
    params = random_params(model)
    first, _, *_ = run_and_encode(model, params, key, K)
    z, normalised = first.latents[0], losses.normalised_weights(first.log_weights)

    def by_hand(params, bound):
        posterior = model.apply({"params": params}, IMAGES, method="encode").distribution
        mean, std = posterior.loc, posterior.scale
        noise = jax.lax.stop_gradient((z - mean) / std)
        constant_mean, constant_std = jax.lax.stop_gradient((mean, std))

        def log_weights(z):
            log_normal = jax.scipy.stats.norm.logpdf
            mean = model.at(params).decode((z,)).mean()
            log_likelihood = IMAGES * jnp.log(mean) + (1 - IMAGES) * jnp.log1p(-mean)
            log_rate = log_normal(z, constant_mean, constant_std) - log_normal(z)
            return jnp.sum(log_likelihood, (-3, -2, -1)) - jnp.sum(log_rate, -1)

        return jnp.mean(bound(log_weights, mean + std * noise))

    def ours(params, weights):
        terms = run(model, params, key, K, weights)
        return jnp.mean(losses.importance_weighted_bound(terms.log_weights))

    ours, by_hand = jax.jit(jax.grad(ours)), jax.jit(jax.grad(by_hand), static_argnums=1)
    for bound, weights in (
        (losses.sticking_the_landing_bound, jnp.ones((K, B))),
        (losses.doubly_reparameterised_bound, normalised),
    ):
        gradient, expected = ours(params, weights), by_hand(params, bound)
        assert jax.tree.structure(gradient) == jax.tree.structure(params)
        jax.tree.map(
            lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-6), gradient, expected
        )


def test_samples_and_their_density_are_the_priors():
    model = make_model(decoder=GaussianDecoder)
    bound, key = model.at(random_params(model)), jax.random.key(5)
    (z,) = bound.sample_latents(key, 7)
    np.testing.assert_array_equal(z, StandardNormal(D).apply({}, key, 7, method="sample"))
    log_prob = bound.log_prior((z,))
    np.testing.assert_array_equal(log_prob, StandardNormal(D).apply({}, z, method="log_prob"))


def test_an_encoder_that_takes_pixels_for_examples_is_refused():
    encoder = ConditionalGaussian(MLP((4,), event_ndims=1), dim=D)
    decoder = BernoulliDecoder(MLP((4,)), shape=(3, 2, 1))
    model = VAE(encoder=encoder, decoder=decoder, prior=StandardNormal(D))
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="set event_ndims of its trunk to the number of axes"):
        jax.eval_shape(lambda: model.init(key, IMAGES, key))


def test_dimensions_of_encoder_and_prior_must_agree():
    with pytest.raises(ValueError, match=r"encoder\.dim = 2 and prior\.latent_dim = 3 must be"):
        VAE(
            encoder=make_encoder(),
            decoder=BernoulliDecoder(MLP((4,)), shape=(3, 2, 1)),
            prior=StandardNormal(3),
        )


def test_an_encoder_of_unknown_size_must_agree_with_the_prior_too():
    """An array of latents too wide for the prior would be evaluated, wrongly."""

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            mean = nn.Dense(3)(x.reshape(len(x), -1))
            return distrax.Independent(distrax.Normal(mean, jnp.ones_like(mean)), 1)

    for prior in (
        StandardNormal(2),
        GaussianMixture(2),
        GTM(2),
        FlowPrior(2),
        HierarchicalPrior(2),
    ):
        model = VAE(Encoder(), BernoulliDecoder(MLP((4,)), shape=(3, 2, 1)), prior)
        with pytest.raises(ValueError, match=r"3 latent coordinates and prior\.latent_dim = 2"):
            jax.eval_shape(lambda key, model=model: model.init(key, IMAGES, key), jax.random.key(0))


def test_no_samples_are_refused():
    model = make_model()
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        jax.eval_shape(lambda key: model.init(key, IMAGES, key, 0), jax.random.key(0))
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        model.at({}).sample_latents(jax.random.key(0), 0)


@pytest.mark.parametrize("prior", [StandardNormal, GaussianMixture, AutoregressivePrior, GTM])
def test_a_prior_has_at_least_one_coordinate(prior):
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        prior(0)


def test_a_shared_encoder_gathers_the_gradients_of_both_its_uses():
    prior, key = VampPrior(D, (3, 2, 1), num_components=3), jax.random.key(1)
    shared = make_model(lambda _: prior)
    separate = make_model(lambda _: prior.clone(encoder=make_encoder()))
    params = random_params(shared)
    inside = jax.random.uniform(
        key, params["prior"]["pseudo_inputs"].shape
    )  # of the range: not cut
    params = params | {"prior": {"pseudo_inputs": inside}}
    twice = params | {"prior": params["prior"] | {"encoder": params["encoder"]}}

    def gradient(model, params):
        elbo = lambda params: jnp.mean(run(model, params, key, K).log_weights)  # noqa: E731
        return jax.jit(jax.value_and_grad(elbo))(params)

    value, once = gradient(shared, params)
    value_of_two, two = gradient(separate, twice)
    np.testing.assert_allclose(value, value_of_two, rtol=1e-6)
    for part in (two["encoder"], two["prior"]["encoder"]):
        assert all(np.any(np.abs(leaf) > 1e-4) for leaf in jax.tree.leaves(part))
    jax.tree.map(
        lambda g, model_s, prior_s: np.testing.assert_allclose(
            g, model_s + prior_s, rtol=1e-4, atol=1e-6
        ),
        once["encoder"],
        two["encoder"],
        two["prior"]["encoder"],
    )

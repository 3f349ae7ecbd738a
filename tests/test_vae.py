"""The VAE's terms by hand, its gradient estimators at a simple prior, and shared encoders."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.scipy.special import logsumexp
from scipy.special import log_expit

from vaelab import losses
from vaelab.models import VAE
from vaelab.networks import MLP, BernoulliDecoder, ConditionalGaussian, GaussianDecoder
from vaelab.priors import HierarchicalPrior, Prior, StandardNormal

K, B, D = 3, 4, 2
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 2, size=(B, 3, 2, 1)).astype(np.float32)


class PseudoInputPrior(Prior):
    """A small VampPrior, 1/M Σ_m q(z|u_m), that holds the encoder of the model."""

    encoder: nn.Module = None  # type: ignore[assignment]
    num_components: int = 3

    def setup(self):
        shape = (self.num_components, 3, 2, 1)
        self.pseudo_inputs = self.param("pseudo_inputs", nn.initializers.normal(1.0), shape)

    def log_prob(self, z, key=None, weights=None):
        del key, weights
        components = self.encoder(self.pseudo_inputs)
        return logsumexp(components.log_prob(z[..., None, :]), -1) - jnp.log(self.num_components)

    def sample(self, key, num_samples):
        index_key, z_key = jax.random.split(key)
        index = jax.random.randint(index_key, (num_samples,), 0, self.num_components)
        return self.encoder(self.pseudo_inputs[index]).sample(seed=z_key)


class NoisePrior(Prior):
    """log_prob is standard normal noise, made with the key and nothing else."""

    def log_prob(self, z, key=None, weights=None):
        del weights
        return jax.random.normal(key, z.shape[:-1])


def make_encoder():
    return ConditionalGaussian(MLP((4,), event_ndims=3), D)


def make_model(prior=None, decoder=BernoulliDecoder):
    encoder = make_encoder()
    prior = prior(encoder) if prior else StandardNormal(D)
    return VAE(encoder=encoder, decoder=decoder(MLP((4,)), shape=(3, 2, 1)), prior=prior)


def random_params(model, seed=1):
    x, key = jnp.asarray(IMAGES), jax.random.key(0)
    shapes = jax.eval_shape(lambda: model.init(key, x, key))["params"]
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, shapes)


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, params, key, num_samples, weights=None):
    return model.apply({"params": params}, IMAGES, key, num_samples, weights)


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
    terms = run(model, params, jax.random.key(0), K)
    posterior = model.apply({"params": params}, IMAGES, method="encode")
    mean, std = (
        np.asarray(v, np.float64)
        for v in (posterior.distribution.loc, posterior.distribution.scale)
    )
    z = np.asarray(terms.latents[0], np.float64)
    rate = scipy.stats.norm.logpdf(z, mean, std).sum(-1) - scipy.stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(terms.rate[0], rate, rtol=1e-4, atol=1e-5)
    likelihood = model.apply({"params": params}, terms.latents[0], method="decode")
    if decoder is BernoulliDecoder:
        logits = np.asarray(likelihood.distribution.logits, np.float64)
        log_likelihood = IMAGES * log_expit(logits) + (1 - IMAGES) * log_expit(-logits)
    else:
        log_likelihood = scipy.stats.norm.logpdf(IMAGES, np.asarray(likelihood.mean(), float), 0.1)
    distortion = -log_likelihood.sum((-3, -2, -1))
    np.testing.assert_allclose(terms.distortion, distortion, rtol=1e-5)
    np.testing.assert_allclose(terms.log_weights, -distortion - rate, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.mean(terms.likelihood.mean()), np.mean(likelihood.mean()), 1e-5)
    kl = 0.5 * (mean**2 + std**2 - 1) - np.log(std)
    np.testing.assert_allclose(terms.kl[0], kl, rtol=1e-4, atol=1e-6)


def test_latents_follow_the_posterior():
    model = make_model()
    params = random_params(model)
    posterior = model.apply({"params": params}, IMAGES, method="encode").distribution
    z = np.asarray(run(model, params, jax.random.key(0), 20_000).latents[0], np.float64)
    noise = (z - np.asarray(posterior.loc)) / np.asarray(posterior.scale)
    for column in noise.reshape(len(z), -1).T:
        assert scipy.stats.kstest(column, "norm").pvalue > 1e-3 / (B * D)
    correlation = np.corrcoef(noise.reshape(len(z), -1).T) - np.eye(B * D)
    assert np.max(np.abs(correlation)) < 4.5 / np.sqrt(len(z))


def test_with_one_sample_the_importance_weighted_bound_is_the_elbo():
    model = make_model()
    terms = run(model, random_params(model), jax.random.key(0), 1)
    elbo = losses.elbo(terms.distortion, terms.total_rate)
    bound = losses.importance_weighted_bound(terms.log_weights)
    np.testing.assert_allclose(bound, elbo, rtol=1e-6)


def test_the_prior_s_key_is_not_the_posterior_s():
    model = make_model(lambda _: NoisePrior(D))
    terms = run(model, random_params(model), jax.random.key(0), 5000)
    posterior = model.apply({"params": random_params(model)}, IMAGES, method="encode")
    noise = (terms.latents[0] - posterior.distribution.loc) / posterior.distribution.scale
    prior_noise = np.asarray(posterior.log_prob(terms.latents[0]) - terms.rate[0]).ravel()
    for column in np.asarray(noise).reshape(-1, D).T:
        for other in (column, column**2):
            correlation = np.corrcoef(other, prior_noise)[0, 1]
            assert abs(correlation) < 4 / np.sqrt(len(column))


def test_weights_change_no_value():
    model = make_model(lambda _: HierarchicalPrior(D, num_samples=2, hidden=(3,)))
    params, key = random_params(model), jax.random.key(0)
    plain = run(model, params, key, K)
    weighted = run(model, params, key, K, losses.normalised_weights(plain.log_weights))
    for name in ("distortion", "rate", "latents"):
        pair = jax.tree.leaves(getattr(plain, name)), jax.tree.leaves(getattr(weighted, name))
        for a, b in zip(*pair, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "bound", [losses.sticking_the_landing_bound, losses.doubly_reparameterised_bound]
)
def test_weights_give_the_gradients_of_the_bounds_in_losses(bound):
    """All ones are sticking the landing; the normalised weights of a first pass are DReG."""
    model, key = make_model(), jax.random.key(2)
    params = random_params(model)
    z = run(model, params, key, K).latents[0]

    def by_hand(params):
        posterior = model.apply({"params": params}, IMAGES, method="encode").distribution
        mean, std = posterior.loc, posterior.scale
        noise = jax.lax.stop_gradient((z - mean) / std)
        constant_mean, constant_std = jax.lax.stop_gradient((mean, std))

        def log_weights(z):
            log_normal = jax.scipy.stats.norm.logpdf
            logits = model.apply({"params": params}, z, method="decode").distribution.logits
            log_likelihood = IMAGES * jax.nn.log_sigmoid(logits)
            log_likelihood += (1 - IMAGES) * jax.nn.log_sigmoid(-logits)
            log_rate = log_normal(z, constant_mean, constant_std) - log_normal(z)
            return jnp.sum(log_likelihood, (-3, -2, -1)) - jnp.sum(log_rate, -1)

        return -jnp.mean(bound(log_weights, mean + std * noise))

    def ours(params):
        weights = jnp.ones((K, B))
        if bound is losses.doubly_reparameterised_bound:
            weights = losses.normalised_weights(run(model, params, key, K).log_weights)
        terms = run(model, params, key, K, weights)
        return -jnp.mean(losses.importance_weighted_bound(terms.log_weights))

    gradient, expected = jax.jit(
        lambda params: (jax.grad(ours)(params), jax.grad(by_hand)(params))
    )(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    jax.tree.map(
        lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-6), gradient, expected
    )


def test_samples_are_decoded_prior_samples():
    model = make_model(decoder=GaussianDecoder)
    variables, key = {"params": random_params(model)}, jax.random.key(5)
    likelihood = model.apply(variables, key, 7, method="sample")
    assert (likelihood.batch_shape, likelihood.event_shape) == ((7,), (3, 2, 1))
    z = StandardNormal(D).apply({}, key, 7, method="sample")
    decoded = model.apply(variables, z, method="decode")
    np.testing.assert_allclose(likelihood.mean(), decoded.mean(), rtol=1e-6)


def test_dimensions_of_encoder_and_prior_must_agree():
    with pytest.raises(ValueError, match=r"encoder\.dim = 2 and prior\.latent_dim = 3 must be"):
        VAE(
            encoder=make_encoder(),
            decoder=BernoulliDecoder(MLP((4,)), shape=(3, 2, 1)),
            prior=StandardNormal(3),
        )


def make_shared():
    return make_model(lambda encoder: PseudoInputPrior(D, encoder=encoder))


def test_a_shared_encoder_is_in_the_tree_once_and_under_the_model():
    model, key = make_shared(), jax.random.key(0)
    params = jax.eval_shape(lambda: model.init(key, IMAGES, key))["params"]
    assert set(params) == {"encoder", "decoder", "prior"}
    assert set(params["prior"]) == {"pseudo_inputs"}
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    assert sum("encoder" in jax.tree_util.keystr(path) for path, _ in paths) == 4
    # Also where the prior uses it first, and none of the model's other parts are used.
    from_samples = jax.eval_shape(lambda: model.init(key, key, 2, method="sample"))["params"]
    assert from_samples["encoder"] == params["encoder"]
    assert set(from_samples["prior"]) == {"pseudo_inputs"}


def test_a_shared_encoder_gathers_the_gradients_of_both_its_uses():
    shared, key = make_shared(), jax.random.key(1)
    separate = make_model(lambda _: PseudoInputPrior(D, encoder=make_encoder()))
    params = random_params(shared)
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

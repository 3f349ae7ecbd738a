"""Bounds and their gradients against the linear-Gaussian oracle, by hand, and by enumeration."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import LinearGaussian, critical_value, within_confidence, z_scores

from vaelab import constraints, losses
from vaelab.checks import UsageError

B, N, D = 3, 4, 2
MODEL = LinearGaussian.random(0, num_dims=N, latent_dim=D, sigma=0.8)
X = MODEL.sample(1, B)
# An encoder near the posterior but not on it, wider than it so that the weights have moments.
MEAN = MODEL.posterior_mean(X) + np.array([0.2, -0.15])
LOG_STD = np.broadcast_to(0.5 * np.log(2.5 * MODEL.best_diagonal_variance), (B, D)).copy()
ENCODER = {"mean": MEAN, "log_std": LOG_STD}
DECODER = {"weight": MODEL.weight, "bias": MODEL.bias}


@pytest.fixture(autouse=True)
def _float64_without_rank_promotion():
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        yield


def log_normal(value, mean, std):
    """Σ over the last axis of log N(value; mean, std²)."""
    return jnp.sum(
        -0.5 * ((value - mean) / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi), axis=-1
    )


def parts(decoder, encoder, z):
    """Distortion and rate [K, B] of the linear-Gaussian model at z [K, B, D]."""
    location = z @ decoder["weight"].T + decoder["bias"][None, None]
    distortion = -log_normal(X[None], location, jnp.full((1, 1, 1), MODEL.sigma))
    std = jnp.exp(encoder["log_std"])[None]
    one = jnp.ones((1, 1, 1))
    return distortion, log_normal(z, encoder["mean"][None], std) - log_normal(z, 0 * one, one)


def reparameterise(encoder, noise):
    return encoder["mean"][None] + jnp.exp(encoder["log_std"])[None] * noise


def log_weights(decoder, encoder, z):
    distortion, rate = parts(decoder, encoder, z)
    return -(distortion + rate)


def naive(decoder, encoder, noise):
    z = reparameterise(encoder, noise)
    return jnp.sum(losses.importance_weighted_bound(log_weights(decoder, encoder, z)))


def stopped(bound, decoder, encoder, noise):
    """A bound whose log q holds the encoder constant."""
    constant = jax.lax.stop_gradient(encoder)
    log_weight_fn = functools.partial(log_weights, decoder, constant)
    return jnp.sum(bound(log_weight_fn, reparameterise(encoder, noise)))


stl = functools.partial(stopped, losses.sticking_the_landing_bound)
dreg = functools.partial(stopped, losses.doubly_reparameterised_bound)


def replicate_gradients(estimator, num_samples, num_replicates):
    """Gradients for (decoder, encoder) of independent replicates, flat [num_replicates, ...]."""

    @jax.jit
    @jax.vmap
    def gradient(key):
        noise = jax.random.normal(key, (num_samples, B, D))
        return jax.grad(estimator, argnums=(0, 1))(DECODER, ENCODER, noise)

    decoder, encoder = gradient(jax.random.split(jax.random.key(0), num_replicates))
    return flat(decoder), flat(encoder)


def flat(tree):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def draw_parts(num_samples):
    """Distortion and rate of z ~ q(z|x), [num_samples, B] in numpy."""
    noise = np.random.default_rng(2).standard_normal((num_samples, B, D))
    draw = jax.jit(lambda noise: parts(DECODER, ENCODER, reparameterise(ENCODER, noise)))
    return jax.tree.map(np.asarray, draw(noise))


def test_oracle_agrees_with_scipy_and_with_itself():
    covariance = MODEL.weight @ MODEL.weight.T + MODEL.sigma**2 * np.eye(N)
    expected = scipy.stats.multivariate_normal(MODEL.bias, covariance).logpdf(X)
    np.testing.assert_allclose(MODEL.log_prob(X), expected, rtol=1e-12)
    best = np.broadcast_to(MODEL.best_diagonal_variance, (B, D))
    mean = MODEL.posterior_mean(X)
    elbo = MODEL.elbo(X, mean, best)
    np.testing.assert_allclose(MODEL.log_prob(X) - elbo, MODEL.best_diagonal_gap, rtol=1e-10)
    for factor in (0.9, 1.1):
        assert np.all(MODEL.elbo(X, mean, factor * best) < elbo)
        assert np.all(MODEL.elbo(X, factor * mean, best) < elbo)


def test_elbo_equals_the_oracle():
    distortion, rate = draw_parts(100_000)
    per_sample = jax.vmap(lambda d, r: losses.elbo(d[None], r[None]))(distortion, rate)
    expected = MODEL.elbo(X, MEAN, np.exp(2 * LOG_STD))
    assert np.all(within_confidence(per_sample, expected))
    np.testing.assert_allclose(losses.elbo(distortion, rate), np.mean(per_sample, 0), rtol=1e-10)


def test_elbo_in_closed_form_equals_the_oracle_at_a_lower_variance():
    distortion, rate = draw_parts(100_000)
    kl = MODEL.kl(MEAN, np.exp(2 * LOG_STD))
    closed = jax.vmap(lambda d: losses.elbo_closed_form(d[None], kl))(distortion)
    assert np.all(within_confidence(closed, MODEL.elbo(X, MEAN, np.exp(2 * LOG_STD))))
    exact = MODEL.distortion(X, MEAN, np.exp(2 * LOG_STD))[None]
    np.testing.assert_allclose(
        losses.elbo_closed_form(exact, kl), MODEL.elbo(X, MEAN, np.exp(2 * LOG_STD)), rtol=1e-12
    )
    sampled = -(distortion + rate)
    # Their difference has the rate's expectation on both sides.
    assert np.all(within_confidence(sampled - closed, 0.0))


@pytest.mark.parametrize("beta", [0.25, 4.0])
def test_beta_weighs_the_rate(beta):
    rng = np.random.default_rng(0)
    distortion, rate = rng.normal(size=(2, 5, B))
    kl = rng.gamma(1.0, size=(B, D))
    expected = [
        -np.mean([d + beta * r for d, r in zip(*c, strict=True)])
        for c in zip(distortion.T, rate.T, strict=True)
    ]
    np.testing.assert_allclose(losses.elbo(distortion, rate, beta=beta), expected, rtol=1e-12)
    expected = -distortion.mean(0) - beta * kl.sum(1)
    np.testing.assert_allclose(
        losses.elbo_closed_form(distortion, kl, beta=beta), expected, rtol=1e-12
    )


def test_elbo_of_the_exact_posterior_has_no_variance():
    """With q(z|x) = p(z|x), possible at D = 1, every log weight is log p(x)."""
    model = LinearGaussian.random(3, num_dims=N, latent_dim=1, sigma=0.5)
    x = model.sample(4, 1)
    mean, std = model.posterior_mean(x), np.sqrt(model.posterior_covariance)
    z = mean[None] + std * np.random.default_rng(0).standard_normal((7, 1, 1))
    norm = scipy.stats.norm
    distortion = -norm.logpdf(x, z @ model.weight.T + model.bias, model.sigma).sum(-1)
    rate = (norm.logpdf(z, mean, std) - norm.logpdf(z)).sum(-1)
    np.testing.assert_allclose(losses.elbo(distortion, rate), model.log_prob(x), rtol=1e-12)
    np.testing.assert_allclose(
        losses.importance_weighted_bound(-(distortion + rate)), model.log_prob(x), rtol=1e-12
    )


def test_importance_weighted_bound_with_one_sample_is_the_elbo():
    distortion, rate = draw_parts(1)
    bound = losses.importance_weighted_bound(-(distortion + rate))
    np.testing.assert_array_equal(bound, losses.elbo(distortion, rate))


def test_importance_weighted_bound_reaches_the_evidence():
    distortion, rate = draw_parts(400_000)
    log_w = -(distortion + rate)
    weights = np.exp(log_w - MODEL.log_prob(X))  # of expectation one
    assert np.all(within_confidence(weights, 1.0))
    error = losses.importance_weighted_bound(log_w) - MODEL.log_prob(X)
    standard_error = np.std(weights, axis=0) / np.sqrt(len(weights))  # delta method
    assert np.all(np.abs(error) < critical_value(B) * standard_error)
    assert np.all(standard_error < 0.005)


def test_importance_weighted_bound_grows_with_the_number_of_samples():
    """L_K ≤ L_2K ≤ log p(x), paired: two bounds of K samples against one of the same 2K."""
    distortion, rate = draw_parts(2**17)
    log_w = -(distortion + rate)
    bounds = {}
    for K in (1, 2, 4, 8, 16, 32):
        replicates = log_w.reshape(-1, K, B)
        bounds[K] = np.asarray(jax.jit(jax.vmap(losses.importance_weighted_bound))(replicates))
    for K in (1, 2, 4, 8, 16):
        gain = bounds[2 * K] - bounds[K].reshape(-1, 2, B).mean(1)
        assert np.all(gain >= -1e-12)  # Jensen's inequality, for every pair
        assert np.all(z_scores(gain, 0.0) > critical_value(B))
        below = z_scores(bounds[K], MODEL.log_prob(X))
        assert np.all(below < critical_value(B))


def test_importance_weighted_bound_survives_extreme_weights():
    log_w = np.array([[-2000.0, 3000.0], [-2001.0, -3000.0]])
    expected = [-2000 + np.log1p(np.exp(-1)) - np.log(2), 3000 - np.log(2)]
    np.testing.assert_allclose(losses.importance_weighted_bound(log_w), expected, rtol=1e-15)


def test_normalised_weights_are_constants_that_sum_to_one():
    log_w = np.random.default_rng(0).normal(size=(6, B), scale=3.0)
    w = np.exp(log_w)
    np.testing.assert_allclose(losses.normalised_weights(log_w), w / w.sum(0), rtol=1e-12)
    gradient = jax.grad(lambda v: jnp.sum(losses.normalised_weights(v) ** 2))(log_w)
    np.testing.assert_array_equal(gradient, np.zeros_like(log_w))


def test_the_three_bounds_have_one_value():
    noise = np.random.default_rng(0).standard_normal((5, B, D))
    expected = naive(DECODER, ENCODER, noise)
    np.testing.assert_allclose(stl(DECODER, ENCODER, noise), expected, rtol=1e-13)
    np.testing.assert_allclose(dreg(DECODER, ENCODER, noise), expected, rtol=1e-13)


def test_doubly_reparameterised_gradient_equals_the_formula_by_hand():
    """Σ_k w̃_k² (dlog w_k/dz_k) ∂z_k/∂φ for the encoder, Σ_k w̃_k ∂log w_k/∂θ for the decoder."""
    noise = np.random.default_rng(0).standard_normal((6, B, D))
    decoder, encoder = jax.jit(jax.grad(dreg, argnums=(0, 1)))(DECODER, ENCODER, noise)
    expected = {"mean": np.zeros((B, D)), "log_std": np.zeros((B, D))}
    weight, bias = np.zeros((N, D)), np.zeros(N)
    for b in range(B):
        std = np.exp(LOG_STD[b])
        z = MEAN[b] + std * noise[:, b]
        residual = (
            X[b] - z @ MODEL.weight.T - MODEL.bias
        ) / MODEL.sigma**2  # ∂log p(x|z)/∂(Wz + b)
        log_w = (
            scipy.stats.norm.logpdf(X[b], z @ MODEL.weight.T + MODEL.bias, MODEL.sigma).sum(1)
            + scipy.stats.norm.logpdf(z).sum(1)
            - scipy.stats.norm.logpdf(z, MEAN[b], std).sum(1)
        )
        w = np.exp(log_w) / np.exp(log_w).sum()
        for k in range(6):
            slope = MODEL.weight.T @ residual[k] - z[k] + (z[k] - MEAN[b]) / std**2
            expected["mean"][b] += w[k] ** 2 * slope
            expected["log_std"][b] += w[k] ** 2 * slope * std * noise[k, b]
            weight += w[k] * np.outer(residual[k], z[k])
            bias += w[k] * residual[k]
    for name, value in expected.items():
        np.testing.assert_allclose(encoder[name], value, rtol=1e-9)
    np.testing.assert_allclose(decoder["weight"], weight, rtol=1e-9)
    np.testing.assert_allclose(decoder["bias"], bias, rtol=1e-9)


def test_doubly_reparameterised_gradient_is_unbiased():
    naive_decoder, naive_encoder = replicate_gradients(naive, 4, 40_000)
    dreg_decoder, dreg_encoder = replicate_gradients(dreg, 4, 40_000)
    assert np.all(within_confidence(dreg_encoder - naive_encoder, 0.0))
    assert np.all(np.std(dreg_encoder, 0) < np.std(naive_encoder, 0))
    # The decoder's gradient is the naive one, sample for sample, not only in expectation.
    np.testing.assert_allclose(dreg_decoder, naive_decoder, rtol=1e-8, atol=1e-10)


def test_sticking_the_landing_is_unbiased_for_one_sample_and_biased_for_more():
    for num_samples, unbiased in ((1, True), (8, False)):
        naive_decoder, naive_encoder = replicate_gradients(naive, num_samples, 20_000)
        stl_decoder, stl_encoder = replicate_gradients(stl, num_samples, 20_000)
        difference = stl_encoder - naive_encoder
        if unbiased:
            assert np.all(within_confidence(difference, 0.0))
        else:
            assert np.max(np.abs(z_scores(difference, 0.0))) > 30
        np.testing.assert_allclose(stl_decoder, naive_decoder, rtol=1e-8, atol=1e-10)


def test_with_one_sample_doubly_reparameterised_is_sticking_the_landing():
    noise = np.random.default_rng(0).standard_normal((1, B, D))
    expected = jax.jit(jax.grad(stl, argnums=(0, 1)))(DECODER, ENCODER, noise)
    actual = jax.jit(jax.grad(dreg, argnums=(0, 1)))(DECODER, ENCODER, noise)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), actual, expected)


def test_gradients_equal_those_of_the_bound_by_quadrature():
    """E L_2 for one latent dimension on a grid of both samples, differentiated numerically."""
    weight, x, sigma = 1.5, 0.7, 0.6
    nodes, mass = np.polynomial.hermite_e.hermegauss(80)
    mass = mass / mass.sum()
    norm = scipy.stats.norm

    def bound(mean, log_std):
        z = mean + np.exp(log_std) * nodes
        log_w = norm.logpdf(x, weight * z, sigma) + norm.logpdf(z)
        log_w = log_w - norm.logpdf(z, mean, np.exp(log_std))
        pairs = np.logaddexp(log_w[:, None], log_w[None, :]) - np.log(2)
        return mass @ pairs @ mass

    phi, h = np.array([0.5, -0.4]), 1e-5
    expected = [
        (bound(phi[0] + h, phi[1]) - bound(phi[0] - h, phi[1])) / (2 * h),
        (bound(phi[0], phi[1] + h) - bound(phi[0], phi[1] - h)) / (2 * h),
    ]

    def log_w(phi, z):
        one = jnp.ones((1, 1, 1))
        return (
            log_normal(x * one, weight * z, sigma * one)
            + log_normal(z, 0 * one, one)
            - log_normal(z, phi[0] * one, jnp.exp(phi[1]) * one)
        )

    def sample_of(estimate):
        def gradient(key):
            noise = jax.random.normal(key, (2, 1, 1))
            return jax.grad(lambda p: estimate(p, p[0] + jnp.exp(p[1]) * noise)[0])(
                jnp.asarray(phi)
            )

        return jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(5), 100_000))

    def partially(bound):
        return sample_of(lambda p, z: bound(functools.partial(log_w, jax.lax.stop_gradient(p)), z))

    naive = sample_of(lambda p, z: losses.importance_weighted_bound(log_w(p, z)))
    assert np.all(within_confidence(naive, expected))
    assert np.all(within_confidence(partially(losses.doubly_reparameterised_bound), expected))
    stl_scores = z_scores(partially(losses.sticking_the_landing_bound), expected)
    assert np.max(np.abs(stl_scores)) > 30


def test_signal_to_noise_grows_with_samples_only_when_doubly_reparameterised():
    """Naive ∝ 1/√K, DReG ∝ √K: Rainforth et al., 2018; Tucker et al., 2019, figure 1."""
    samples = (8, 32, 128)
    naive_snr, dreg_snr = [], []
    for K in samples:
        encoder = replicate_gradients(dreg, K, 1_000)[1]
        mean = np.mean(encoder, 0)  # both estimators have it, and DReG knows it better
        dreg_snr.append(np.abs(mean) / np.std(encoder, 0))
        naive_snr.append(np.abs(mean) / np.std(replicate_gradients(naive, K, 1_000)[1], 0))
    slope = functools.partial(np.polyfit, np.log(samples), deg=1)
    np.testing.assert_allclose(slope(np.mean(np.log(dreg_snr), 1))[0], 0.5, atol=0.15)
    np.testing.assert_allclose(slope(np.mean(np.log(naive_snr), 1))[0], -0.5, atol=0.15)


def test_the_two_passes_of_doubly_reparameterised_share_their_computation():
    decoder = {"first": jnp.ones((D, 16)) / 4, "second": jnp.ones((16, N)) / 16}

    def loss(bound, decoder, mean, noise):
        def log_weight_fn(z):
            location = jnp.tanh(z @ decoder["first"]) @ decoder["second"]
            constant = jax.lax.stop_gradient(mean)[None]
            return -jnp.sum((X[None] - location) ** 2, -1) + 0.5 * jnp.sum((z - constant) ** 2, -1)

        return jnp.sum(bound(log_weight_fn, mean[None] + noise))

    def lower(bound):
        function = jax.jit(jax.grad(functools.partial(loss, bound), argnums=(0, 1)))
        return function.lower(decoder, MEAN, np.zeros((32, B, D)))

    once = lower(losses.sticking_the_landing_bound)
    twice = lower(losses.doubly_reparameterised_bound)
    # Written down twice ...
    assert twice.as_text().count("dot_general") == once.as_text().count("dot_general") + 2
    # ... and compiled once: the matrix products dominate, the weights' scaling is the rest.
    flops = [lowered.compile().cost_analysis()["flops"] for lowered in (once, twice)]
    assert flops[1] < 1.05 * flops[0]


def test_scale_gradient_is_the_identity_with_a_scaled_gradient():
    rng = np.random.default_rng(0)
    z, scale, cotangent = (
        rng.normal(size=(5, B, D)),
        rng.normal(size=(5, B)),
        rng.normal(size=(5, B, D)),
    )
    value, pullback = jax.vjp(losses.scale_gradient, z, scale)
    np.testing.assert_array_equal(value, z)
    z_bar, scale_bar = pullback(cotangent)
    np.testing.assert_array_equal(z_bar, cotangent * np.repeat(scale[..., None], D, axis=-1))
    np.testing.assert_array_equal(scale_bar, np.zeros_like(scale))


def test_free_bits_by_hand():
    kl = np.array([[0.1, 3.0, 0.0], [0.5, 1.0, 0.0]])  # means 0.3, 2, 0
    np.testing.assert_allclose(losses.free_bits(kl, free_nats=0.5), 0.5 + 2.0 + 0.5, rtol=1e-12)
    np.testing.assert_allclose(losses.free_bits(kl, free_nats=0.0), 2.3, rtol=1e-12)
    # Free coordinates get no gradient, the others that of their mean.
    gradient = jax.grad(functools.partial(losses.free_bits, free_nats=0.5))(kl)
    np.testing.assert_array_equal(gradient, [[0.0, 0.5, 0.0], [0.0, 0.5, 0.0]])


def test_multiplier_gradient_of_the_lagrangian_is_the_mean_constraint():
    rng = np.random.default_rng(0)
    rate, re, nll = rng.normal(size=(3, 5, B))
    multipliers = {"re": 2.0, "nll": 0.3}

    def loss(multipliers):
        return jnp.mean(losses.lagrangian(rate, {"re": re, "nll": nll}, multipliers))

    value, gradient = jax.value_and_grad(loss)(multipliers)
    np.testing.assert_allclose(value, rate.mean() + 2.0 * re.mean() + 0.3 * nll.mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient["re"], re.mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient["nll"], nll.mean(), rtol=1e-12)


def test_lagrangian_without_constraints_is_the_rate():
    rate = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(losses.lagrangian(rate, {}, {}), rate.mean(0), rtol=1e-12)


def test_lagrangian_refuses_different_names():
    rate = jnp.zeros((1, 1))
    message = r"constraints \['nll'\] and multipliers \['re'\] must have the same names\."
    with pytest.raises(ValueError, match=message):
        losses.lagrangian(rate, {"nll": rate}, {"re": jnp.array(1.0)})


def test_lagrangian_of_the_likelihood_is_the_negative_elbo_at_multiplier_one():
    """C = distortion − const: exact at λ = 1; for λ < 1, −L/λ after the constant is a lower bound."""
    distortion, rate = draw_parts(10)
    kappa = 0.7
    constraint = constraints.negative_log_likelihood(distortion, kappa=kappa, num_dims=N)
    elbo = losses.elbo(distortion, rate)

    def value(multiplier):
        return losses.lagrangian(rate, {"nll": constraint}, {"nll": multiplier})

    np.testing.assert_allclose(value(1.0), -elbo - N * kappa, rtol=1e-10)
    exact = MODEL.elbo(X, MEAN, np.exp(2 * LOG_STD))
    kl = MODEL.kl(MEAN, np.exp(2 * LOG_STD)).sum(1)[None]
    exact_constraint = MODEL.distortion(X, MEAN, np.exp(2 * LOG_STD))[None] - N * kappa
    for multiplier, side in ((0.5, -1), (2.0, 1)):
        total = losses.lagrangian(kl, {"nll": exact_constraint}, {"nll": multiplier})
        bound = -(total + multiplier * N * kappa) / multiplier
        assert np.all(side * (bound - exact) > 0)


@pytest.mark.parametrize("multiplier", [0.03, 0.5, 1.0, 70.0])
def test_lagrangian_of_the_reconstruction_error_is_an_elbo_at_every_multiplier(multiplier):
    """−ELBO = L + λDκ² + (D/2) log(π/λ), of a Gaussian decoder with σ² = 1/(2λ)."""
    rng = np.random.default_rng(0)
    K, shape, kappa = 4, (3, 5, 2), 0.1
    x, location = rng.normal(size=(B, *shape)), rng.normal(size=(K, B, *shape))
    rate = rng.normal(size=(K, B))
    std = np.sqrt(1 / (2 * multiplier))
    distortion = -scipy.stats.norm.logpdf(x, location, std).sum((2, 3, 4))
    with jax.numpy_rank_promotion("allow"):  # x has no sample axis
        constraint = constraints.reconstruction_error(x, location, kappa=kappa)
    value = losses.lagrangian(rate, {"re": constraint}, {"re": multiplier})
    num_dims = 30
    offset = multiplier * num_dims * kappa**2 + num_dims / 2 * np.log(np.pi / multiplier)
    np.testing.assert_allclose(value + offset, -losses.elbo(distortion, rate), rtol=1e-10)


def test_an_average_over_no_samples_is_refused():
    none = jnp.zeros((0, B))
    for call in (
        lambda: losses.elbo(none, none),
        lambda: losses.elbo_closed_form(none, jnp.zeros((B, D))),
        lambda: losses.importance_weighted_bound(none),
        lambda: losses.lagrangian(none, {}, {}),
    ):
        with pytest.raises(ValueError, match="num_samples must be at least 1"):
            call()


def test_shapes_are_checked_at_the_door():
    one, two = jnp.zeros((2, B)), jnp.zeros((B,))
    calls = [
        lambda: losses.elbo(two, two),
        lambda: losses.elbo(one, jnp.zeros((2, B + 1))),
        lambda: losses.elbo_closed_form(one, jnp.zeros((B + 1, D))),
        lambda: losses.free_bits(two, free_nats=0.1),
        lambda: losses.importance_weighted_bound(two),
        lambda: losses.sticking_the_landing_bound(lambda z: z[..., 0], one),
        lambda: losses.doubly_reparameterised_bound(lambda z: z[..., 0], one),
        lambda: losses.scale_gradient(jnp.zeros((2, B, D)), two),
        lambda: losses.lagrangian(one, {"re": two}, {"re": 1.0}),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=r"must be an array \[|must be the same"):
            call()

"""Top-down hierarchies: the flat VAE, products of densities, closed forms, enumeration, gradients."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value, z_scores
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

from vaelab import evaluation, losses
from vaelab.checks import UndefinedError, UsageError
from vaelab.evaluation import Subject
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE, AllLevels, BottomLevel, TopDownVAE
from vaelab.networks import (
    MLP,
    AdditiveEncoder,
    BernoulliUnits,
    ConditionalGaussian,
    Downsample,
    GaussianUnits,
    IndependentEncoder,
    LowerPriors,
    TopDownEncoder,
)
from vaelab.priors import (
    BernoulliPrior,
    HierarchicalPrior,
    ResampledPrior,
    StandardNormal,
    VampPrior,
)
from vaelab.training.objectives import DisARM
from vaelab.types import Examples

SHAPE, B, K, KEY = (2, 3, 1), 3, 4, jax.random.key(0)
X = np.random.default_rng(0).integers(0, 2, (B, *SHAPE)).astype(np.float32)
LINEAR = MLP(())


def net(width=4):
    return MLP((width,), activation=jnp.tanh)


def model(units, encoder, prior, **fields) -> TopDownVAE:
    lower_priors = LowerPriors(tuple(net() for _ in units[1:]))
    decoder = BernoulliDecoder(net(), SHAPE)
    return TopDownVAE(units, encoder, lower_priors, decoder, prior, **fields)


GAUSSIANS, BITS = (
    (GaussianUnits(2, None), GaussianUnits(3, None)),
    (BernoulliUnits(2), BernoulliUnits(3)),
)
ENCODERS = {
    "shared": lambda: AdditiveEncoder((net(), net())),
    "merged on top": lambda: AdditiveEncoder((net(), net()), merge_top=True),
    "mean field": lambda: IndependentEncoder((net(), net())),
    "conditional": lambda: TopDownEncoder((net(), net()), above=(net(),)),
}


@functools.cache
def random_params(model, x=None, scale=0.6):
    x = X if x is None else np.zeros(x, np.float32)
    shapes = jax.eval_shape(lambda: model.init(KEY, x, KEY))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32), shapes
    )


def test_one_level_equals_the_flat_vae():
    """Values and gradients of three objectives, at the same parameters and keys."""
    flat = VAE(
        ConditionalGaussian(net(), 2), BernoulliDecoder(net(), SHAPE), VampPrior(2, SHAPE, 3)
    )
    ours = model(GAUSSIANS[:1], AdditiveEncoder((net(),)), VampPrior(2, SHAPE, 3))
    params = random_params(flat)

    def as_ours(params):
        encoder = params["encoder"]
        inference = {"trunks_0": encoder["trunk"], "heads_0": encoder["Dense_0"]}
        return {"encoder": inference, "decoder": params["decoder"], "prior": params["prior"]}

    assert jax.tree.structure(as_ours(params)) == jax.tree.structure(random_params(ours))

    @jax.jit
    def values_and_gradients(params):
        def objectives(bound):
            terms = bound(X, KEY, K)
            weights = losses.normalised_weights(terms.log_weights)
            weighted = bound(X, KEY, K, weights)
            bounds = [losses.importance_weighted_bound(t.log_weights) for t in (terms, weighted)]
            return jnp.stack([jnp.mean(v) for v in (terms.log_weights, *bounds)])

        makers = (flat.at, lambda params: ours.at(as_ours(params)))
        both = [lambda params, at=at: objectives(at(params)) for at in makers]
        return [(f(params), jax.jacrev(f)(params)) for f in both]

    expected, actual = values_and_gradients(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected
    )


def test_the_shared_posterior_is_the_normalised_product_of_prior_and_evidence():
    units = (GaussianUnits(1), GaussianUnits(1))
    ours = model(units, AdditiveEncoder((net(), net())), StandardNormal(1))
    bound = ours.at(random_params(ours))
    encoding, above = bound.encode(X), jnp.full((B, 1), 0.7)
    prior, posterior = bound._conditionals(1, encoding, above)
    evidence = units[1].family(encoding[1])
    z = np.linspace(-30, 30, 60_001)[:, None, None]
    product = np.exp(np.asarray(prior.log_prob(z) + evidence.log_prob(z), np.float64))
    product /= product.sum(0) * (z[1, 0, 0] - z[0, 0, 0])
    np.testing.assert_allclose(np.exp(posterior.log_prob(z)), product, atol=2e-4 * product.max())


def test_kl_of_each_level_equals_quadrature_and_enumeration():
    for units, prior in (
        ((GaussianUnits(1),) * 2, StandardNormal(1)),
        ((BernoulliUnits(1),) * 2, BernoulliPrior(1)),
    ):
        ours = model(units, AdditiveEncoder((net(), net()), merge_top=True), prior)
        bound = ours.at(random_params(ours))
        terms = bound(X, KEY, 1)
        encoding = bound.encode(X)
        top = bound.prior.coordinates()
        top = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (B, 1)), top)
        pairs = (
            (top, bound._posterior(0, encoding)),
            bound._conditionals(1, encoding, terms.latents[0][0]),
        )
        for level, b in itertools.product((0, 1), range(B)):
            p, q = pairs[level]
            parameters = lambda family, b=b: [float(leaf[b, 0]) for leaf in jax.tree.leaves(family)]  # noqa: E731
            if units[1].discrete:
                (a,), (c,) = parameters(q), parameters(p)
                q1, p1 = expit(a), expit(c)
                expected = q1 * np.log(q1 / p1) + (1 - q1) * np.log((1 - q1) / (1 - p1))
            else:
                (m, v), (n, w) = parameters(q), parameters(p)
                first, second = norm(m, np.exp(v / 2)), norm(n, np.exp(w / 2))
                integrand = lambda z, f=first, s=second: f.pdf(z) * (f.logpdf(z) - s.logpdf(z))  # noqa: E731
                expected = quad(integrand, m - 12 * first.std(), m + 12 * first.std())[0]
            np.testing.assert_allclose(terms.kl[level][b, 0], expected, rtol=1e-4, atol=1e-6)


def linear_gaussian():
    """z_0 ~ N(0, 1), z_1 = A z_0 + a + e, x = C z_1 + c + ε, with its encoder q(z_0|x) q(z_1|x, z_0)."""
    rng = np.random.default_rng(3)
    ours = TopDownVAE(
        units=(GaussianUnits(1), GaussianUnits(2)),
        encoder=TopDownEncoder((LINEAR, LINEAR), above=(LINEAR,)),
        lower_priors=LowerPriors((LINEAR,)),
        decoder=GaussianDecoder(LINEAR, (3,), scale=0.5, learned=False),
        prior=StandardNormal(1),
    )
    params = jax.tree.map(np.array, random_params(ours, (1, 3)))
    head = params["lower_priors"]["heads_0"]
    head["kernel"][:, 2:] = 0  # a constant variance
    A, a, variance = head["kernel"][:, :2].T, head["bias"][:2], np.exp(head["bias"][2:])
    (dense,) = params["decoder"].values()
    C, c = dense["kernel"].T, dense["bias"]
    x = rng.normal(size=(5, 3)).astype(np.float32)
    cov_z = A @ A.T + np.diag(variance)
    cov = C @ cov_z @ C.T + 0.25 * np.eye(3)
    exact = multivariate_normal(C @ a + c, cov).logpdf(x)
    # A sensible encoder: the exact posterior means, and twice the exact deviations.
    joint = np.block([[np.eye(1), A.T], [A, cov_z]])
    cross = np.vstack([A.T @ C.T, cov_z @ C.T])  # cov((z_0, z_1), x)
    gain = cross @ np.linalg.inv(cov)
    posterior = joint - gain @ cross.T
    offset = np.concatenate([np.zeros(1), a]) - gain @ (C @ a + c)
    inference = params["encoder"]
    top, below = inference["heads_0"], inference["heads_1"]
    top["kernel"][:], top["bias"][:] = 0, [offset[0], np.log(2 * posterior[0, 0])]
    top["kernel"][:, :1] = gain[:1].T
    slope = posterior[1:, :1] / posterior[0, 0]
    below["kernel"][:] = 0
    below["kernel"][:3, :2] = (gain[1:] - slope @ gain[:1]).T
    below["kernel"][3:, :2] = slope.T
    below["bias"][:2] = offset[1:] - slope[:, 0] * offset[0]
    below["bias"][2:] = np.log(2 * np.diag(posterior[1:, 1:] - slope @ posterior[:1, 1:]))
    return Subject(ours, params, x), exact


def test_log_likelihood_of_a_linear_gaussian_chain_is_the_closed_form():
    subject, exact = linear_gaussian()
    estimate = evaluation.log_likelihood(subject, KEY, num_samples=20_000)
    np.testing.assert_allclose(estimate.log_prob, exact, atol=0.02)
    assert estimate.effective_sample_size > 1000


def states(dims):
    return np.array(list(itertools.product([0.0, 1.0], repeat=sum(dims))), np.float32)


def enumerated(ours, params, x) -> np.ndarray:
    """log p(x) by the sum over all bits."""
    latents = tuple(np.split(states(ours.latent_dims), np.cumsum(ours.latent_dims)[:-1], axis=1))

    @jax.jit
    def log_joint(params):
        bound = ours.at(params)
        return [bound.decode(latents).log_prob(x_n[None]) + bound.log_prior(latents) for x_n in x]

    return logsumexp(np.asarray(log_joint(params), np.float64), axis=1)


def log_bits(logits, bits) -> float:
    """log p(bits) of independent bits, by numpy in float64."""
    signs = 2 * np.asarray(bits, np.float64) - 1
    return -np.logaddexp(0, -signs * np.asarray(logits, np.float64)).sum()


def test_the_exact_log_likelihood_and_elbo_equal_a_loop_over_all_states():
    """4 + 3 bits and networks without hidden layers, from their weights. Neither batches nor chunks divide evenly."""
    units = (BernoulliUnits(4), BernoulliUnits(3))
    encoder = IndependentEncoder((LINEAR, LINEAR))
    decoder = BernoulliDecoder(LINEAR, SHAPE)
    ours = TopDownVAE(units, encoder, LowerPriors((LINEAR,)), decoder, BernoulliPrior(4))
    params = random_params(ours, scale=1.0)
    found = evaluation.exact_log_likelihood(Subject(ours, params, X), batch_size=2, chunk_size=24)
    below = params["lower_priors"]["heads_0"]
    (pixels,) = params["decoder"].values()
    evidence = ours.at(params).encode(X)
    for b, x in enumerate(X.reshape(B, -1)):
        log_joint, log_q = [], []
        for top, bottom in itertools.product(states((4,)), states((3,))):
            log_z = log_bits(params["prior"]["logits"], top)
            log_z += log_bits(top @ below["kernel"] + below["bias"], bottom)
            logits = (bottom @ pixels["kernel"] + pixels["bias"]).ravel()
            log_joint.append(log_z + log_bits(logits, x))
            log_q.append(log_bits(evidence[0][b], top) + log_bits(evidence[1][b], bottom))
        log_px, q = logsumexp(log_joint), np.exp(log_q)
        elbo = q @ (np.array(log_joint) - log_q)
        ours_b = [found.log_prob[b], found.elbo[b], found.gap[b]]
        np.testing.assert_allclose(ours_b, [log_px, elbo, log_px - elbo], rtol=1e-5)
    assert found.num_states == 128
    np.testing.assert_allclose(found.mean, found.log_prob.mean())


@pytest.mark.parametrize("reads", [BottomLevel(), AllLevels()])
def test_the_exact_log_likelihood_is_that_of_a_posterior_over_two_levels(reads):
    """q(z_1|x, z_0) depends on z_0; the estimate with 20,000 samples has the mean of the exact ELBO."""
    ours = model(BITS, AdditiveEncoder((net(), net())), BernoulliPrior(2), reads=reads)
    subject = Subject(ours, random_params(ours, scale=1.0), X)
    found = evaluation.exact_log_likelihood(subject)
    np.testing.assert_allclose(found.log_prob, enumerated(ours, subject.params, X), rtol=1e-5)
    log_weights = np.asarray(ours.at(subject.params)(X, KEY, 20_000).log_weights, np.float64)
    assert np.all(np.abs(z_scores(log_weights, found.elbo)) < critical_value(B))


def test_only_few_bits_are_enumerated():
    units = (BernoulliUnits(16), BernoulliUnits(5))
    ours = model(units, AdditiveEncoder((net(), net())), BernoulliPrior(16))
    with pytest.raises(UsageError) as error:
        evaluation.exact_log_likelihood(Subject(ours, {}, X))
    assert str(error.value) == (
        "the number of bits of TopDownVAE, latent_dims = (16, 5), must be at most 20 for enumeration, got "
        "21: a table of 1,000 examples and 2^21 states needs 16.8 GB, so choose fewer latents or estimate "
        "log p(x) by sampling."
    )
    mixed = (BernoulliUnits(2), GaussianUnits(2))
    ours = model(mixed, AdditiveEncoder((net(), net())), BernoulliPrior(2))
    with pytest.raises(
        UndefinedError, match="level 1 of TopDownVAE is not Bernoulli, so its states"
    ):
        evaluation.exact_log_likelihood(Subject(ours, {}, X))


@pytest.mark.parametrize("reads", [BottomLevel(), AllLevels()])
def test_annealing_and_importance_sampling_over_all_bits_agree_with_enumeration(reads):
    ours = model(BITS, AdditiveEncoder((net(), net())), BernoulliPrior(2), reads=reads)
    params = random_params(ours, scale=1.5)
    weak = jax.tree.map(lambda leaf: 0.2 * leaf, params["encoder"])  # weights without large tails
    subject = Subject(ours, params | {"encoder": weak}, X)
    exact = enumerated(ours, subject.params, X)
    plain = evaluation.log_likelihood(subject, KEY, num_samples=20_000)
    np.testing.assert_allclose(plain.log_prob, exact, atol=0.05)
    annealed = evaluation.annealed_importance_sampling(
        subject, KEY, num_chains=500, num_temperatures=20, num_leapfrogs=3
    )
    np.testing.assert_allclose(annealed.log_prob, exact, atol=0.05)
    start = evaluation.annealed_importance_sampling(
        subject, KEY, num_chains=500, num_temperatures=1, num_leapfrogs=1
    )
    assert annealed.effective_sample_size > start.effective_sample_size


def test_annealing_moves_bits_and_gaussian_levels_of_one_model():
    units = (BernoulliUnits(2), GaussianUnits(2))
    ours = model(units, AdditiveEncoder((net(), net())), BernoulliPrior(2))
    subject = Subject(ours, random_params(ours, scale=1.0), X)
    # Quadrature over the noise of z_1 for each z_0.
    line = np.linspace(-7, 7, 141)
    noise = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    log_mass = norm.logpdf(noise).sum(-1) + 2 * np.log(line[1] - line[0])

    @jax.jit
    def log_joint(params, top):
        bound = ours.at(params)
        below = bound.lower_priors(ours.units[1], 1, jnp.broadcast_to(top, noise.shape)).at(noise)
        log_likelihood = bound.decode((jnp.broadcast_to(top, noise.shape)[:, None], below[:, None]))
        return bound.prior.log_prob(top), log_likelihood.log_prob(X)

    values = []
    for top in states((2,)):
        log_prior, log_likelihood = log_joint(subject.params, top)
        values.append(float(log_prior) + np.asarray(log_likelihood, np.float64) + log_mass[:, None])
    exact = logsumexp(np.concatenate(values), axis=0)
    annealed = evaluation.annealed_importance_sampling(
        subject, KEY, num_chains=2000, num_temperatures=20, num_leapfrogs=3
    )
    assert annealed.effective_sample_size > 1000
    np.testing.assert_allclose(annealed.log_prob, exact, atol=0.08)  # 3 / √1000


@pytest.mark.parametrize("encoder", ["shared", "conditional"])
def test_the_doubly_reparameterised_gradient_has_the_mean_of_the_naive_one(encoder):
    ours = model(GAUSSIANS, ENCODERS[encoder](), StandardNormal(2))
    params = random_params(ours)

    def naive(params, key):
        return jnp.mean(losses.importance_weighted_bound(ours.at(params)(X, key, K).log_weights))

    def double(params, key):
        weights = losses.normalised_weights(ours.at(params)(X, key, K).log_weights)
        log_weights = ours.at(params)(X, key, K, weights).log_weights
        return jnp.mean(losses.importance_weighted_bound(log_weights))

    @jax.jit
    def gradients(key):
        def flat(f):
            leaves = jax.tree.leaves(jax.grad(f)(params, key))
            return jnp.concatenate([g.ravel() for g in leaves])

        return flat(naive), flat(double), naive(params, key) - double(params, key)

    first, second, difference = jax.lax.map(gradients, jax.random.split(KEY, 6000), batch_size=500)
    np.testing.assert_allclose(difference, 0, atol=2e-5)
    scores = z_scores(first - second, np.zeros(first.shape[1]))
    scores = scores[np.std(first, axis=0) > 1e-6]
    assert np.all(np.abs(scores) < critical_value(len(scores)))


def test_disarm_has_the_gradient_of_the_enumerated_elbo():
    """All parameters, of two levels with the prior in the posterior, rates in closed form."""
    ours = model(BITS, AdditiveEncoder((net(), net()), merge_top=True), BernoulliPrior(2))
    params, x = random_params(ours), X[:1]
    bits = states(ours.latent_dims)[:, None]
    latents = tuple(jnp.asarray(z) for z in np.split(bits, [2], axis=-1))

    def exact(params):
        bound = ours.at(params)
        log_q = bound.log_posterior(bound.encode(x), latents)
        log_joint = bound.log_prior(latents) + bound.decode(latents).log_prob(x)
        return -jnp.sum(jnp.exp(log_q) * (log_joint - log_q))

    def estimate(params, key):
        return DisARM()(ours.at(params), {}, Examples(x), key, jnp.asarray(0))[0]

    flat = lambda tree: jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])  # noqa: E731
    expected = flat(jax.jit(jax.grad(exact))(params))
    one = jax.jit(lambda key: flat(jax.grad(estimate)(params, key)))
    drawn = jax.lax.map(one, jax.random.split(KEY, 20_000), batch_size=1000)
    scores = z_scores(drawn, expected)[np.std(drawn, axis=0) > 1e-7]
    assert np.all(np.abs(scores) < critical_value(len(scores)))
    terms = ours.at(params).antithetic_terms(ours.at(params).encode(x), x, KEY)[0]
    assert all(kl is not None for kl in terms.kl)


def test_log_variances_stay_in_their_range_with_a_gradient():
    parameters = jnp.array([0.0, 0.0, 0.0, -1e4, 30.0, 0.1])
    values = GaussianUnits(3, (-6.0, 2.0)).family(parameters)
    assert np.all((values.log_variance >= -6) & (values.log_variance <= 2))
    middle = GaussianUnits(1, (-12.0, 12.0))
    slope = jax.grad(lambda v: middle.family(jnp.stack([0.0, v])).log_variance[0])
    np.testing.assert_allclose([slope(0.0), slope(12.0)], [1.0, 1 - np.tanh(1) ** 2], rtol=1e-5)


def test_a_sample_of_bits_is_straight_through():
    ours = model(BITS, AdditiveEncoder((net(), net())), BernoulliPrior(2))
    params = random_params(ours)

    @jax.jit
    def top(bias):
        changed = jax.tree.map(lambda leaf: leaf, params)
        changed["encoder"]["heads_0"]["bias"] = bias
        bound = ours.at(changed)
        encoding = bound.encode(X)
        return bound.terms(encoding, X, KEY, 1).latents[0][0], encoding[0]

    bias = params["encoder"]["heads_0"]["bias"]
    bits, logits = top(bias)
    assert set(np.unique(bits)) <= {0.0, 1.0}
    slope = jax.jit(jax.jacobian(lambda b: top(b)[0]))(bias)  # [B, D, D]
    expected = np.eye(2) * (expit(logits) * expit(-logits))[..., None]
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-7)


def test_levels_of_a_mean_field_posterior_have_their_own_density():
    ours = model(GAUSSIANS, IndependentEncoder((net(), net())), StandardNormal(2))
    bound = ours.at(random_params(ours))

    @jax.jit
    def densities(params):
        bound = ours.at(params)
        terms, encoding = bound(X, KEY, K), bound.encode(X)
        pairs = enumerate(terms.latents)
        levels = [bound.level_posterior(encoding, level).log_prob(z) for level, z in pairs]
        return sum(levels), bound.log_posterior(encoding, terms.latents), terms.latents, encoding

    log_q, expected, latents, encoding = densities(random_params(ours))
    np.testing.assert_allclose(log_q, expected, rtol=1e-5)
    with pytest.raises(UndefinedError, match="level 1 of TopDownVAE has no density of its own"):
        bound.level_log_prior(latents[1], 1)
    shared = model(GAUSSIANS, AdditiveEncoder((net(), net())), StandardNormal(2))
    with pytest.raises(UndefinedError, match="depends on the samples of the levels above"):
        shared.at(random_params(shared)).level_posterior(encoding, 1)


def test_groups_depend_on_what_the_posterior_contains():
    """The distortion depends on the chain and the prior only through a posterior that contains them."""
    groups = {}
    for name, encoder in ENCODERS.items():
        ours = model(GAUSSIANS, encoder(), VampPrior(2) if "top" not in name else StandardNormal(2))
        found = ours.parameter_groups(
            dict.fromkeys(("encoder", "lower_priors", "decoder", "prior"))
        )
        groups[name] = (found["lower_priors"], found["prior"])
        assert found["encoder"] == found["decoder"] == "model"
    assert groups["shared"] == ("model", "prior")
    assert groups["merged on top"] == ("model", "model")
    assert groups["mean field"] == groups["conditional"] == ("prior", "prior")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model((), AdditiveEncoder((net(),)), StandardNormal(2)), "units must hold at least one level"),
        (lambda: AdditiveEncoder(()), "encoder.trunks holds no network: give one network for each level"),
        (lambda: TopDownEncoder(()), "encoder.trunks holds no network"),
        (lambda: AdditiveEncoder(net()), r"encoder.trunks must be a tuple of Flax modules, such as .*, got MLP"),
        (lambda: model(GAUSSIANS, net(), StandardNormal(2)), "encoder must be a HierarchyEncoder, such as .*, got MLP"),
        (lambda: TopDownVAE(GAUSSIANS, AdditiveEncoder((net(), net())), (net(),), BernoulliDecoder(net(), SHAPE), StandardNormal(2)), "lower_priors must be a LowerPriors, such as"),
        (lambda: model(GAUSSIANS, AdditiveEncoder((net(), net())), StandardNormal(2), reads="all"), "reads must be a DecoderInput, such as models.AllLevels"),
        (lambda: model((2, 3), AdditiveEncoder((net(), net())), StandardNormal(2)), "got 2"),
        (lambda: GaussianUnits(0), "dim must be at least 1"),
        (lambda: model(GAUSSIANS, AdditiveEncoder((net(),)), StandardNormal(2)), "encoder.trunks holds 1 network, and the model has 2 levels"),
        (lambda: model(GAUSSIANS, TopDownEncoder((net(), net())), StandardNormal(2)), r"encoder.above holds 0 networks, and the number of levels below the top is 1: .* such as above=\(networks.MLP\(\(32,\)\),\)\."),
        (lambda: model(GAUSSIANS, AdditiveEncoder((net(), net())), StandardNormal(5)), r"units\[0\].dim = 2 and prior.latent_dim = 5"),
        (lambda: model(BITS, AdditiveEncoder((net(), net())), StandardNormal(2)), "is a prior over real numbers: use priors.BernoulliPrior"),
        (lambda: model(GAUSSIANS, AdditiveEncoder((net(), net())), BernoulliPrior(2)), "are real numbers, and prior = BernoulliPrior is a prior over bits: use priors.StandardNormal"),
        (lambda: model(GAUSSIANS, AdditiveEncoder((net(), net()), merge_top=True), VampPrior(2)), "needs a prior with natural parameters, and VampPrior has none"),
        (lambda: TopDownVAE(GAUSSIANS, AdditiveEncoder((net(), net())), LowerPriors(()), BernoulliDecoder(net(), SHAPE), StandardNormal(2)), "lower_priors.trunks holds 0 networks, and the number of levels below the top is 1"),
        (lambda: HierarchicalPrior(2, top=BernoulliPrior(2)), "top = BernoulliPrior is a prior over bits"),
        (lambda: ResampledPrior(2, proposal=BernoulliPrior(2)), "proposal = BernoulliPrior is a prior over bits"),
        (lambda: VAE(ConditionalGaussian(net(), 2), BernoulliDecoder(net(), SHAPE), BernoulliPrior(2)), "prior = BernoulliPrior is a prior over bits"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [IndependentEncoder, AdditiveEncoder, TopDownEncoder])
def test_trunks_may_be_convolutional(kind):
    """A trunk reads the maps of the trunk below, and the head of a level reads all their values."""
    above = {"above": (net(),), "from_x": False} if kind is TopDownEncoder else {}
    encoder = kind((MLP((4,), event_ndims=3), Downsample(2)), **above)
    ours = model(GAUSSIANS, encoder, StandardNormal(2))
    shapes = jax.eval_shape(lambda: ours.init_with_output(KEY, X, KEY, K))
    assert [z.shape for z in shapes[0].latents] == [(K, B, 2), (K, B, 3)]


def test_weights_are_refused_by_bits():
    ours = model(BITS, AdditiveEncoder((net(), net())), BernoulliPrior(2))
    with pytest.raises(ValueError, match="Bernoulli levels has no doubly reparameterised gradient"):
        ours.at(random_params(ours))(X, KEY, K, jnp.ones((K, B)))

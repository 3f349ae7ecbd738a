"""Objectives against float64 formulas, identities among them, and the sentences of reports."""

from __future__ import annotations

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import within_confidence
from scipy.special import logsumexp

from vaelab import priors
from vaelab.constraints import NLL, RE
from vaelab.likelihoods import Bernoulli, BernoulliDecoder, GaussianDecoder, Pixels
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.training.objectives import (
    ELBO,
    AnnealedVariance,
    DisARM,
    DoublyReparameterised,
    ImportanceWeighted,
    Lagrangian,
    StickingTheLanding,
    SymmetricLearning,
)
from vaelab.types import Examples, Terms

K, B, D = 3, 5, 2
X = jnp.asarray(np.random.default_rng(1).integers(0, 2, (B, 4, 4, 1)), jnp.float32)
KEY = jax.random.key(3)


def vae(prior):
    return VAE(
        encoder=ConditionalGaussian(MLP((6,), event_ndims=3), dim=D),
        decoder=BernoulliDecoder(MLP((6,)), shape=(4, 4, 1)),
        prior=prior,
    )


PRIORS = {
    "standard": priors.StandardNormal(latent_dim=D),
    "hierarchical": priors.HierarchicalPrior(latent_dim=D, num_samples=4, hidden=(6,)),
}


MODELS = {name: vae(prior) for name, prior in PRIORS.items()}


@functools.cache
def initial_params(name):
    return jax.jit(MODELS[name].init)(jax.random.key(0), X, KEY)["params"]


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(name, params, key, num_samples, weights):
    return MODELS[name].apply({"params": params}, X, key, num_samples, weights)


def terms_of(name, params=None):
    """A small VAE with its parameters, on X."""
    params = initial_params(name) if params is None else params

    def model(x, key, num_samples, weights=None, context=None):
        return apply(name, params, key, num_samples, weights)

    return model


def evaluate(objective, model, *, multipliers=None, step=0, key=KEY):
    return objective(model, multipliers or {}, Examples(X), key, jnp.asarray(step))


def random_terms(seed=0, closed_form=True):
    """Terms of made-up numbers, and the same numbers in float64."""
    rng = np.random.default_rng(seed)
    distortion, rate, kl = rng.random((K, B)) * 9, rng.standard_normal((K, B)), rng.random((B, D))
    terms = Terms(
        distortion=jnp.asarray(distortion, jnp.float32),
        rate=(jnp.asarray(rate, jnp.float32),),
        kl=(jnp.asarray(kl, jnp.float32) if closed_form else None,),
        latents=(),
        likelihood=Pixels(Bernoulli(logits=jnp.zeros(1)), (1,)),
    )
    return (lambda x, key, num_samples, weights=None, context=None: terms), distortion, rate, kl


@pytest.mark.parametrize("beta", [1.0, 0.25, 4.0])
def test_elbo_takes_the_closed_form_where_there_is_one(beta):
    model, distortion, _, kl = random_terms()
    loss, _ = evaluate(ELBO(beta=beta), model)
    np.testing.assert_allclose(loss, distortion.mean() + beta * kl.sum(1).mean(), rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 0.25, 4.0])
def test_elbo_takes_the_sampled_rate_where_there_is_none(beta):
    model, distortion, rate, _ = random_terms(closed_form=False)
    loss, _ = evaluate(ELBO(beta=beta), model)
    np.testing.assert_allclose(loss, (distortion + beta * rate).mean(), rtol=1e-6)


def test_elbo_takes_the_sampled_rate_where_it_is_told_to():
    model, distortion, rate, _ = random_terms()
    loss, _ = evaluate(ELBO(closed_form=False), model)
    np.testing.assert_allclose(loss, (distortion + rate).mean(), rtol=1e-6)


@pytest.mark.parametrize(
    "objective", [ELBO(beta=4.0), ImportanceWeighted(K), Lagrangian({"a": NLL(0.5)})]
)
def test_every_objective_reports_the_same_metrics(objective):
    model, distortion, rate, _ = random_terms()
    loss, metrics = evaluate(objective, model, multipliers={"a": jnp.array(2.0)})
    expected = {"rate": rate.mean(), "distortion": distortion.mean()}
    expected |= {"loss": loss, "elbo": -(rate + distortion).mean()}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("step", "weight"), [(0, 0.0), (250, 0.25), (1000, 1.0), (9999, 1.0)])
def test_warm_up_raises_the_weight_of_the_rate_linearly(step, weight):
    model, distortion, _, kl = random_terms()
    loss, _ = evaluate(ELBO(beta=3.0, warmup_steps=1000), model, step=step)
    expected = distortion.mean() + 3.0 * weight * kl.sum(1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


GAUSSIAN = GaussianDecoder(MLP((6,)), shape=(4, 4, 1), scale=0.7)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=2, has_aux=True)
def gaussian_loss(objective, scale, params, step):
    """(loss, metrics) and gradient of a Gaussian VAE whose scale may be traced."""
    model = MODELS["standard"].clone(decoder=GAUSSIAN.clone(scale=scale))
    return objective(model.at(params), {}, Examples(X), KEY, step)


def test_annealing_has_the_gradient_of_an_elbo_of_a_scale_that_falls():
    """L + D (σ₁/σ)² ½ log 2πσ₁² − D ½ log 2πσ² is 0 apart, whatever the parameters; σ is linear."""
    annealed = AnnealedVariance(anneal_steps=200, num_samples=2)
    params = initial_params("standard")
    for step, scale in ((0, 2.0), (50, 1.675), (100, 1.35), (200, 0.7), (999, 0.7)):
        (loss, metrics), gradient = gaussian_loss(annealed, 0.7, params, step)
        (elbo, _), expected = gaussian_loss(ELBO(num_samples=2), scale, params, step)
        constant = 8 * (
            np.log(2 * np.pi * scale**2) - (0.7 / scale) ** 2 * np.log(2 * np.pi * 0.49)
        )
        np.testing.assert_allclose(elbo - loss, constant, rtol=1e-4, atol=1e-4)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient, expected
        )
        # Metrics are those of the model as it is, at σ₁.
        np.testing.assert_allclose(metrics["elbo"], -(metrics["rate"] + metrics["distortion"]))


def test_annealing_takes_the_closed_form_where_there_is_one():
    model, distortion, rate, kl = random_terms()
    annealed = AnnealedVariance(anneal_steps=4, initial_scale=3.0, final_scale=1.0)
    loss, _ = evaluate(annealed, model, step=2)
    np.testing.assert_allclose(loss, distortion.mean() / 4 + kl.sum(1).mean(), rtol=1e-6)
    loss, _ = evaluate(annealed, random_terms(closed_form=False)[0], step=2)
    np.testing.assert_allclose(loss, distortion.mean() / 4 + rate.mean(), rtol=1e-6)
    log_weights = annealed.validation(Examples(X), model(X, KEY, 1))
    np.testing.assert_allclose(log_weights, -(distortion + rate), rtol=1e-5, atol=1e-5)


def test_annealing_ends_as_the_elbo_to_the_last_bit():
    """Neither interpolation nor report may leave a rest of rounding, whatever the scales are."""
    model = random_terms()[0]
    for scales in ((2.0, 0.7), (3.0, 0.1), (1.0, 0.3)):
        annealed = AnnealedVariance(10, *scales)
        assert evaluate(annealed, model, step=10)[0] == evaluate(ELBO(), model)[0]
        assert annealed.describe({}, 10) == "the negative ELBO, at the end of the annealing"


def test_the_mean_squared_error_is_reported_where_there_is_a_location():
    params = initial_params("standard")
    (_, metrics), _ = gaussian_loss(ELBO(num_samples=2), 0.7, params, 0)
    model = MODELS["standard"].clone(decoder=GAUSSIAN)
    mean = jax.jit(lambda params: model.apply({"params": params}, X, KEY, 2).likelihood.mean())(
        params
    )
    expected = np.mean((np.asarray(X) - np.asarray(mean, np.float64)) ** 2)
    np.testing.assert_allclose(metrics["mse"], expected, rtol=1e-5)
    assert "mse" not in evaluate(ELBO(), terms_of("standard"))[1]


def test_free_bits_are_counted_on_the_batch_mean_of_each_coordinate():
    model, distortion, _, kl = random_terms()
    free = float(kl.mean(0).mean())  # one coordinate above, one below
    loss, _ = evaluate(ELBO(free_nats=free, beta=2.0), model)
    expected = distortion.mean() + 2.0 * np.maximum(kl.mean(0), free).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_importance_weighted_bound_averages_the_weights():
    model, distortion, rate, _ = random_terms()
    loss, _ = evaluate(ImportanceWeighted(K), model)
    log_weights = -(rate + distortion)
    np.testing.assert_allclose(loss, -np.mean(logsumexp(log_weights, 0) - np.log(K)), rtol=1e-6)


def test_one_importance_sample_is_the_elbo():
    model = terms_of("hierarchical")
    elbo, _ = evaluate(ELBO(num_samples=1), model)
    bound, _ = evaluate(ImportanceWeighted(num_samples=1), model)
    np.testing.assert_allclose(bound, elbo, rtol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_gradient_estimators_change_no_value(prior):
    model = terms_of(prior)
    losses = [
        evaluate(objective(num_samples=4), model)[0]
        for objective in (ImportanceWeighted, StickingTheLanding, DoublyReparameterised)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


@functools.partial(jax.jit, static_argnums=(0, 1))
def gradients(objective, prior, key):
    def loss(params):
        return evaluate(objective, terms_of(prior, params), key=key)[0]

    return jax.grad(loss)(initial_params(prior))


@pytest.mark.parametrize("prior", PRIORS)
def test_doubly_reparameterised_decoder_has_the_naive_gradient(prior):
    naive = gradients(ImportanceWeighted(4), prior, KEY)
    double = gradients(DoublyReparameterised(4), prior, KEY)
    for a, b in zip(
        jax.tree.leaves(naive["decoder"]), jax.tree.leaves(double["decoder"]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    encoder = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), naive, double)["encoder"]
    assert max(jax.tree.leaves(encoder)) > 1e-3  # while the encoder has another one


@pytest.mark.parametrize(
    ("objective", "prior"),
    [
        (DoublyReparameterised(4), "standard"),
        (StickingTheLanding(1), "standard"),
    ],
)
def test_gradient_estimators_are_unbiased(objective, prior):
    naive = ImportanceWeighted(objective.num_samples)

    def difference(key):
        pair = (gradients(o, prior, key) for o in (naive, objective))
        a, b = (jax.flatten_util.ravel_pytree(g)[0] for g in pair)
        return a - b

    keys = jax.random.split(jax.random.key(5), 2000)
    differences = np.asarray(jax.jit(jax.vmap(difference))(keys), np.float64)
    exact = np.abs(differences).max(0) < 1e-5  # the decoder's, as far as it is the same gradient
    assert not exact.all()
    assert within_confidence(differences[:, ~exact], 0.0).all()


def test_gradient_for_the_multiplier_is_the_constraint():
    model = terms_of("standard")
    objective = Lagrangian({"nll": NLL(0.5), "re": RE(0.3)}, num_samples=2)
    multipliers = {"nll": jnp.array(2.0), "re": jnp.array(0.5)}

    def loss(multipliers):
        return evaluate(objective, model, multipliers=multipliers)

    gradient, metrics = jax.grad(loss, has_aux=True)(multipliers)
    terms = model(X, KEY, 2)
    squared = (np.asarray(X) - np.asarray(terms.likelihood.mean(), np.float64)) ** 2
    expected = {
        "nll": np.mean(np.asarray(terms.distortion, np.float64)) - 16 * 0.5,
        "re": squared.sum((2, 3, 4)).mean() - 16 * 0.3**2,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(gradient[name], value, rtol=1e-5)
        np.testing.assert_allclose(metrics[f"constraint/{name}"], value, rtol=1e-5)
    total = float(np.mean(np.sum(terms.kl[0], -1))) + 2.0 * expected["nll"] + 0.5 * expected["re"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


@pytest.mark.parametrize("closed_form", [True, False])
def test_lagrangian_takes_the_rate_it_is_told_to(closed_form):
    model, distortion, rate, kl = random_terms()
    objective = Lagrangian([("nll", NLL(0.5))], closed_form=closed_form)
    loss, _ = evaluate(objective, model, multipliers={"nll": jnp.array(2.0)})
    expected = kl.sum(1).mean() if closed_form else rate.mean()
    np.testing.assert_allclose(loss, expected + 2 * (distortion.mean() - 8), rtol=1e-5)


def test_constraints_given_as_pairs_are_constraints_by_name():
    pairs = (("nll", NLL(0.5)), ("re", RE(0.3)))
    assert Lagrangian(pairs).constraints == Lagrangian(iter(pairs)).constraints == dict(pairs)


def test_early_stopping_maximises_the_objective_at_its_end():
    """The β-ELBO with the final β, the importance-weighted bound, or the ELBO whatever λ is."""
    model, distortion, rate, _ = random_terms()
    terms = model(X, KEY, K)
    log_weights = -(rate + distortion)
    expected = {
        ELBO(beta=3.0, warmup_steps=1000): -(distortion + 3.0 * rate),
        ImportanceWeighted(K): logsumexp(log_weights, 0, keepdims=True) - np.log(K),
    }
    for objective, values in expected.items():
        np.testing.assert_allclose(
            objective.validation(Examples(X), terms), values, rtol=1e-5, atol=1e-5
        )
    lagrangian = Lagrangian({"nll": NLL(0.5)}).validation(Examples(X), terms)
    np.testing.assert_allclose(lagrangian, log_weights, rtol=1e-5, atol=1e-5)
    assert ImportanceWeighted(K).validation_samples == K
    assert ELBO(num_samples=5).validation_samples == 1


SENTENCES = [
    (ELBO(), {}, "the negative ELBO"),
    (ELBO(beta=4.0), {}, "distortion + 4 · rate, an upper bound on the negative ELBO"),
    (
        ELBO(beta=0.5),
        {},
        "distortion + 0.5 · rate, which is no bound on the negative log-likelihood",
    ),
    (
        ELBO(warmup_steps=1000),
        {},
        "distortion + 0.5 · rate, which is no bound on the negative log-likelihood",
    ),
    (ELBO(warmup_steps=500), {}, "the negative ELBO"),
    (
        ELBO(free_nats=0.5),
        {},
        "distortion + 1 · rate with 0.5 free nats per latent coordinate",
    ),
    (AnnealedVariance(1000), {}, "rate + 0.2689 · distortion, still annealing"),
    (AnnealedVariance(500), {}, "the negative ELBO, at the end of the annealing"),
    (DisARM(), {}, "the negative ELBO"),
    (
        SymmetricLearning(),
        {},
        "−log p(x, z) at samples of the posterior and −log q(z|x) at samples of the model, which is no bound",
    ),
    (ImportanceWeighted(7), {}, "the negative importance-weighted bound with 7 samples"),
    (
        Lagrangian({"nll": NLL(1.0)}),
        {"nll": 1.0002},
        "the Lagrangian rate + 1 · nll, at multiplier 1 the negative ELBO up to a constant",
    ),
    (
        Lagrangian({"nll": NLL(1.0)}),
        {"nll": 0.5},
        "the Lagrangian rate + 0.5 · nll, a scaled bound on the negative ELBO up to a constant (multiplier < 1)",
    ),
    (
        Lagrangian({"nll": NLL(1.0)}),
        {"nll": 30.0},
        "the Lagrangian rate + 30 · nll, no bound on the negative log-likelihood (multiplier > 1)",
    ),
    (Lagrangian({"re": RE(0.1)}), {"re": 1.0}, "the Lagrangian rate + 1 · re"),
]


@pytest.mark.parametrize(("objective", "multipliers", "sentence"), SENTENCES)
def test_describe_says_what_was_minimised(objective, multipliers, sentence):
    assert objective.describe(multipliers, 500) == sentence


ERRORS = [
    (lambda: ELBO(num_samples=0), "num_samples must be at least 1, got 0."),
    (lambda: ELBO(beta=-1.0), "beta must be finite and not negative, got -1.0."),
    (lambda: ELBO(warmup_steps=-1), "warmup_steps must be finite and not negative, got -1."),
    (lambda: ELBO(free_nats=-0.5), "free_nats must be finite and not negative, got -0.5."),
    (
        lambda: ELBO(free_nats=0.5, closed_form=False),
        "free_nats = 0.5 needs the closed-form KL: leave closed_form True.",
    ),
    (lambda: DisARM(num_samples=0), "num_samples must be at least 1, got 0."),
    (lambda: DisARM(warmup_steps=(0, -1)), "warmup_steps must be finite and not negative, got -1."),
    (lambda: SymmetricLearning(0), "num_samples must be at least 1, got 0."),
    (lambda: AnnealedVariance(0), "anneal_steps must be at least 1, got 0."),
    (lambda: AnnealedVariance(9, num_samples=0), "num_samples must be at least 1, got 0."),
    (lambda: AnnealedVariance(9, 0.0), "initial_scale must be positive and finite, got 0.0."),
    (lambda: AnnealedVariance(9, 2.0, -0.7), "final_scale must be positive and finite, got -0.7."),
    (
        lambda: AnnealedVariance(9, float("nan")),
        "initial_scale must be positive and finite, got nan.",
    ),
    (
        lambda: Lagrangian([("a", NLL(1.0)), ("b", RE(0.1)), ("a", RE(0.1))]),
        "2 constraints are called 'a': give each a name of its own.",
    ),
    (lambda: Lagrangian(()), "constraints must name at least one; without any, use ELBO."),
    (lambda: ImportanceWeighted(0), "num_samples must be at least 1, got 0."),
    (lambda: Lagrangian({"nll": NLL(1.0)}, num_samples=0), "num_samples must be at least 1, got 0"),
    (lambda: Lagrangian({}), "constraints must name at least one; without any, use ELBO."),
    (
        lambda: evaluate(ELBO(free_nats=0.5), random_terms(closed_form=False)[0]),
        "free_nats = 0.5 needs a closed-form KL, which this prior lacks: set free_nats to 0 or",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), ERRORS)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make()
    assert sentence in str(error.value)

"""Objectives use the model with its parameters: weights per level, InfoVAE."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import within_confidence
from small_models import MODELS as CONTRACT_OF_MODELS
from two_level import TwoLevel

from vaelab import losses
from vaelab.checks import UndefinedError
from vaelab.constraints import NLL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE, ConvDRAW, DeepHierarchy
from vaelab.networks import MLP, ConditionalGaussian, Identity
from vaelab.priors import FlowPrior, StandardNormal
from vaelab.training.objectives import (
    ELBO,
    AnnealedVariance,
    DisARM,
    DoublyReparameterised,
    ImportanceWeighted,
    InfoVAE,
    Lagrangian,
    StickingTheLanding,
)
from vaelab.types import Examples

SHAPE, B, KEY = (4, 4, 1), 6, jax.random.key(0)
X = np.random.default_rng(0).integers(0, 2, (B, *SHAPE)).astype(np.float32)
DRAW = ConvDRAW(
    BernoulliDecoder(Identity(), SHAPE), num_steps=2, hidden=3, latent_channels=2,
    canvas_channels=2, downsample=2,
)  # fmt: skip


def vae(prior):
    encoder = ConditionalGaussian(MLP((5,), event_ndims=3), prior.latent_dim)
    return VAE(encoder, BernoulliDecoder(MLP((5,)), SHAPE), prior)


@functools.cache
def initial(model):
    params = jax.jit(model.init)(KEY, X, KEY)["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape), params)


def loss_and_metrics(objective, model, params, step=0):
    return objective(model.at(params), {}, Examples(X), KEY, jnp.asarray(step))


@functools.partial(jax.jit, static_argnums=(0, 1))
def loss_and_gradient(objective, model, params):
    both = functools.partial(loss_and_metrics, objective, model)
    return jax.value_and_grad(both, has_aux=True)(params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def quick_loss(objective, model, params, step):
    return loss_and_metrics(objective, model, params, step)[0]


def loss(objective, model, step=0):
    return float(quick_loss(objective, model, initial(model), step))


@functools.cache
def terms():
    return jax.jit(lambda params: DRAW.at(params)(X, KEY)._replace(likelihood=None))(initial(DRAW))


@pytest.mark.parametrize("closed_form", [True, False])
def test_each_level_has_a_weight_and_a_warm_up_of_its_own(closed_form):
    objective = ELBO(beta=(2.0, 0.5), warmup_steps=(0, 10), closed_form=closed_form)
    rates = [jnp.mean(rate) for rate in terms().rate]
    if closed_form:
        rates = [jnp.mean(jnp.sum(kl, axis=-1)) for kl in terms().kl]
    expected = jnp.mean(terms().distortion) + 2.0 * rates[0] + 0.5 * 0.4 * rates[1]
    np.testing.assert_allclose(loss(objective, DRAW, step=4), expected, rtol=1e-5)
    assert objective.settling_steps == 10
    validation = objective.validation(Examples(X), terms())
    by_level = terms().distortion + 2.0 * terms().rate[0] + 0.5 * terms().rate[1]
    np.testing.assert_allclose(validation, -by_level, rtol=1e-6)
    assert "(2, 0.2) · rate" in objective.describe({}, 4)


def test_equal_weights_for_all_levels_are_one_weight():
    for each, one in (
        (ELBO(beta=(3.0, 3.0)), ELBO(beta=3.0)),
        (ELBO(free_nats=(0.1, 0.1), beta=2.0), ELBO(free_nats=0.1, beta=2.0)),
        (ELBO(warmup_steps=(8, 8)), ELBO(warmup_steps=8)),
    ):
        np.testing.assert_allclose(loss(each, DRAW, 3), loss(one, DRAW, 3), rtol=1e-6)


def test_free_nats_per_level():
    objective = ELBO(free_nats=(0.0, 0.3))
    means = [np.mean(kl, axis=0) for kl in terms().kl]
    rate = np.sum(np.maximum(means[0], 0.0)) + np.sum(np.maximum(means[1], 0.3))
    expected = np.mean(terms().distortion) + rate
    np.testing.assert_allclose(loss(objective, DRAW), expected, rtol=1e-5)


@pytest.mark.parametrize("field", ["beta", "warmup_steps", "free_nats"])
def test_settings_of_another_number_of_levels_are_refused(field):
    objective = ELBO(**{field: (1, 2, 3)})
    with pytest.raises(
        ValueError, match=rf"objective\.{field} = \(1, 2, 3\) has 3 numbers, and the"
    ):
        objective.check(DRAW, 10)
    ELBO(**{field: (1, 2)}).check(DRAW, 10)
    with pytest.raises(ValueError, match=f"{field} must be finite and not negative"):
        ELBO(**{field: (1, -1)})
    with pytest.raises(ValueError, match=f"{field} must be a number, got 'a'"):
        ELBO(**{field: ("a", 1)})
    # The number of levels is known before the shape of the data is.
    draw = ConvDRAW(BernoulliDecoder(Identity()), num_steps=3, downsample=2)
    deep = DeepHierarchy(BernoulliDecoder(Identity()), StandardNormal(2), num_levels=(1, 1))
    for model in (draw, deep):
        ELBO(**{field: (1, 2, 3)}).check(model, 10)


@pytest.mark.parametrize("objective", [DoublyReparameterised(2), StickingTheLanding(2)])
def test_bits_refuse_gradients_that_need_reparameterisation(objective):
    make_model = CONTRACT_OF_MODELS["bits, merged on top"]
    with pytest.raises(UndefinedError, match="Bernoulli levels has no doubly reparameterised gr"):
        objective.check(make_model(), 10)
    objective.check(DRAW, 10)


def test_the_weight_of_the_distortion_and_of_the_rate():
    assert ELBO(beta=4.0).distortion_weight(0) == 0.25
    assert ELBO(beta=(1.0, 2.0)).distortion_weight(0) is None
    assert AnnealedVariance(10).distortion_weight(10) == 1.0
    assert ImportanceWeighted().distortion_weight(0) is None
    by_level = ELBO(warmup_steps=(10, 20))  # β = 1/2 at both levels only at 5 and 10 of them
    assert by_level.distortion_weight(5) is None
    assert by_level.distortion_weight(20) == 1.0
    assert ELBO(warmup_steps=10).distortion_weight(5) == 2.0


def test_equal_objectives_validate_by_one_function():
    """So one program validates all members whose objectives are equal there."""
    first, second = (Lagrangian({"nll": NLL(kappa)}).validation for kappa in (0.1, 0.2))
    assert first is second
    assert ELBO(beta=2.0).validation == ELBO(beta=2.0).validation != ELBO(beta=3.0).validation
    assert ELBO(beta=2.0).validation == DisARM(beta=2.0).validation
    assert ImportanceWeighted(3).validation is ImportanceWeighted(4).validation


def pairwise(a, b):
    constant = 2.0 * a.shape[-1]
    return constant / (constant + np.sum((a[:, None] - b[None]) ** 2, axis=-1))


def test_mmd_equals_its_sums_and_is_unbiased():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), 0.5 + rng.normal(size=(4, 3))
    off = lambda m: (np.sum(m) - np.trace(m)) / (len(m) * (len(m) - 1))  # noqa: E731
    expected = off(pairwise(a, a)) + off(pairwise(b, b)) - 2 * np.mean(pairwise(a, b))
    np.testing.assert_allclose(
        losses.squared_mmd(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-5
    )
    # Of two samples of one density it is zero on average.
    same = jax.random.normal(KEY, (20_000, 2, 4, 2))
    assert within_confidence(jax.vmap(lambda s: losses.squared_mmd(*s))(same), 0.0)
    with pytest.raises(ValueError, match="at least two points in each sample"):
        losses.squared_mmd(jnp.zeros((1, 2)), jnp.zeros((3, 2)))


def test_info_vae_is_its_formula_and_reaches_a_learned_prior():
    model = vae(FlowPrior(2, num_layers=2, hidden=(4,)))
    objective = InfoVAE(beta=0.5, gamma=30.0)
    (value, report), gradient = loss_and_gradient(objective, model, initial(model))
    terms_key, prior_key = jax.random.split(KEY)
    bound = model.at(initial(model))
    drawn = jax.jit(lambda key: model.at(initial(model))(X, key)._replace(likelihood=None))(
        terms_key
    )
    (samples,) = jax.jit(lambda key: bound.sample_latents(key, B))(prior_key)
    mmd = losses.squared_mmd(drawn.latents[0][0], samples)
    expected = jnp.mean(drawn.distortion) + 0.5 * jnp.mean(drawn.total_rate) + 30.0 * mmd
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(report["mmd"], mmd, rtol=1e-5, atol=1e-6)
    without_rate = loss_and_gradient(InfoVAE(beta=0.0), model, initial(model))[1]
    assert any(np.any(leaf) for leaf in jax.tree.leaves(without_rate["prior"]))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_info_vae_of_several_levels_compares_their_joint_latents():
    assert np.isfinite(loss(InfoVAE(), DRAW))


def test_a_level_without_free_nats_needs_no_closed_form():
    encoder = lambda dim: ConditionalGaussian(MLP((5,), event_ndims=3), dim)  # noqa: E731
    model = TwoLevel(
        encoder(2), encoder(3), ConditionalGaussian(MLP((4,)), 3), BernoulliDecoder(MLP((5,)), SHAPE),
        StandardNormal(2),
    )  # fmt: skip
    terms = jax.jit(lambda params: model.at(params)(X, KEY)._replace(likelihood=None))(
        initial(model)
    )
    free = np.sum(np.maximum(np.mean(terms.kl[0], axis=0), 0.2))
    expected = np.mean(terms.distortion) + free + np.mean(terms.rate[1])
    np.testing.assert_allclose(loss(ELBO(free_nats=(0.2, 0.0)), model), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"needs a closed-form KL, which this prior lacks"):
        loss(ELBO(free_nats=(0.2, 0.1)), model)
    mixed = np.mean(np.sum(terms.kl[0], axis=-1)) + np.mean(terms.rate[1])
    for beta in (0.5, (0.5, 0.5)):
        expected = np.mean(terms.distortion) + 0.5 * mixed
        np.testing.assert_allclose(loss(ELBO(beta=beta), model), expected, rtol=1e-5)


def test_the_weight_of_the_distortion_follows_the_warm_up():
    assert ELBO(beta=2.0, warmup_steps=100).distortion_weight(50) == 1.0
    assert ELBO(beta=0.0).distortion_weight(10) is None
    assert ELBO(free_nats=0.1).distortion_weight(10) is None

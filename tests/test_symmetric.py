"""Symmetric learning: both players' gradients by enumeration, who moves what, and the fixed point."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_models
from binary_model import Chain
from jax.flatten_util import ravel_pytree
from oracles import LinearGaussian, within_confidence
from test_disarm import all_bits

from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE
from vaelab.natural import Bernoulli, Gaussian
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.training.objectives import SymmetricLearning
from vaelab.training.objectives.base import elbo_bound
from vaelab.types import Examples

SHAPE, KEY = (3,), jax.random.key(0)
X = np.array([[1, 0, 1], [0, 0, 1]], np.float32)


def chain(*levels) -> Chain:
    return Chain(BernoulliDecoder(MLP((4,), activation=jnp.tanh), SHAPE), levels)


BITS, MIXED = chain((Bernoulli, 2), (Bernoulli, 2)), chain((Gaussian, 2), (Bernoulli, 3))
FLAT = VAE(
    ConditionalGaussian(MLP((8,), activation=jnp.tanh), 2),
    BernoulliDecoder(MLP((8,), activation=jnp.tanh), SHAPE),
    StandardNormal(2),
)


@functools.cache
def params_of(model):
    shapes = jax.eval_shape(lambda: model.init(KEY, X, KEY))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def is_posterior(model, params) -> np.ndarray:
    """A mark for each parameter, in the order of `ravel_pytree`."""
    marks = {
        name: jax.tree.map(
            lambda v, n=name: np.full(v.shape, n in model.posterior_parameters), value
        )
        for name, value in params.items()
    }
    return np.asarray(ravel_pytree(marks)[0], bool)


def draws(model, params, x, objective, num_draws):
    """The gradients of the loss, [num_draws, number of parameters]. x [B, ...], or [num_draws, B, ...]."""

    @jax.jit
    def gradients(params, x, keys):
        def one(key_and_x):
            key, batch = key_and_x
            loss = lambda params: objective(model.at(params), {}, Examples(batch), key, 0)[0]  # noqa: E731
            return ravel_pytree(jax.grad(loss)(params))[0]

        return jax.lax.map(one, (keys, x), batch_size=1000)

    x = np.broadcast_to(x, (num_draws, *x.shape[-2:]))
    return gradients(params, x, jax.random.split(KEY, num_draws))


def test_the_gradients_of_both_players_equal_enumeration():
    """Sums over all bits of z and x, with probabilities that are constants."""
    z = all_bits(4)[:, None]

    def densities(params, x):
        """log p(x, z) and log q(z|x) of all z and some x, [2^4, number of x]."""
        bound = BITS.at(params)
        wide = jnp.tile(z, (1, len(x), 1))
        latents = (wide[..., :2], wide[..., 2:])
        log_joint = bound.log_prior(latents) + bound.decode(latents).log_prob(x)
        return log_joint, bound.log_posterior(bound.encode(x), latents)

    params = params_of(BITS)

    @jax.jit
    @jax.jacrev
    def losses(params):
        constant = jax.lax.stop_gradient(params)
        events = all_bits(3)
        log_joint = jnp.exp(densities(constant, X)[1]) * densities(params, X)[0]
        log_posterior = jnp.exp(densities(constant, events)[0]) * densities(params, events)[1]
        return -jnp.mean(jnp.sum(log_joint, axis=0)), -jnp.sum(log_posterior)

    model, posterior = (ravel_pytree(gradient)[0] for gradient in losses(params))
    expected = np.where(is_posterior(BITS, params), posterior, model)
    gradients = draws(BITS, params, X, SymmetricLearning(num_samples=2), 10_000)
    assert within_confidence(gradients, expected).all()
    assert not within_confidence(gradients, 0.9 * expected).all()


ROWS = ("vamp", "hierarchical", "two levels, vamp on top", "convdraw, conditional")
MODELS = {
    **{name: lambda name=name: small_models.make(name) for name in ROWS},
    "bits": lambda: small_models.Case(BITS, params_of(BITS)),
    "a Gaussian above bits": lambda: small_models.Case(MIXED, params_of(MIXED)),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_loss_moves_the_parameters_of_its_player_alone(name):
    case = MODELS[name]()
    x = small_models.X if case.model.decoder.event_shape == small_models.SHAPE else X
    objective = SymmetricLearning(num_samples=2)

    @jax.jit
    @functools.partial(jax.jacrev, has_aux=True)
    def report(params):
        examples = Examples(x, context=case.context)
        loss, metrics = objective(case.model.at(params), {}, examples, KEY, 0)
        return (metrics["model_loss"], metrics["posterior_loss"]), metrics | {"loss": loss}

    (model, posterior), metrics = report(case.params)
    names = set(case.model.posterior_parameters)
    assert small_models.moved(model) == set(case.params) - names
    assert small_models.moved(posterior) == names
    np.testing.assert_allclose(
        metrics["loss"], metrics["model_loss"] + metrics["posterior_loss"], rtol=1e-6
    )
    np.testing.assert_allclose(metrics["elbo"], -metrics["rate"] - metrics["distortion"], rtol=1e-6)


def linear_gaussian():
    """A model whose posterior is a diagonal Gaussian, in closed form and as a VAE with its parameters."""
    weight = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 2)))[0] * np.array([1.5, 0.7])
    oracle = LinearGaussian(weight, np.array([0.3, -1.0, 0.0, 0.5]), sigma=0.8)
    encoder = ConditionalGaussian(MLP(()), 2)
    model = VAE(encoder, GaussianDecoder(MLP(()), (4,), scale=0.8), StandardNormal(2))
    variance = np.diag(oracle.posterior_covariance)
    np.testing.assert_allclose(np.diag(variance), oracle.posterior_covariance, atol=1e-12)
    kernel = weight * variance / oracle.sigma**2  # [4, 2]
    params = {
        "encoder": {
            "Dense_0": {
                "kernel": np.concatenate([kernel, np.zeros((4, 2))], axis=1),
                "bias": np.concatenate([-oracle.bias @ kernel, np.log(variance)]),
            }
        },
        "decoder": {"Dense_0": {"kernel": weight.T, "bias": oracle.bias}},
    }
    return oracle, model, jax.tree.map(lambda leaf: leaf.astype(np.float32), params)


def test_a_consistent_model_of_the_data_is_a_fixed_point():
    """Both gradients are zero on average, and no longer once a parameter of one player has moved."""
    oracle, model, params = linear_gaussian()
    shapes = jax.eval_shape(lambda: model.init(KEY, jnp.zeros((1, 4)), KEY))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    x = oracle.sample(0, 4 * 10_000).reshape(10_000, 4, 4).astype(np.float32)
    posterior = is_posterior(model, params)
    gradients = draws(model, params, x, SymmetricLearning(), len(x))
    assert within_confidence(gradients, 0.0).all()
    moved = params | {"encoder": jax.tree.map(lambda leaf: 1.1 * leaf, params["encoder"])}
    gradients = draws(model, moved, x, SymmetricLearning(), len(x))
    assert not within_confidence(gradients[:, posterior], 0.0).all()
    moved = params | {"decoder": jax.tree.map(lambda leaf: 1.1 * leaf, params["decoder"])}
    gradients = draws(model, moved, x, SymmetricLearning(), len(x))
    assert not within_confidence(gradients[:, ~posterior], 0.0).all()


@pytest.mark.parametrize("model", [BITS, FLAT], ids=["bits", "vae"])
def test_training_raises_the_elbo(model):
    """Three equal bits have 0.69 nats. Independent bits cannot do better than 2.08 nats."""
    x = np.repeat(np.array([[0, 0, 0], [1, 1, 1]], np.float32), 32, axis=0)
    tx, objective = optax.adam(0.02), SymmetricLearning(num_samples=2)

    def step(carry, key):
        params, state = carry
        loss = lambda params: objective(model.at(params), {}, Examples(x), key, 0)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(gradient, state)
        return (optax.apply_updates(params, updates), state), metrics["elbo"]

    @jax.jit
    def train(params):
        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(KEY, 500))[1]

    elbo = train(params_of(model))
    assert np.mean(elbo[-50:]) > max(np.mean(elbo[:10]), -3 * np.log(2)) + 0.5


def test_validation_takes_the_elbo_and_mistakes_are_named():
    assert SymmetricLearning().validation is elbo_bound

    class Wrong(VAE):
        posterior_parameters = ("inference",)

    wrong = Wrong(FLAT.encoder, FLAT.decoder, FLAT.prior)
    with pytest.raises(
        ValueError, match=r"Wrong\.posterior_parameters = \('inference',\) names none"
    ):
        SymmetricLearning()(wrong.at(params_of(FLAT)), {}, Examples(X), KEY, 0)

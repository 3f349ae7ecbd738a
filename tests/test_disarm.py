"""DisARM against enumeration of all bits, and beside REINFORCE of the same samples."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from binary_model import Chain
from jax.flatten_util import ravel_pytree
from oracles import within_confidence

from vaelab import losses
from vaelab.checks import UndefinedError
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.natural import Bernoulli, Gaussian
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.training.objectives import ELBO, DisARM
from vaelab.types import Examples

SHAPE, B, KEY = (2, 2, 1), 2, jax.random.key(0)
X = np.random.default_rng(0).integers(0, 2, (B, *SHAPE)).astype(np.float32)
STEP, NUM_DRAWS = jnp.asarray(3), 10_000


def chain(*levels) -> Chain:
    return Chain(BernoulliDecoder(MLP((4,), activation=jnp.tanh), SHAPE), levels)


MODELS = {
    "one level": chain((Bernoulli, 3)),
    "two levels": chain((Bernoulli, 2), (Bernoulli, 2)),
    "Gaussian on top": chain((Gaussian, 1), (Bernoulli, 2)),
    "Gaussian below": chain((Bernoulli, 2), (Gaussian, 1)),
}


@functools.cache
def params_of(name):
    shapes = jax.eval_shape(lambda: MODELS[name].init(KEY, X, KEY))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def all_bits(num: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=num)), np.float32)


@pytest.mark.parametrize("logits", [[0.7, -1.3], [0.0, 4.0]])
def test_the_estimate_is_unbiased_over_all_pairs_of_bits(logits):
    """P(b, b') of each coordinate: both bits are 1 with probability max(2p − 1, 0), and so on."""
    logits = np.asarray(logits)
    p = 1 / (1 + np.exp(-logits))
    cost = np.random.default_rng(2).normal(size=(2, 2))  # f of both bits, not additive
    pair = np.empty((2, 2, 2))  # [coordinate, b, b']
    pair[:, 1, 1], pair[:, 0, 0] = np.maximum(2 * p - 1, 0), np.maximum(1 - 2 * p, 0)
    pair[:, 1, 0] = pair[:, 0, 1] = np.minimum(p, 1 - p)
    expected = np.zeros(2)
    for b, c in itertools.product(itertools.product((0, 1), repeat=2), repeat=2):
        probability = pair[0, b[0], c[0]] * pair[1, b[1], c[1]]
        costs = jnp.array([cost[b], cost[c]]).reshape(2, 1, 1)
        bits = jnp.array([b, c], jnp.float32).reshape(2, 1, 1, 2)
        estimate = losses.disarm_gradient(costs, bits, jnp.asarray(logits).reshape(1, 1, 2))
        expected += probability * np.asarray(estimate, np.float64)[0, 0]
    q = np.stack([1 - p, p], axis=1)
    exact = p * (1 - p) * np.array([(cost[1] - cost[0]) @ q[1], (cost[:, 1] - cost[:, 0]) @ q[0]])
    np.testing.assert_allclose(expected, exact, rtol=1e-5)


def enumerated(name, betas):
    """The loss with all bits summed over, and a Gaussian level by Gauss-Hermite quadrature of its noise."""
    model = MODELS[name]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    points = [
        all_bits(dim) if family is Bernoulli else nodes[:, None].astype(np.float32)
        for family, dim in model.levels
    ]
    grids = np.meshgrid(*(np.arange(len(p)) for p in points), indexing="ij")
    rows = [p[grid.ravel()][:, None] for p, grid in zip(points, grids, strict=True)]  # [S, 1, D_l]
    masses = [
        None if family is Bernoulli else (weights / np.sqrt(2 * np.pi))[grid.ravel()][:, None]
        for (family, _), grid in zip(model.levels, grids, strict=True)
    ]

    def loss(params):
        bound = model.at(params)
        probability = 1.0

        def draw(level, posterior):
            nonlocal probability
            values = jnp.broadcast_to(rows[level], (len(rows[level]), B, rows[level].shape[-1]))
            if masses[level] is None:
                probability = probability * jnp.exp(jnp.sum(posterior.log_prob(values), -1))
                return values
            probability = probability * masses[level]
            return posterior.mean + jnp.sqrt(posterior.variance) * values

        terms, _ = bound.terms_at(bound.encode(X), X, draw)
        pairs = zip(betas, terms.rate, strict=True)
        cost = terms.distortion + sum(beta * rate for beta, rate in pairs)
        return jnp.mean(jnp.sum(probability * cost, axis=0))

    return jax.jit(jax.value_and_grad(loss))(params_of(name))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def draws(name, objective, num_draws, key=KEY):
    """Losses [num_draws] and gradients [num_draws, number of parameters] of an objective."""

    def loss(params, key):
        return objective(MODELS[name].at(params), {}, Examples(X), key, STEP)[0]

    def one(key):
        value, gradient = jax.value_and_grad(loss)(params_of(name), key)
        return value, ravel_pytree(gradient)[0]

    return jax.lax.map(one, jax.random.split(key, num_draws), batch_size=2000)


@pytest.mark.parametrize(
    ("name", "closed_form"), [*((name, True) for name in MODELS), ("two levels", False)]
)
def test_the_gradient_is_unbiased_for_all_parameters(name, closed_form):
    num_levels = len(MODELS[name].levels)
    objective = DisARM(
        beta=(0.5, 2.0)[:num_levels], warmup_steps=(6, 0)[:num_levels], closed_form=closed_form
    )
    betas = [float(beta) for beta in objective.betas(STEP, num_levels)]
    assert betas == [0.25, 2.0][:num_levels]
    value, gradient = enumerated(name, betas)
    values, gradients = draws(name, objective, NUM_DRAWS)
    assert within_confidence(values, value)
    varies = np.std(gradients, axis=0) > 1e-6
    expected = ravel_pytree(gradient)[0]
    assert within_confidence(gradients[:, varies], expected[varies]).all()
    np.testing.assert_allclose(gradients[0, ~varies], expected[~varies], atol=1e-5)


def test_the_straight_through_gradient_is_biased():
    """So the test above can fail."""
    _, gradient = enumerated("two levels", (1.0, 1.0))
    _, gradients = draws("two levels", ELBO(), NUM_DRAWS)
    assert not within_confidence(gradients, ravel_pytree(gradient)[0]).all()


class Reinforce(DisARM):
    """The score-function gradient of the same chains, without a baseline."""

    def __call__(self, model, multipliers, examples, key, step):
        encoding = model.encode(examples.x)
        terms, _ = model.antithetic_terms(encoding, examples.x, key, self.num_samples)
        cost = -terms.log_weights
        score = model.log_posterior(encoding, terms.latents)
        surrogate = jnp.mean(jax.lax.stop_gradient(cost) * score)
        return jnp.mean(cost) + surrogate - jax.lax.stop_gradient(surrogate), {}


@pytest.mark.parametrize("name", ["one level", "two levels"])
def test_the_variance_is_below_that_of_reinforce_with_the_same_samples(name):
    """Sums of the variances over the parameters of the logits, of estimates with the same mean."""
    _, reinforce = draws(name, Reinforce(), NUM_DRAWS)
    for closed_form, ratio in ((False, 0.25), (True, 0.1)):
        _, disarm = draws(name, DisARM(closed_form=closed_form), NUM_DRAWS)
        difference = disarm - reinforce
        logits = np.std(difference, axis=0) > 1e-6  # the decoder has the same gradient in both
        assert within_confidence(difference[:, logits], 0.0).all()
        ours, theirs = (np.var(g[:, logits], axis=0).sum() for g in (disarm, reinforce))
        assert ours < ratio * theirs


def test_a_model_without_bits_is_refused():
    encoder = ConditionalGaussian(MLP((4,), event_ndims=3), 2)
    model = VAE(encoder, BernoulliDecoder(MLP((4,)), SHAPE), StandardNormal(2))
    with pytest.raises(
        UndefinedError, match="VAE has no Bernoulli level, so DisARM has no meaning"
    ):
        DisARM().check(model, 10)
    DisARM().check(MODELS["one level"], 10)
    with pytest.raises(ValueError, match=r"objective\.beta = \(1, 2, 3\) has 3 numbers"):
        DisARM(beta=(1, 2, 3)).check(MODELS["two levels"], 10)

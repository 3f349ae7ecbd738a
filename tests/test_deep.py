"""The deep hierarchy against a loop over its levels, and what its depth may cost."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import log_expit

from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import DeepHierarchy
from vaelab.networks import MLP, Identity
from vaelab.networks.convolutional import depth_to_space
from vaelab.networks.residual import BottomUp, Evidence, Level
from vaelab.priors import StandardNormal

B, K, SHAPE = 3, 2, (4, 4, 1)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, size=(B, *SHAPE)).astype(np.float32)
KEY = jax.random.key(0)


def make_model(shape=SHAPE, trunk=None, **fields) -> DeepHierarchy:
    settings = dict(
        downsample=(2, 1), num_levels=(2, 1), hidden=(4, 3), inner=(3, 2), latent_channels=1,
        encoder_blocks=1, canvas_channels=2, activation=jnp.tanh,
    )  # fmt: skip
    decoder = BernoulliDecoder(Identity() if trunk is None else trunk, shape)
    return DeepHierarchy(decoder, StandardNormal(2), **settings | fields)


@functools.cache
def random_params(model: DeepHierarchy):
    x = jnp.zeros((1, *model.decoder.shape))
    shapes = jax.eval_shape(lambda: model.init(KEY, x, KEY))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: np.float32(0.4 * rng.normal(size=leaf.shape)), shapes)


def by_hand(model: DeepHierarchy, params, x, latents):
    """(mean, σ²) of q and p of each level, and the logits of x, in a loop over the levels."""
    tanh, scale = jnp.tanh, 1.0
    encoder = BottomUp(model.downsample, model.hidden, model.inner, model.encoder_blocks, tanh)
    features = encoder.apply({"params": params["encoder"]}, x)
    dense = lambda name, maps: maps @ params[name]["kernel"] + params[name]["bias"]  # noqa: E731
    side = model.decoder.shape[0] // model.downsample[0]
    state = dense("start", latents[0]).reshape(K, B, side, side, -1)
    mean, log_variance = jnp.split(dense("posterior", tanh(features[0]).reshape(B, -1)), 2, axis=-1)
    densities = [((mean, jnp.exp(6 * tanh(log_variance / 6))), (0 * mean, 1 + 0 * mean))]
    below = iter(latents[1:])
    for stage, num in enumerate(model.num_levels):
        if stage:
            state = depth_to_space(dense(f"enlarge_{stage - 1}", state), 2)
        evidence = Evidence(model.inner[stage], 1, tanh)
        level = Level(evidence, model.inner[stage], model.hidden[stage], 1, scale, tanh)
        for i in range(num):
            of = lambda name, i=i, stage=stage: {  # noqa: E731
                "params": jax.tree.map(lambda leaf: leaf[i], params[name][f"stages_{stage}"])
            }
            prior = level.apply(of("levels"), state, method="prior")
            seen = evidence.apply(of("evidence"), state, features[stage])
            # The product of two Gaussians, by their natural parameters.
            precision = 1 / prior.variance + 1 / seen.variance
            mean = (prior.mean / prior.variance + seen.mean / seen.variance) / precision
            densities.append(((mean, 1 / precision), (prior.mean, prior.variance)))
            z = next(below).reshape(*state.shape[:-1], 1)
            state = level.apply(of("levels"), state, z, method="draw")
    maps = depth_to_space(dense("finish", tanh(state)), model.downsample[-1])
    head = params["decoder"]["Dense_0"]
    return densities, tanh(maps) @ head["kernel"] + head["bias"]


@functools.partial(jax.jit, static_argnums=0)
def loss_and_terms(model, params):
    """The negative ELBO, its parts, and its gradient."""

    def loss(params):
        terms = model.at(params)(X, KEY, K)
        return -jnp.mean(terms.log_weights), terms._replace(likelihood=terms.likelihood.mean())

    return jax.value_and_grad(loss, has_aux=True)(params)


def test_terms_are_those_of_a_loop_over_the_levels():
    model = make_model()
    params = random_params(model)
    (loss, terms), _ = loss_and_terms(model, params)
    densities, logits = jax.jit(by_hand, static_argnums=0)(model, params, X, terms.latents)
    flat = lambda maps, dim: np.asarray(maps, np.float64).reshape(-1, B, dim)  # noqa: E731
    levels = zip(densities, terms.rate, terms.kl, terms.latents, strict=True)
    for (q, p), rate, kl, z in levels:
        (mean, variance), (prior_mean, prior_variance) = (
            tuple(flat(leaf, z.shape[-1]) for leaf in density) for density in (q, p)
        )
        log_ratio = scipy.stats.norm.logpdf(z, mean, variance**0.5)
        log_ratio -= scipy.stats.norm.logpdf(z, prior_mean, prior_variance**0.5)
        np.testing.assert_allclose(rate, log_ratio.sum(-1), rtol=1e-4, atol=1e-4)
        ratio = variance / prior_variance
        square = (mean - prior_mean) ** 2 / prior_variance
        np.testing.assert_allclose(
            kl, (0.5 * (square + ratio - 1 - np.log(ratio))).mean(0), rtol=1e-3, atol=1e-5
        )
    log_likelihood = X * log_expit(logits) + (1 - X) * log_expit(-logits)
    log_likelihood = np.sum(log_likelihood, axis=(-3, -2, -1))
    np.testing.assert_allclose(-terms.distortion, log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(loss, np.mean(sum(terms.rate) - log_likelihood), rtol=1e-5)


@pytest.mark.parametrize("field", ["remat", "unroll"])
def test_remat_and_unroll_change_no_value(field):
    model = make_model()
    params = random_params(model)
    expected = loss_and_terms(model, params)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        loss_and_terms(model.clone(**{field: True}), params),
        expected,
    )
    for path, leaf in jax.tree.leaves_with_path(expected[1]):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf), path


def test_no_level_is_dead_and_none_is_expensive_at_the_start():
    model = make_model(
        (28, 28, 1), downsample=(4, 2), num_levels=(8, 4), hidden=(12, 8), inner=(6, 4),
        latent_channels=2,
    )  # fmt: skip
    x = RNG.integers(0, 2, size=(10, 28, 28, 1)).astype(np.float32)

    @jax.jit
    def rates(key):
        params = model.init(key, x[:1], key)["params"]
        terms = model.at(params)(x, key)
        return jnp.stack([kl.sum(-1) for kl in terms.kl]), terms.distortion

    kl, distortion = rates(KEY)
    assert len(kl) == 13
    assert np.all(kl > 0.01 * np.asarray(model.latent_dims)[:, None] ** 0.5)
    assert np.all(np.ptp(kl, axis=1) > 0.0)  # every level sees x
    assert np.all(kl.sum(0) < 200)
    assert np.all(distortion < 2 * 784 * np.log(2))


def test_the_program_grows_slower_than_the_depth():
    def size(num_levels, unroll):
        model = make_model(num_levels=(num_levels, 1), unroll=unroll)
        params = jax.eval_shape(lambda: model.init(KEY, X, KEY))["params"]
        loss = lambda params: -jnp.mean(model.at(params)(X, KEY).log_weights)  # noqa: E731
        return jax.jit(jax.grad(loss)).lower(params).as_text().count("\n")

    scanned = [size(num, unroll=False) for num in (4, 12)]
    unrolled = [size(num, unroll=True) for num in (4, 12)]
    assert scanned[1] - scanned[0] < 0.15 * (unrolled[1] - unrolled[0])


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"num_levels": ()}, "downsample, num_levels, hidden and inner must hold one number for"),
        ({"num_levels": (2,)}, r"one number for each stage, got \(2, 1\), \(2,\), \(4, 3\)"),
        ({"num_levels": (2, 0)}, "num_levels must be a tuple of positive whole numbers"),
        ({"num_levels": 3}, "num_levels must be a tuple of positive whole numbers"),
        ({"downsample": (1, 2)}, "each number of downsample must be a multiple of the next"),
        ({"downsample": (4, 2), "shape": (6, 6, 1)}, r"downsample = \(4, 2\) must divide height"),
        ({"shape": (8,)}, "must divide height and width of decoder.shape"),
        ({"latent_channels": 0}, "latent_channels must be at least 1, got 0"),
        ({"encoder_blocks": -1}, "encoder_blocks must be finite and not negative"),
        ({"trunk": MLP((4,))}, r"decoder\.trunk = MLP .* use networks\.Identity\(\)"),
    ],
)
def test_models_that_cannot_be(fields, match):
    with pytest.raises(ValueError, match=match):
        make_model(**fields)


def test_a_context_is_refused():
    model = make_model()
    with pytest.raises(ValueError, match="takes no context: leave the context out"):
        jax.eval_shape(lambda: model.init(KEY, X, KEY, context=X))

"""The contract of `vaelab.models.base`, one table over all models: one level alone, and pairs for DisARM."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from small_models import KEY, MODELS, B, Case, D, X, make

from vaelab.checks import UndefinedError


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


def traced(case, function):
    """`function` of the bound model and the encoding of X, traced but not run."""

    def encoded(params):
        bound = case.model.at(params)
        return function(bound, bound.encode(X, case.context))

    return jax.eval_shape(encoded, case.params)


def test_a_level_has_densities_of_its_own_or_the_reason_why_not(case):
    num_levels = len(case.model.latent_dims)
    for level in range(case.own_levels.stop, num_levels):
        z = jnp.zeros(case.model.latent_dims[level])
        for density in (
            lambda level=level: case.model.level_factorises(level),
            lambda level=level: traced(
                case, lambda bound, encoding: bound.level_posterior(encoding, level)
            ),
            lambda level=level, z=z: case.bound.level_log_prior(z, level),
        ):
            with pytest.raises(UndefinedError, match=f"level {level} of .* has no density of its"):
                density()
    with pytest.raises(
        ValueError, match=r"level must be 0(, the only level of the model| \(top\) to \d), got"
    ):
        case.model.level_factorises(num_levels)


@pytest.mark.parametrize("name", ["two levels, vamp on top", "vlae, vamp on top"])
def test_a_vamp_prior_on_top_is_a_mixture_of_the_top_posteriors(name):
    case = make(name)
    z = np.random.default_rng(5).normal(size=(7, D)).astype(np.float32)
    pseudo_inputs = np.clip(case.params["prior"]["pseudo_inputs"], 0, 1)

    @jax.jit
    def evaluate(params):
        bound = case.model.at(params)
        posterior = bound.level_posterior(bound.encode(pseudo_inputs))
        return posterior.mean(), posterior.stddev(), bound.level_log_prior(z)

    mean, scale, log_prior = (np.asarray(v, np.float64) for v in evaluate(case.params))
    each = scipy.stats.norm.logpdf(z[:, None], mean, scale).sum(-1)
    expected = np.log(np.mean(np.exp(each), axis=1))
    np.testing.assert_allclose(log_prior, expected, rtol=1e-4, atol=1e-5)


def test_antithetic_pairs_differ_in_the_noise_of_their_level_alone(case):
    """Else the model has no Bernoulli level, and says so."""
    levels, num_pairs = case.model.bernoulli_levels, 2
    if not levels:
        refused = pytest.raises(UndefinedError, match="has no Bernoulli level, so DisARM has no m")
        with refused:
            traced(case, lambda bound, encoding: bound.antithetic_terms(encoding, X, KEY, 2))
        return

    @jax.jit
    def draw(params):
        bound = case.model.at(params)
        encoding = bound.encode(X, case.context)
        terms, logits = bound.antithetic_terms(encoding, X, KEY, num_pairs)
        log_q = bound.log_posterior(encoding, terms.latents)
        log_p = bound.log_prior(terms.latents, KEY, case.context)
        log_p += bound.decode(terms.latents, case.context).log_prob(X)
        return terms._replace(likelihood=None), logits, log_p - log_q

    terms, logits, log_weights = draw(case.params)
    shape = (len(levels), 2, num_pairs, B)
    if case.model.exact:
        np.testing.assert_allclose(terms.log_weights, log_weights, rtol=1e-4, atol=1e-4)
    dims = case.model.latent_dims
    for level, dim in enumerate(dims):
        assert terms.latents[level].shape == (np.prod(shape[:3]), B, dim)
        if level not in levels:
            assert logits[level] is None
            continue
        assert logits[level].shape == (num_pairs, B, dim)
        assert set(np.unique(np.asarray(terms.latents[level]))) <= {0.0, 1.0}
    for number, level in enumerate(levels):
        for above in range(level):
            pairs = terms.latents[above].reshape(*shape, dims[above])[number]
            np.testing.assert_array_equal(pairs[0], pairs[1])
        first, second = np.asarray(terms.latents[level]).reshape(*shape, dims[level])[number]
        likely = logits[level] > 0  # u and 1 − u: one of both bits is the likely one
        assert np.all(
            np.where(likely, np.maximum(first, second), np.minimum(first, second)) == likely
        )

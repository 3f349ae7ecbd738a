"""The contract of `vaelab.models.base`, one table over all models: terms and densities."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value, z_scores
from small_models import CONTEXT, KEY, MANY, MODELS, SHAPE, B, Case, D, K, X, make, own_levels, vae

from vaelab.likelihoods import PoissonDecoder
from vaelab.models import VAE
from vaelab.networks import (
    MLP,
    ConditionalGaussian,
)
from vaelab.priors import (
    StandardNormal,
)
from vaelab.types import Examples


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


# Most models take longer to trace and to compile than to run, so tests share the programs of a row.


@functools.partial(jax.jit, static_argnums=(0, 3))
def run(model, params, context, num_samples, key):
    """Terms, with E[x|z] for the likelihood, and every log-probability of their latents and of x."""
    bound = model.at(params)
    encoding = bound.encode(X, context)
    terms = bound.terms(encoding, X, key, num_samples)
    density = {
        "likelihood": bound.decode(terms.latents, context).log_prob(X),
        "posterior": bound.log_posterior(encoding, terms.latents),
        "prior": bound.log_prior(terms.latents, jax.random.key(7), context),
    }
    if model.exact:
        for level in own_levels(model):
            z = terms.latents[level]
            log_posterior = bound.level_posterior(encoding, level).log_prob(z)
            density[f"rate {level}"] = log_posterior - bound.level_log_prior(z, level)
    return terms._replace(likelihood=terms.likelihood.mean()), density


def run_many(case):
    return run(case.model, case.params, case.context, MANY, KEY)


@functools.cache
def call(name: str):
    """params -> terms without the likelihood, by the model's `__call__`. Jitted."""
    case = make(name)
    return jax.jit(
        lambda params: case.model.at(params)(X, KEY, MANY, context=case.context)._replace(
            likelihood=None
        )
    )


def test_shapes_and_levels(case):
    terms, density = run_many(case)
    dims = case.model.latent_dims
    assert [z.shape for z in terms.latents] == [(MANY, B, dim) for dim in dims]
    assert [rate.shape for rate in terms.rate] == [(MANY, B)] * len(dims)
    for kl, dim in zip(terms.kl, dims, strict=True):
        assert kl is None or kl.shape == (B, dim)
    assert {value.shape for value in density.values()} == {(MANY, B)}
    assert terms.likelihood.shape == (MANY, B, *SHAPE)
    assert tuple(case.model.decoder.shape) == SHAPE


def test_log_weights_are_log_joint_minus_log_posterior(case):
    model = case.model.with_prior_samples(3000)
    terms, density = run(model, case.params, case.context, MANY if model.exact else K, KEY)
    np.testing.assert_allclose(-terms.distortion, density["likelihood"], rtol=1e-5, atol=1e-5)
    log_joint = density["likelihood"] + density["prior"]
    tolerance = 1e-4 if model.exact else 0.1  # two estimates of log p(z)
    np.testing.assert_allclose(terms.log_weights, log_joint - density["posterior"], atol=tolerance)


def test_closed_form_kl_is_the_mean_of_the_sampled_rate(case):
    terms, _ = run_many(case)
    for rate, kl in zip(terms.rate, terms.kl, strict=True):
        if kl is not None:
            z = z_scores(np.asarray(rate), np.sum(kl, axis=-1))
            assert np.all(np.abs(z) < critical_value(z.size))


def test_encoding_once_equals_encoding_each_time(case):
    once = run_many(case)[0]
    again = call(case.name)(case.params)
    for name in ("distortion", "rate", "latents"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
            getattr(once, name),
            getattr(again, name),
        )


def test_densities_of_a_level_are_those_of_its_rate(case):
    if not case.model.exact:
        return

    terms, density = run_many(case)
    for level in case.own_levels:
        rate, expected = terms.rate[level], density[f"rate {level}"]
        np.testing.assert_allclose(rate, expected, rtol=1e-4, atol=1e-5)


def test_vmap_over_parameters(case):
    other = jax.tree.map(lambda leaf: leaf[::-1] * 1.1, case.params)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), case.params, other)
    terms = call(case.name)
    both = jax.jit(jax.vmap(lambda params: terms(params).log_weights))(stacked)
    for params, values in zip((case.params, other), both, strict=True):
        np.testing.assert_allclose(values, terms(params).log_weights, rtol=1e-5, atol=1e-5)


def test_latents_that_are_no_tuple_of_levels_are_refused(case):
    dims = case.model.latent_dims
    wrong = [jnp.zeros((B, dims[0])), tuple(jnp.zeros((B, dim + 1)) for dim in dims)]
    for latents in wrong:
        with pytest.raises(ValueError, match=f"latents must be a tuple of {len(dims)} arrays"):
            case.bound.decode(latents, case.context)


def test_data_that_do_not_fit_are_refused(case):
    context = case.context
    case.model.check_data(Examples(X, context=context))
    for wrong in (X[:, :2], X.transpose(0, 3, 1, 2), X.reshape(B, -1)):
        with pytest.raises(ValueError, match=r"x holds events of shape .*: make them the same"):
            case.bound.encode(wrong, context)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 1\), and model\.decoder\.shape is \(4, 4"):
        case.model.check_data(Examples(X[:, :2], context=context))
    _low, high = case.model.decoder.data_range
    if np.isfinite(high):
        with pytest.raises(ValueError, match=r"x holds 255 in image \d+, outside \[0, 1\]"):
            case.model.check_data(Examples(255 * X, context=context))
    with pytest.raises(ValueError, match="context"):
        case.model.check_data(Examples(X, context=None if case.model.conditional else CONTEXT))


def test_a_decoder_that_is_no_decoder_is_refused():
    with pytest.raises(ValueError, match=r"decoder = MLP must be a likelihoods\.Decoder"):
        VAE(ConditionalGaussian(MLP((2,)), D), MLP((2,)), StandardNormal(D))


def test_values_that_the_likelihood_cannot_have_are_refused():
    nan = X.copy()
    nan[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="x holds nan in image 1: repair or remove that image"):
        make("mixture").model.check_data(Examples(nan))
    counts = vae(StandardNormal(D), decoder=PoissonDecoder)
    with pytest.raises(ValueError, match="not all counts 0, 1, 2"):
        counts.check_data(Examples(X + 0.5))
    make("standard normal").model.check_data(Examples(0.5 * X))  # grey bits: a cross-entropy


SHARDED = """
import jax, numpy as np, sys
from jax.sharding import NamedSharding, PartitionSpec
sys.path.insert(0, "tests")
from small_models import KEY, MANY, MODELS, X, make
from vaelab.training.sharding import make_mesh, replicate
assert jax.device_count() == 3
mesh = make_mesh()
split = NamedSharding(mesh, PartitionSpec("data"))
log_weights = {}
for name in MODELS:
    case = make(name)
    elbo = jax.jit(lambda params, x, context: case.model.at(params)(
        x, KEY, MANY, context=context).log_weights)
    arguments = jax.device_put((X, case.context), split)
    log_weights[name] = elbo(replicate(case.params, mesh), *arguments)
np.savez(sys.argv[1], **log_weights)
"""


def test_a_batch_split_over_devices_gives_the_same_terms(command, tmp_path):
    result = command("-c", SHARDED, tmp_path / "split.npz", devices=3, quick=True)
    assert result.returncode == 0, result.stderr
    many = np.load(tmp_path / "split.npz")
    assert list(many) == list(MODELS)
    for name in MODELS:
        one = call(name)(make(name).params).log_weights
        np.testing.assert_allclose(many[name], one, rtol=1e-5, atol=1e-5)

"""The contract of `vaelab.models.base`, one table over all models: samples of p(z)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value, z_scores
from small_models import CONTEXT, KEY, MANY, MODELS, SHAPE, Case, D, make


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


class FromPrior(NamedTuple):
    """Samples of p(z), and what seven of them decode to."""

    latents: tuple  # `sample_latents`, with one context
    joint: tuple  # z of `sample_joint`, with a context for each sample
    rounds: list[tuple]  # the latents after each level is resampled, from all 3
    images: jax.Array  # [7, *SHAPE]
    log_joint: jax.Array  # [7]
    log_prior: jax.Array  # [7]


@functools.cache
def from_prior(name: str) -> FromPrior:
    case = make(name)
    one = None if case.context is None else CONTEXT[:1]

    @jax.jit
    def sample(params, key):
        bound = case.model.at(params)
        contexts, few = (None if one is None else np.repeat(one, n, axis=0) for n in (MANY, 7))
        expected = bound.sample_latents(key, MANY, one)
        joint, auxiliary = bound.sample_joint(key, MANY, contexts)
        latents, auxiliary = jax.tree.map(lambda leaf: leaf[:7], (joint, auxiliary))
        anew, rounds = tuple(jnp.full_like(z, 3.0) for z in expected), []
        for level in range(len(expected)):
            anew = bound.resample_level(jax.random.fold_in(key, level), anew, level, one)
            rounds.append(anew)
        return FromPrior(
            expected,
            joint,
            rounds,
            bound.decode(latents, few).mean(),
            bound.log_joint_prior(latents, auxiliary, few),
            bound.log_prior(latents, key, few),
        )

    return sample(case.params, KEY)


def test_samples_of_the_prior_decode_to_likelihoods(case):
    drawn = from_prior(case.name)
    assert [z.shape for z in drawn.latents] == [(MANY, dim) for dim in case.model.latent_dims]
    jax.tree.map(np.testing.assert_array_equal, drawn.joint, drawn.latents)
    assert drawn.images.shape == (7, *SHAPE)
    assert drawn.log_joint.shape == drawn.log_prior.shape == (7,)
    if case.model.exact:
        np.testing.assert_allclose(drawn.log_joint, drawn.log_prior, rtol=1e-5)
    assert case.model.exact == (case.model.prior_samples is None)


def test_samples_of_a_level_have_its_prior_density(case):
    """Each coordinate's samples against the density on a line, for priors that factorise."""
    if case.model.conditional or not case.model.level_factorises():
        return
    log_prior = jax.jit(case.bound.level_log_prior, static_argnums=1)
    if 0 in case.model.bernoulli_levels:
        z = np.asarray(from_prior(case.name).latents[0], np.float64)
        ones = np.exp(log_prior(jnp.eye(D), 0) - log_prior(0 * jnp.eye(D), 0))
        scores = z_scores(z, ones / (1 + ones))
        assert np.all(np.abs(scores) < critical_value(scores.size))
        return
    line = np.linspace(-8, 8, 400)
    for level in filter(case.model.level_factorises, case.own_levels):
        dim = case.model.latent_dims[level]
        z = np.asarray(from_prior(case.name).latents[level])
        grid = np.zeros((dim, 400, dim), np.float32)
        grid[np.arange(dim), :, np.arange(dim)] = line
        density = np.exp(np.asarray(log_prior(grid, level), np.float64))
        cumulative = np.cumsum(density, axis=1) / np.sum(density, axis=1, keepdims=True)
        for d in range(dim):
            cdf = lambda values, c=cumulative[d]: np.interp(values, line, c)  # noqa: E731
            assert scipy.stats.kstest(z[:, d], cdf).pvalue > 1e-3 / dim


def test_all_levels_resampled_in_their_order_are_a_sample_of_the_prior(case):
    expected, rounds = from_prior(case.name).latents, from_prior(case.name).rounds
    for level, latents in enumerate(rounds):
        for other, z in enumerate(latents):
            before = rounds[level - 1][other] if level else jnp.full_like(z, 3.0)
            assert np.array_equal(z, before) == (other != level)
    joint = [np.concatenate(latents, axis=1, dtype=float) for latents in (expected, rounds[-1])]
    for moment in (lambda z: z, lambda z: z[:, :, None] * z[:, None]):
        ours, theirs = (moment(z).reshape(MANY, -1) for z in joint)
        error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / MANY)
        z = (ours.mean(axis=0) - theirs.mean(axis=0)) / error
        assert np.all(np.abs(z) < critical_value(z.size))

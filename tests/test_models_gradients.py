"""The contract of `vaelab.models.base`, one table over all models: gradients and groups of parameters."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value, z_scores
from small_models import KEY, MODELS, Case, K, X, make, moved

from vaelab import losses
from vaelab.models import VAE


@pytest.fixture(params=MODELS)
def case(request) -> Case:
    return make(request.param)


PARTS = ("distortion", "rate", "posterior", "likelihood", "prior")


@functools.cache
def gradients(name: str) -> dict[bool, tuple[dict, dict]]:
    """{whether the other parameters are held: (values, gradients) of five means}.

    The first two are means of the terms. The other three are densities at constant latents, so that no
    path leads through a sample. One program has all gradients: the five means have weights.
    """
    case = make(name)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(hold, params, weights):
        def value(params):
            bound = case.model.at(params)
            bound = bound.with_gradient_in(case.model.posterior_parameters) if hold else bound
            terms = bound(X, KEY, K, context=case.context)
            latents = jax.lax.stop_gradient(terms.latents)
            means = {
                "distortion": terms.distortion.mean(),
                "rate": terms.total_rate.mean(),
                "posterior": bound.log_posterior(bound.encode(X, case.context), latents).mean(),
                "likelihood": bound.decode(latents, case.context).log_prob(X).mean(),
                "prior": bound.log_prior(latents, KEY, case.context).mean(),
            }
            return sum(weight * means[name] for name, weight in weights.items()), means

        gradient, means = jax.grad(value, has_aux=True)(params)
        return means, gradient

    def each(hold):
        one_hot = {part: {name: float(name == part) for name in PARTS} for part in PARTS}
        pairs = {part: value_and_gradient(hold, case.params, one_hot[part]) for part in PARTS}
        return pairs[PARTS[0]][0], {part: gradient for part, (_, gradient) in pairs.items()}

    return {hold: each(hold) for hold in (True, False)}


def test_groups_partition_the_parameters_and_the_prior_has_no_distortion(case):
    groups = case.model.parameter_groups(case.params)
    assert set(groups) == set(case.params)
    assert set(groups.values()) <= {"model", "prior"}
    gradient = gradients(case.name)[False][1]
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(leaf))
    distortion, rate = moved(gradient["distortion"]), moved(gradient["rate"])
    prior = {name for name, group in groups.items() if group == "prior"}
    assert distortion
    assert not distortion & prior
    assert prior <= rate


def test_posterior_parameters_are_those_that_only_the_posterior_has(case):
    gradient = gradients(case.name)[False][1]
    posterior, likelihood, prior = (
        moved(gradient[part]) for part in ("posterior", "likelihood", "prior")
    )
    names = set(case.model.posterior_parameters)
    assert names <= posterior
    assert not names & likelihood
    assert set(case.params) - names <= likelihood | prior


def assert_trees_close(first, second):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, first, second)


def test_with_gradient_in_stops_the_gradient_of_the_other_parameters_and_changes_no_value(case):
    names = case.model.posterior_parameters
    (held_values, held), (values, live) = (gradients(case.name)[hold] for hold in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), held_values, values)
    assert set().union(*map(moved, held.values())) == set(names)
    assert set().union(*map(moved, live.values())) == set(case.params)
    for part, name in itertools.product(held, names):
        assert_trees_close(held[part][name], live[part][name])


def test_with_gradient_in_works_in_a_method_in_init_and_under_vmap():
    class Held(VAE):
        def decode(self, latents, context=None):
            return VAE.decode(self.with_gradient_in(()), latents, context)

        def __call__(self, x, key, num_samples=1, weights=None, context=None):
            terms = super().__call__(x, key, num_samples, weights, context)
            return terms._replace(distortion=-self.decode(terms.latents).log_prob(x))

    case = make("standard normal")
    model = Held(case.model.encoder, case.model.decoder, case.model.prior)
    fresh = jax.eval_shape(lambda: model.init(KEY, X, KEY))["params"]
    assert jax.tree.structure(fresh) == jax.tree.structure(case.params)

    def distortion(model, params):
        return jnp.mean(model.at(params)(X, KEY, K).distortion)

    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), case.params)
    gradient = lambda model: jax.vmap(jax.value_and_grad(functools.partial(distortion, model)))  # noqa: E731
    (held_values, held), (values, live) = gradient(model)(stacked), gradient(case.model)(stacked)
    np.testing.assert_allclose(held_values, values, rtol=1e-6)
    assert moved(held) == {"encoder"}
    assert moved(live) == {"encoder", "decoder"}
    assert_trees_close(held["encoder"], live["encoder"])


@pytest.mark.parametrize("name", ["convdraw, conditional", "deep, vamp on top"])
def test_weights_give_an_unbiased_gradient_of_the_importance_weighted_bound(name):
    """Its mean over many keys is that of the plain gradient: each level moves the densities of later levels."""
    model, params, _ = case = make(name)
    num, x = 1500, X[:1]
    context = None if case.context is None else case.context[:1]

    def plain(params, key):
        terms = model.at(params)(x, key, 3, context=context)
        return losses.importance_weighted_bound(terms.log_weights)[0]

    def doubly(params, key):
        bound = model.at(params)
        encoding = bound.encode(x, context)
        weights = losses.normalised_weights(bound.terms(encoding, x, key, 3).log_weights)
        terms = bound.terms(encoding, x, key, 3, weights)
        return losses.importance_weighted_bound(terms.log_weights)[0]

    def gradients(function):
        values, leaves = jax.jit(jax.vmap(jax.value_and_grad(function), (None, 0)))(params, keys)
        flat = [np.reshape(leaf, (num, -1)) for leaf in jax.tree.leaves(leaves)]
        return values, np.concatenate(flat, axis=1, dtype=np.float64)

    keys = jax.random.split(KEY, num)
    (values, naive), (again, double) = gradients(plain), gradients(doubly)
    np.testing.assert_allclose(values, again, rtol=1e-3, atol=1e-4)
    difference = double - naive
    changed = np.std(difference, axis=0) > 1e-3 * np.std(naive, axis=0)
    assert np.mean(changed) > 0.2
    scores = z_scores(difference[:, changed], 0.0)
    assert np.all(np.abs(scores) < critical_value(scores.size))
    # The test can tell: the error of the mean is small beside the gradient.
    error = np.std(double, axis=0) / np.sqrt(num)
    assert np.median(np.abs(np.mean(double, axis=0)) / np.maximum(error, 1e-12)) > 3

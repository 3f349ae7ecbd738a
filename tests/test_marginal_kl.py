"""KL(q(z) ‖ p) for any posterior, against a grid integral and against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value
from scipy.special import logsumexp
from scipy.stats import norm
from test_marginal import KEY, MEAN, SCALE, STANDARD, inputs, make_params

from vaelab import evaluation
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalFlow
from vaelab.priors import StandardNormal


def test_the_marginal_kl_is_the_integral_over_a_grid():
    axis = np.linspace(-6, 7, 800)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    each = norm.logpdf(z[:, None], MEAN, SCALE).sum(-1)
    log_q = logsumexp(each, axis=1) - np.log(len(MEAN))
    difference = log_q - norm.logpdf(z).sum(-1)
    expected = np.sum(np.exp(log_q) * difference) * (axis[1] - axis[0]) ** 2
    result = evaluation.marginal_kl(
        evaluation.Subject(STANDARD, make_params(), inputs()), KEY, num_points=4000, batch_size=3
    )
    assert abs(result.mean - expected) < critical_value(1) * result.standard_error
    assert result.standard_error < 0.03


def test_a_flows_density_counts_every_input():
    x = inputs()
    model = VAE(
        encoder=ConditionalFlow(MLP((8,)), 2, num_layers=2, hidden=(8,)),
        decoder=GaussianDecoder(MLP(()), shape=(4,)),
        prior=StandardNormal(2),
    )
    params = jax.jit(model.init)(jax.random.key(1), x, KEY)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys)]  # noqa: B905
    params = jax.tree.unflatten(tree, moved)

    values = {}
    for batch_size in (2, 5):  # a ragged last batch, and one batch of all
        values[batch_size] = evaluation.marginal_kl(
            evaluation.Subject(model, params, x), KEY, num_points=5, batch_size=batch_size
        )
    order = np.asarray(
        jax.random.permutation(jax.random.split(jax.random.split(KEY, 3)[0], 1)[0], 5)
    )
    z = posterior_sample(model, params, x[order])

    @jax.jit
    def log_posterior(point):
        posterior = model.apply({"params": params}, x, method="encode")
        return posterior.log_prob(jnp.repeat(point[None], 5, 0))

    each = np.stack([log_posterior(point) for point in z])
    log_q = logsumexp(each.astype(np.float64), axis=1) - np.log(5)
    expected = log_q - norm.logpdf(z).sum(-1)
    assert values[5].mean == pytest.approx(expected.mean(), abs=1e-4)
    # Its points are others, of the same distribution; without the mask it would count an input twice.
    assert abs(values[2].mean - values[5].mean) < 4 * np.hypot(
        values[2].standard_error, values[5].standard_error
    )


def posterior_sample(model, params, x):
    """The points that `marginal_kl` draws in its one batch of five."""
    key = jax.random.fold_in(jax.random.split(KEY, 3)[1], 0)

    @jax.jit
    def sample(x):
        return model.apply({"params": params}, x, method="encode").sample(seed=key)

    return np.asarray(sample(x))


def test_no_inputs_are_refused():
    with pytest.raises(ValueError, match="the data are empty: there is nothing to evaluate"):
        evaluation.marginal_kl(evaluation.Subject(STANDARD, make_params(), inputs()[:0]), KEY)


def test_one_point_is_too_few():
    with pytest.raises(ValueError, match="num_points must be at least 2, got 1"):
        evaluation.marginal_kl(
            evaluation.Subject(STANDARD, make_params(), inputs()), KEY, num_points=1
        )

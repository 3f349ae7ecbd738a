"""Constraints against loops in numpy, and what their tolerance and scale mean."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab import constraints
from vaelab.types import Terms

K, B, SHAPE = 3, 4, (2, 5, 1)
NUM_DIMS = 10


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass
class Likelihood:
    """The one method of a likelihood that constraints use."""

    location: np.ndarray  # [K, B, ...]

    def mean(self):
        return self.location


def draw(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.normal(size=(B, *shape)), rng.normal(size=(K, B, *shape))


def terms_of(distortion=None, location=None):
    return Terms(distortion, rate=(), kl=(), latents=(), likelihood=Likelihood(location))


@pytest.mark.parametrize("shape", [(7,), (2, 5, 1)])
def test_reconstruction_error_by_hand(shape):
    x, location = draw(shape)
    num_dims = int(np.prod(shape))
    expected = np.zeros((K, B))
    for k in range(K):
        for b in range(B):
            expected[k, b] = np.linalg.norm(x[b] - location[k, b]) ** 2 - num_dims * 0.3**2
    actual = constraints.reconstruction_error(x, location, kappa=0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    actual = constraints.RE(kappa=0.3)(x, terms_of(location=location))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_negative_log_likelihood_by_hand():
    x, location = draw()
    distortion = -scipy.stats.norm.logpdf(x, location, 0.5).sum((2, 3, 4))
    expected = distortion - NUM_DIMS * -0.2
    actual = constraints.negative_log_likelihood(distortion, kappa=-0.2, num_dims=NUM_DIMS)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    actual = constraints.NLL(kappa=-0.2)(x, terms_of(distortion=distortion))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("side", [8, 28])
def test_reconstruction_error_is_met_when_the_rms_error_is_kappa(side):
    """At every resolution, and C / scale is a quantity of one data dimension."""
    kappa, error = 0.1, 0.15
    x, _ = draw((side, side))
    signs = np.sign(np.random.default_rng(1).normal(size=(K, B, side, side)))
    constraint = constraints.RE(kappa=kappa)
    met = constraint(x, terms_of(location=x + kappa * signs))
    np.testing.assert_allclose(met, 0.0, atol=1e-10)
    missed = constraint(x, terms_of(location=x + error * signs)) / constraint.scale(x.shape[1:])
    np.testing.assert_allclose(missed, error**2 - kappa**2, rtol=1e-10)
    np.testing.assert_allclose(constraint.achieved(float(np.mean(missed))), error, rtol=1e-10)


def test_negative_log_likelihood_is_met_at_kappa_nats_per_dimension():
    x, _ = draw()
    constraint = constraints.NLL(kappa=0.5)
    distortion = np.full((K, B), 0.5 * NUM_DIMS)
    np.testing.assert_allclose(constraint(x, terms_of(distortion=distortion)), 0.0, atol=1e-12)
    missed = constraint(x, terms_of(distortion=2 * distortion)) / constraint.scale(x.shape[1:])
    np.testing.assert_allclose(missed, 0.5, rtol=1e-12)
    assert constraint.achieved(0.5) == 1.0


def test_reconstruction_error_pulls_the_mean_towards_the_data():
    x, location = draw()
    gradient = jax.grad(lambda mean: jnp.sum(constraints.reconstruction_error(x, mean, kappa=0.3)))(
        location
    )
    np.testing.assert_allclose(gradient, 2 * (location - x), rtol=1e-12)


@pytest.mark.parametrize("constraint", [constraints.RE, constraints.NLL])
def test_kappa_may_be_traced(constraint):
    """A sweep over κ is one program; the values are those of Python numbers."""
    x, location = draw()
    distortion = np.random.default_rng(2).normal(size=(K, B))
    terms = terms_of(distortion, location)
    kappas = np.array([0.05, 0.1, 0.175])
    swept = jax.jit(jax.vmap(lambda kappa: constraint(kappa=kappa)(x, terms)))(kappas)
    expected = [constraint(kappa=float(kappa))(x, terms) for kappa in kappas]
    np.testing.assert_allclose(swept, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("constraint", "kappa", "wanted"),
    [
        (constraints.RE, 0.0, r"positive and finite \(it is a root-mean-square error\)"),
        (constraints.RE, -0.1, r"positive and finite \(it is a root-mean-square error\)"),
        (constraints.RE, float("nan"), r"positive and finite \(it is a root-mean-square error\)"),
        (constraints.NLL, float("inf"), "finite"),
        (constraints.NLL, float("nan"), "finite"),
    ],
)
def test_impossible_tolerances_are_refused(constraint, kappa, wanted):
    message = rf"kappa of the constraint {constraint.__name__} must be {wanted}, got {kappa}\."
    with pytest.raises(ValueError, match=message):
        constraint(kappa=kappa)


def test_negative_tolerances_are_accepted_for_densities():
    assert constraints.NLL(kappa=-1.5).kappa == -1.5

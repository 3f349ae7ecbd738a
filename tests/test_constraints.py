"""Constraints against loops in numpy, and what their tolerance and divisor mean."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vaelab import constraints
from vaelab.types import Examples, Terms

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
    actual = constraints.RE(kappa=0.3)(Examples(x), terms_of(location=location))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_negative_log_likelihood_by_hand():
    x, location = draw()
    distortion = -scipy.stats.norm.logpdf(x, location, 0.5).sum((2, 3, 4))
    expected = distortion - NUM_DIMS * -0.2
    actual = constraints.negative_log_likelihood(distortion, kappa=-0.2, num_dims=NUM_DIMS)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    actual = constraints.NLL(kappa=-0.2)(Examples(x), terms_of(distortion=distortion))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("side", [8, 28])
def test_reconstruction_error_is_met_when_the_rms_error_is_kappa(side):
    """At every resolution, and C / divisor is the error relative to its threshold."""
    kappa, error = 0.1, 0.15
    x, _ = draw((side, side))
    signs = np.sign(np.random.default_rng(1).normal(size=(K, B, side, side)))
    constraint = constraints.RE(kappa=kappa)
    met = constraint(Examples(x), terms_of(location=x + kappa * signs))
    np.testing.assert_allclose(met, 0.0, atol=1e-10)
    missed = constraint(Examples(x), terms_of(location=x + error * signs))
    relative = missed / constraint.divisor(x.shape[1:])
    np.testing.assert_allclose(relative, (error**2 - kappa**2) / kappa**2, rtol=1e-10)
    achieved = constraint.achieved(float(np.mean(missed)), x.shape[1:])
    np.testing.assert_allclose(achieved, error, rtol=1e-10)


def test_negative_log_likelihood_is_met_at_kappa_nats_per_dimension():
    x, _ = draw()
    constraint = constraints.NLL(kappa=0.5)
    distortion = np.full((K, B), 0.5 * NUM_DIMS)
    np.testing.assert_allclose(
        constraint(Examples(x), terms_of(distortion=distortion)), 0.0, atol=1e-12
    )
    missed = constraint(Examples(x), terms_of(distortion=2 * distortion))
    np.testing.assert_allclose(missed / constraint.divisor(x.shape[1:]), 0.5, rtol=1e-12)
    assert constraint.achieved(0.5 * NUM_DIMS, x.shape[1:]) == 1.0


def test_reconstruction_error_pulls_the_mean_towards_the_data():
    x, location = draw()
    gradient = jax.grad(lambda mean: jnp.sum(constraints.reconstruction_error(x, mean, kappa=0.3)))(
        location
    )
    np.testing.assert_allclose(gradient, 2 * (location - x), rtol=1e-12)


def half(x):
    """Features that are a part of the image."""
    return x[:, ::2]


def guess(x):
    """Probabilities of three classes: a softmax of the first pixels."""
    return jax.nn.softmax(x.reshape(len(x), -1)[:, :3])


EVERY = {
    "RE": constraints.RE,
    "NLL": constraints.NLL,
    "FRE": functools.partial(constraints.FRE, features=half),
    "local": functools.partial(constraints.FRE, features=constraints.LocalStatistics(2, 1)),
    "CLA": functools.partial(constraints.CLA, classifier=guess),
    "pNCC": functools.partial(constraints.pNCC, patch=2, stride=1),
}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_every_constraint_keeps_the_contract(make):
    """K samples, jit, a traced κ, and units: the quantity that κ bounds comes back from E[C]."""
    x, location = draw()
    terms = terms_of(np.random.default_rng(2).normal(size=(K, B)), location)
    examples = Examples(x, np.arange(B) % 3)
    kappas = np.array([0.05, 0.1, 0.175])
    swept = jax.jit(jax.vmap(lambda kappa: make(kappa=kappa)(examples, terms)))(kappas)
    assert swept.shape == (3, K, B)
    for kappa, values in zip(kappas, swept, strict=True):
        constraint = make(kappa=float(kappa))
        np.testing.assert_allclose(values, constraint(examples, terms), rtol=1e-12, atol=1e-12)
        constraint.check(Examples(np.zeros((3, *SHAPE)), np.arange(3)))
        mean = float(jnp.mean(values))
        met = make(kappa=constraint.achieved(mean, SHAPE) if mean else 0.1)
        np.testing.assert_allclose(jnp.mean(met(examples, terms)), 0.0, atol=1e-9)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_gradients_are_those_of_finite_differences(make):
    x, location = draw()
    distortion = np.random.default_rng(2).normal(size=(K, B))
    examples, constraint = Examples(x, np.arange(B) % 3), make(kappa=0.1)

    def total(location):
        terms = terms_of(jnp.asarray(distortion) + jnp.mean(location), location)
        return jnp.sum(constraint(examples, terms))

    direction = np.random.default_rng(3).normal(size=location.shape)
    total = jax.jit(total)
    slope = jnp.vdot(jax.jit(jax.grad(total))(location), direction)
    difference = total(location + 1e-5 * direction) - total(location - 1e-5 * direction)
    np.testing.assert_allclose(slope, difference / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("location", ["constant", "identity"])
def test_gradients_are_finite_at_constant_and_at_perfect_reconstructions(make, location):
    x, _ = draw()
    x[0] = 0.3  # and where the target is constant
    examples, constraint = Examples(x, np.arange(B) % 3), make(kappa=0.1)
    means = np.full((K, *x.shape), 0.3) if location == "constant" else np.stack([x] * K)
    distortion = np.zeros((K, B))
    gradient = jax.grad(lambda g: jnp.sum(constraint(examples, terms_of(distortion, g))))(means)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "reached", "wanted"),
    [
        ("RE", 0.2, 0.05),
        ("FRE", 0.2, 0.05),
        ("NLL", 0.4, 0.1),
        ("CLA", 0.8, 0.95),
        ("pNCC", 0.6, 0.9),
    ],
)
def test_a_quarter_of_what_a_pilot_left_to_be_desired(make, reached, wanted):
    assert EVERY[make](kappa=0.5).kappa_from_pilot(reached, 0.25) == pytest.approx(wanted)


def test_a_pilot_of_negative_nll_is_asked_for_more_too():
    assert constraints.NLL(kappa=0.5).kappa_from_pilot(-1.5, 1.0) == -1.5
    assert constraints.NLL(kappa=0.5).kappa_from_pilot(-1.5, 0.5) == -2.25


def test_an_error_of_twice_kappa_is_three_thresholds_too_much():
    constraint = constraints.RE(kappa=0.1)
    x, _ = draw()
    value = constraint(Examples(x), terms_of(location=np.stack([x + 0.2] * K)))
    np.testing.assert_allclose(value / constraint.divisor(SHAPE), 3.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "divisor"), [("RE", 2.5), ("FRE", 1.25), ("NLL", 10.0), ("CLA", 1.0), ("pNCC", 1.0)]
)
def test_divisors_by_hand(name, divisor):
    """D κ², D_f κ², D, 1 and 1 for D = 10, half of it as features, κ = 0.5; also of a traced κ."""
    assert EVERY[name](kappa=0.5).divisor(SHAPE) == divisor
    swept = jax.vmap(lambda kappa: jnp.asarray(EVERY[name](kappa=kappa).divisor(SHAPE)))
    np.testing.assert_allclose(swept(np.array([0.5])), [divisor], rtol=1e-12)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_interpolation_axis_increases(make):
    values = np.linspace(0.05, 0.95, 10)
    assert (np.diff(make(kappa=0.5).interpolation_axis(values)) > 0).all()


@pytest.mark.parametrize("make", [constraints.RE, constraints.NLL], ids=["RE", "NLL"])
def test_events_may_be_vectors(make):
    constraint, shape = make(kappa=0.3), (7,)
    constraint.check(Examples(np.zeros((3, *shape))))
    x, location = draw(shape)
    terms = terms_of(np.full((K, B), 5.0), location)
    value = constraint(Examples(x), terms)
    assert value.shape == (K, B)
    mean = float(jnp.mean(value))
    met = make(kappa=constraint.achieved(mean, shape))
    np.testing.assert_allclose(jnp.mean(met(Examples(x), terms)), 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["local", "pNCC"])
def test_windows_refuse_events_that_are_no_images(name):
    with pytest.raises(ValueError, match="images") as error:
        EVERY[name](kappa=0.3).check(Examples(np.zeros((3, 7)), np.zeros(3, int)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_tolerances_may_be_numbers_of_numpy(make):
    assert make(kappa=np.float32(0.25)).divisor(SHAPE) == make(kappa=0.25).divisor(SHAPE)
    with pytest.raises(ValueError, match="kappa of the constraint"):
        make(kappa=np.float32(np.nan))


ROOT_MEAN_SQUARE = r"positive and finite \(it is a root-mean-square error\)"
ACCURACY, CORRELATION = (
    r"in \(0, 1\] \(it is an accuracy\)",
    r"in \(-1, 1\) \(it is a correlation\)",
)


@pytest.mark.parametrize(
    ("name", "kappa", "wanted"),
    [
        ("RE", 0.0, ROOT_MEAN_SQUARE),
        ("RE", -0.1, ROOT_MEAN_SQUARE),
        ("RE", float("nan"), ROOT_MEAN_SQUARE),
        ("FRE", 0.0, ROOT_MEAN_SQUARE),
        ("NLL", float("inf"), "finite"),
        ("NLL", float("nan"), "finite"),
        ("CLA", 0.0, ACCURACY),
        ("CLA", 1.01, ACCURACY),
        ("CLA", float("nan"), ACCURACY),
        ("pNCC", 1.0, CORRELATION),
        ("pNCC", -1.0, CORRELATION),
        ("pNCC", float("nan"), CORRELATION),
    ],
)
def test_impossible_tolerances_are_refused(name, kappa, wanted):
    message = rf"kappa of the constraint {name} must be {wanted}, got {kappa}\."
    with pytest.raises(ValueError, match=message):
        EVERY[name](kappa=kappa)


def test_tolerances_at_the_end_of_their_range_are_accepted():
    assert constraints.NLL(kappa=-1.5).kappa == -1.5
    assert EVERY["CLA"](kappa=1.0).kappa == 1.0
    assert EVERY["pNCC"](kappa=-0.5).kappa == -0.5

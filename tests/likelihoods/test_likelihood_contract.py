"""What every likelihood keeps: one table over all of them, against sums, quadrature and scipy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from oracles import critical_value

from vaelab import likelihoods
from vaelab.likelihoods import Decoder
from vaelab.networks import Identity

SCALED = {"learned": True, "per_pixel": True, "scale": 0.4}
LEVELS = np.arange(5) / 4
COUNTS = np.arange(200.0)
LINE = np.linspace(-60.0, 60.0, 40_001)


@dataclasses.dataclass(frozen=True)
class Row:
    """One likelihood, and what is known of it."""

    decoder: type[Decoder]
    num: int  # parameters of each coordinate
    support: np.ndarray  # all of its values, or a fine grid of them
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    continuous: bool = False
    location: bool = False  # the mean is the location, before any binning
    # (parameters, value, log p) where p is 0 or 1, or a parameter infinite.
    boundary: tuple[tuple[tuple[float, ...], float, float], ...] = ()


INF = math.inf
BINS = tuple(
    (far, value, limit)
    for sign in (1, -1)
    for far in ((sign * INF, 0.0), (sign * 1e30, 0.0), (sign * 1e10, -3.0))
    for value, limit in ((0.0, -INF if sign > 0 else 0.0), (1.0, 0.0 if sign > 0 else -INF))
    if far[0] not in (1e10, -1e10) or limit == 0.0
)
MIDDLE = tuple(((sign * INF, 0.0), value, -INF) for sign in (1, -1) for value in (0.25, 0.5, 0.75))
TABLE = [
    Row(
        likelihoods.BernoulliDecoder, 1, np.array([0.0, 1.0]),
        boundary=(
            ((INF,), 1.0, 0.0), ((INF,), 0.0, -INF), ((INF,), 0.25, -INF),
            ((-INF,), 0.0, 0.0), ((-INF,), 1.0, -INF), ((-INF,), 0.25, -INF),
            ((200.0,), 1.0, 0.0), ((-200.0,), 0.0, 0.0), ((-3e38,), 0.0, 0.0),
        ),
    ),
    Row(
        likelihoods.CategoricalDecoder, 5, LEVELS, {"levels": 5},
        boundary=(
            ((0.0, INF, 1.0, 2.0, 3.0), 0.25, 0.0), ((0.0, INF, 1.0, 2.0, 3.0), 0.5, -INF),
            ((-INF, 0.0, -INF, -INF, -INF), 0.25, 0.0), ((-INF, 0.0, 1.0, 2.0, 3.0), 0.0, -INF),
            ((-INF, 2.0, 2.0, -INF, -INF), 0.5, -math.log(2.0)),
        ),
    ),
    Row(
        likelihoods.GaussianDecoder, 2, LINE, SCALED, continuous=True, location=True,
        boundary=(((INF, 0.0), 0.0, -INF), ((-INF, 0.0), 1.0, -INF)),
    ),
    Row(
        likelihoods.LaplaceDecoder, 2, LINE, SCALED, continuous=True, location=True,
        boundary=(((INF, 0.0), 0.0, -INF), ((-INF, 0.0), 1.0, -INF)),
    ),
    Row(
        likelihoods.QuantisedNormalDecoder, 2, LEVELS, SCALED | {"levels": 5}, location=True,
        boundary=BINS + MIDDLE,
    ),
    Row(
        likelihoods.DiscretisedLogisticDecoder, 2, LEVELS, SCALED | {"levels": 5}, location=True,
        # At 1e30 the logistic's log-probability is finite.
        boundary=tuple(b for b in BINS if b[2] == 0.0 or math.isinf(b[0][0])) + MIDDLE,
    ),
    Row(
        likelihoods.PoissonDecoder, 1, COUNTS,
        boundary=(
            ((-INF,), 0.0, 0.0), ((-INF,), 1.0, -INF), ((INF,), 0.0, -INF), ((INF,), 3.0, -INF),
            ((-200.0,), 0.0, 0.0),
        ),
    ),
]  # fmt: skip
rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.decoder.__name__)


def made(row: Row, parameters, shape: tuple[int, ...] = (1,)):
    """p(x|z) whose head passes `parameters` [..., prod(shape), num] on, and the decoder's params."""
    parameters = jnp.asarray(parameters, jnp.float32)
    size = math.prod(shape) * row.num
    module = row.decoder(PassOn(), shape, **row.fields)
    params = {"Dense_0": {"kernel": jnp.eye(size), "bias": jnp.zeros(size)}}
    features = parameters.reshape(*parameters.shape[:-2], size)
    return module.apply({"params": params}, features)


class PassOn(nn.Module):
    """Vectors as they are."""

    def __call__(self, z):
        return z


def some_parameters(row: Row, *batch: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*batch, 1, row.num))


def test_the_table_holds_every_likelihood():
    exported = {getattr(likelihoods, name) for name in likelihoods.__all__}
    decoders = {c for c in exported if issubclass(c, Decoder) and not c.__abstractmethods__}
    assert decoders == {row.decoder for row in TABLE}


@rows
def test_probabilities_sum_or_integrate_to_one(row):
    parameters = some_parameters(row, 4)
    log_prob = jax.jit(lambda x: made(row, parameters).log_prob(x))(row.support[:, None, None])
    density = np.exp(np.asarray(log_prob, np.float64))
    assert log_prob.shape == (len(row.support), 4)
    if row.continuous:
        total = scipy.integrate.trapezoid(density, row.support, axis=0)
    else:
        total = density.sum(0)
    np.testing.assert_allclose(total, 1.0, rtol=2e-5)


@rows
def test_samples_have_the_mean_and_variance_and_lie_on_the_support(row):
    """Of binned likelihoods mean and variance are those before binning, so levels are compared."""
    num = 20_000
    low, high = row.decoder.data_range

    @jax.jit
    def use(key):
        likelihood = made(row, some_parameters(row, 3))
        masses = jnp.exp(likelihood.log_prob(jnp.asarray(row.support, jnp.float32)[:, None, None]))
        samples = likelihood.sample(seed=key, sample_shape=(num,))
        return samples, likelihood.mean(), likelihood.variance(), masses

    x, mean, variance, p = (np.asarray(part, np.float64) for part in use(jax.random.key(0)))
    assert x.shape == (num, 3, 1)
    assert np.all((x >= low) & (x <= high))
    if not row.continuous:
        assert np.all(np.min(np.abs(x[..., None] - row.support), -1) < 1e-6)
    if row.location and not row.continuous:  # the mean of the masses
        mean = np.einsum("vb,v->b", p, row.support)[:, None]
        variance = np.einsum("vb,v->b", p, row.support**2)[:, None] - mean**2
    limit = critical_value(2 * 3 * len(TABLE))
    for draws, expected in ((x, mean), ((x - mean) ** 2, variance)):
        error = np.std(draws, axis=0) / np.sqrt(num)
        assert np.all(np.abs(draws.mean(0) - expected) < limit * error + 1e-6)


@rows
def test_a_location_is_the_mean_or_none(row):
    likelihood = made(row, some_parameters(row, 3))
    if not row.location:
        assert likelihood.location is None
        return
    np.testing.assert_array_equal(likelihood.location, likelihood.mean())
    np.testing.assert_allclose(likelihood.location, some_parameters(row, 3)[..., 0], rtol=1e-6)


@rows
def test_the_mode_is_a_most_probable_value(row):
    parameters = 0.7 * some_parameters(row, 4)

    @jax.jit
    def use(support):
        likelihood = made(row, parameters)
        return likelihood.log_prob(likelihood.mode()), likelihood.log_prob(support)

    at_mode, log_prob = use(jnp.asarray(row.support, jnp.float32)[:, None, None])
    assert np.all(at_mode >= log_prob.max(0) - 1e-5)


@rows
def test_boundary_values_are_limits_with_finite_gradients(row):
    """0 and −∞, never NaN; the gradient is finite where the value is."""
    parameters, values, limits = map(np.asarray, zip(*row.boundary, strict=True))

    # Without the head, whose matrix product would spread an infinite parameter.
    def value_and_gradient(parameters, x):
        return jax.value_and_grad(lambda p: log_prob_of(row, p, x))(parameters)

    parameters = jnp.asarray(parameters, jnp.float32)
    ours, gradients = jax.jit(jax.vmap(value_and_gradient))(parameters, jnp.float32(values))
    # XLA's log Γ(1) is 5e-7 in float32.
    np.testing.assert_allclose(ours, limits, rtol=1e-6, atol=1e-6)
    assert np.all(np.isfinite(np.asarray(gradients)[np.isfinite(limits)]))


def log_prob_of(row: Row, parameters, x):
    """log p of one coordinate, from what its decoder's head would give, [num]."""

    class Constant(row.decoder):
        def head(self, z, num):
            assert num == row.num
            return z

    module = Constant(PassOn(), (1,), **row.fields)
    return module.apply({}, parameters[None]).log_prob(x[None])


@rows
@pytest.mark.parametrize("far", [1e2, 1e4, 1e6])
def test_gradients_are_finite_far_away(row, far):
    """Parameters whose log-probability is finite, and so is its gradient."""
    parameters = jnp.asarray(
        far * np.array([[-1.0] + [0.0] * (row.num - 1), [1.0] + [0.0] * (row.num - 1)]), jnp.float32
    )
    xs = jnp.asarray(row.support[:: max(1, len(row.support) // 5)], jnp.float32)
    both = jax.vmap(
        jax.vmap(jax.value_and_grad(lambda p, x: log_prob_of(row, p, x)), (None, 0)),
        (0, None),
    )
    value, gradient = jax.jit(both)(parameters, xs)
    assert not np.any(np.isnan(value))
    assert np.all(np.isfinite(np.asarray(gradient)[np.isfinite(value)]))


@rows
@pytest.mark.parametrize(
    ("batch", "shape"), [((), ()), ((), (3,)), ((2,), (3, 2)), ((2, 5), (4, 3, 2))]
)
def test_events_of_any_shape(row, batch, shape):
    """The joint log-probability is the sum over coordinates."""
    rng, size = np.random.default_rng(1), math.prod(shape)
    parameters = rng.normal(size=(*batch, size, row.num))
    x = row.support[rng.integers(0, min(5, len(row.support)), size=(*batch, *shape))]

    @jax.jit
    def use(parameters, x, key):
        likelihood = made(row, parameters, shape)
        assert likelihood.event_shape == shape
        assert likelihood.batch_shape == batch
        single = made(row, parameters.reshape(-1, 1, row.num)).log_prob(x.reshape(-1, 1))
        moments = likelihood.mean(), likelihood.variance(), likelihood.mode()
        samples = likelihood.sample(seed=key, sample_shape=(3,))
        return likelihood.log_prob(x), single.reshape(*batch, size).sum(-1), moments, samples

    ours, expected, moments, samples = use(parameters, jnp.asarray(x), jax.random.key(0))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert samples.shape == (3, *batch, *shape)
    assert {moment.shape for moment in moments} == {(*batch, *shape)}


@rows
def test_vmap_over_parameters_equals_a_loop(row):
    parameters = jnp.asarray(some_parameters(row, 3, 2), jnp.float32)
    x = jnp.asarray(row.support[:2, None], jnp.float32)

    def use(parameters):
        likelihood = made(row, parameters)
        return likelihood.log_prob(x), likelihood.mean()

    mapped = jax.jit(jax.vmap(use))(parameters)
    loop = [jax.jit(use)(p) for p in parameters]
    for ours, expected in zip(mapped, zip(*loop, strict=True), strict=True):
        np.testing.assert_allclose(ours, np.stack(expected), rtol=1e-5, atol=1e-6)


@rows
def test_a_likelihood_leaves_vmap_whole(row):
    parameters = jnp.asarray(some_parameters(row, 3, 2), jnp.float32)
    x = jnp.asarray(row.support[:2, None], jnp.float32)
    likelihood = jax.vmap(lambda p: made(row, p))(parameters)
    assert likelihood.batch_shape == (3, 2)
    expected = np.stack([made(row, p).log_prob(x) for p in parameters])
    np.testing.assert_allclose(likelihood.log_prob(x[None]), expected, rtol=1e-5, atol=1e-6)


@rows
def test_values_of_no_probability_are_refused(row):
    module = row.decoder(PassOn(), (1,), **row.fields)
    module.check_values(np.asarray(row.support, np.float32)[:, None])
    if not row.continuous:
        with pytest.raises(ValueError, match="or choose another decoder"):
            module.check_values(np.full((2, 1), 0.3, np.float32))


@rows
def test_decoders_say_what_reports_need(row):
    """A label, what was learned, and the weight of a squared error, which a Gaussian alone has."""
    module = row.decoder(PassOn(), (2,), **{k: v for k, v in row.fields.items() if k == "levels"})
    assert module.label
    assert not module.reads_maps
    params = module.init(jax.random.key(0), jnp.ones((1, 3)))["params"]
    assert (module.global_scale(params) is None) == ("log_scale" not in params)
    assert (module.squared_error_weight(params) is None) == (
        row.decoder is not likelihoods.GaussianDecoder
    )


@pytest.mark.parametrize("learned", [True, False])
def test_the_squared_error_weight_is_half_a_precision(learned):
    """−log p(x) + log p(x') = weight · (‖x − g‖² − ‖x' − g‖²)."""
    module = likelihoods.GaussianDecoder(PassOn(), (2,), scale=0.3, learned=learned)
    variables = module.init(jax.random.key(0), jnp.ones(3))
    likelihood = module.apply(variables, jnp.ones(3))
    x = likelihood.mean() + jnp.array([0.5, -1.0])
    drop = likelihood.log_prob(likelihood.mean()) - likelihood.log_prob(x)
    weight = module.squared_error_weight(variables.get("params", {}))
    assert weight == pytest.approx(1 / (2 * 0.3**2), rel=1e-6)
    np.testing.assert_allclose(drop, weight * 1.25, rtol=1e-5)
    per_pixel = likelihoods.GaussianDecoder(PassOn(), (2,), learned=True, per_pixel=True)
    assert per_pixel.squared_error_weight({}) is None


def test_a_trunk_of_maps_is_read_as_maps():
    assert likelihoods.BernoulliDecoder(Identity(), (4, 4, 1)).reads_maps
    assert not likelihoods.BernoulliDecoder(nn.Sequential([nn.Dense(3)]), (4, 4, 1)).reads_maps


def test_poisson_equals_scipy():
    rates = np.array([1e-3, 0.5, 3.0, 40.0])
    poisson = likelihoods.Poisson(jnp.asarray(np.log(rates), jnp.float32))
    counts = np.arange(60.0)[:, None]
    expected = scipy.stats.poisson.logpmf(counts, rates)
    np.testing.assert_allclose(poisson.log_prob(counts), expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(poisson.mean(), rates, rtol=1e-5)
    np.testing.assert_allclose(poisson.variance(), rates, rtol=1e-5)
    gradient = jax.grad(lambda eta: likelihoods.Poisson(eta).log_prob(7.0))(jnp.log(3.0))
    np.testing.assert_allclose(gradient, 7.0 - 3.0, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("p", [0.0, 1.0, 1e-20, 0.3])
def test_bernoulli_of_probabilities_equals_distrax_with_finite_gradients(p, value):
    ours = lambda p: likelihoods.Bernoulli(probs=p).log_prob(jnp.float32(value))  # noqa: E731
    expected = distrax.Bernoulli(probs=jnp.float32(p)).log_prob(jnp.float32(value))
    log_prob, gradient = jax.value_and_grad(ours)(jnp.float32(p))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)
    if np.isfinite(expected):
        slope = (value / p if value else 0.0) - ((1 - value) / (1 - p) if value < 1 else 0.0)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5)


@pytest.mark.parametrize("logit", [-INF, INF, -90.0, 90.0, 0.3])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_bernoulli_of_logits_equals_distrax(logit, value):
    ours = likelihoods.Bernoulli(logits=jnp.float32(logit)).log_prob(value)
    theirs = distrax.Bernoulli(logits=jnp.float32(logit)).log_prob(value)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("make", [likelihoods.Bernoulli, likelihoods.Poisson])
def test_a_diverged_network_s_nan_is_not_hidden(make):
    assert np.isnan(make(jnp.array(jnp.nan)).log_prob(jnp.array(1.0)))


@pytest.mark.parametrize("make", [likelihoods.QuantisedNormal, likelihoods.DiscretisedLogistic])
def test_nor_is_that_of_a_binned_likelihood(make):
    values = make(jnp.array(jnp.nan), jnp.array(0.1), 5).log_prob(jnp.array([0.0, 0.5, 1.0]))
    assert np.all(np.isnan(values))


@pytest.mark.parametrize(("rate", "error"), [(10.0, 2e-5), (17.0, 2e-5), (1e3, 1e-4), (6e4, 1e-3)])
def test_large_counts_keep_their_digits(rate, error):
    counts = np.random.default_rng(0).poisson(rate, 2000).astype(np.float32)
    log_rate = jnp.float32(np.log(rate))
    log_prob = jax.jit(lambda e: likelihoods.Poisson(jnp.full(2000, e)).log_prob(counts))(log_rate)
    exact = scipy.stats.poisson.logpmf(counts.astype(float), np.exp(float(log_rate)))
    np.testing.assert_allclose(log_prob, exact, atol=error)

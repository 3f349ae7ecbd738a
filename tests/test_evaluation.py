"""Evaluation against the linear-Gaussian oracle, and by counting."""

from __future__ import annotations

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import LinearGaussian, critical_value, within_confidence, z_scores
from scipy.special import logsumexp

from vaelab import evaluation
from vaelab.evaluation import likelihood
from vaelab.evaluation.averages import distortion, elbo, rate
from vaelab.likelihoods import BernoulliDecoder, GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.types import Examples

N, D = 4, 2
# With orthogonal columns of W the posterior is diagonal, and an encoder can be exact.
COLUMNS = np.linalg.qr(np.random.default_rng(0).normal(size=(N, D)))[0] * np.array([1.5, 0.7])
ORACLE = LinearGaussian(COLUMNS, np.array([0.3, -1.0, 0.5, 0.0]), sigma=0.8)
X = ORACLE.sample(1, 7).astype(np.float32)
EXACT = dict(shift=0.0, widening=1.0)
WRONG = dict(shift=0.3, widening=1.6)  # beside the posterior, and wider than it
KEY = jax.random.key(0)


class RecordingDecoder(GaussianDecoder):
    """Hands every z it decodes to the list `seen`."""

    @nn.compact
    def __call__(self, z):
        jax.debug.callback(lambda z: seen.append(np.array(z)), z, ordered=True)
        return GaussianDecoder(self.trunk, self.shape, self.scale, name="recorded")(z)


seen: list[np.ndarray] = []


@functools.cache
def make_model(decoder=GaussianDecoder):
    return VAE(
        encoder=ConditionalGaussian(MLP(()), D),
        decoder=decoder(MLP(()), shape=(N,), scale=ORACLE.sigma),
        prior=StandardNormal(D),
    )


def variance(widening: float) -> np.ndarray:
    return widening * ORACLE.best_diagonal_variance


def make_params(shift: float, widening: float) -> dict:
    """An encoder with the exact posterior's mean + shift, and its variance · widening."""
    gain = np.linalg.solve(ORACLE.posterior_precision, ORACLE.weight.T) / ORACLE.sigma**2
    kernel = np.concatenate([gain, np.zeros((D, N))]).T
    bias = np.concatenate([shift - gain @ ORACLE.bias, np.log(variance(widening))])
    decoder = {"kernel": ORACLE.weight.T, "bias": ORACLE.bias}
    dense = {"encoder": {"kernel": kernel, "bias": bias}, "decoder": decoder}
    as_float32 = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), dense)
    return {name: {"Dense_0": layer} for name, layer in as_float32.items()}


def log_likelihood(x, encoder, key=KEY, **settings):
    return evaluation.log_likelihood(
        evaluation.Subject(make_model(), make_params(**encoder), x), key, **settings
    )


def log_weights(x: np.ndarray, z: np.ndarray, encoder: dict) -> np.ndarray:
    """log p(x, z) − log q(z|x) in float64, for the encoder of `make_params`. [..., B]"""
    mean = ORACLE.posterior_mean(x) + encoder["shift"]
    log_q = scipy.stats.norm.logpdf(z, mean, np.sqrt(variance(encoder["widening"]))).sum(-1)
    location = z @ ORACLE.weight.T + ORACLE.bias
    log_likelihood = scipy.stats.norm.logpdf(x, location, ORACLE.sigma).sum(-1)
    return log_likelihood + scipy.stats.norm.logpdf(z).sum(-1) - log_q


# K a multiple of the chunk, not a multiple, smaller than it; batches whole and ragged.
SIZES = [(6, 3, 7), (7, 3, 3), (5, 100, 7)]


@pytest.mark.parametrize(("num_samples", "chunk_size", "batch_size"), SIZES)
def test_the_exact_posterior_gives_the_exact_log_p(num_samples, chunk_size, batch_size):
    """Every weight is p(x): one sample too many or too few would show as log (K ± 1)/K."""
    result = log_likelihood(
        X, EXACT, num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size
    )
    expected = ORACLE.log_prob(X)
    np.testing.assert_allclose(result.log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(result.effective_sample_size, num_samples, rtol=1e-4)
    np.testing.assert_allclose(result.mean, np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(
        result.standard_error, np.std(expected, ddof=1) / np.sqrt(7), rtol=1e-4
    )
    assert result.num_samples == num_samples


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(10, 4), (3, 50)])
def test_log_likelihood_is_the_logsumexp_over_the_first_k_draws(num_samples, chunk_size):
    model, params = make_model(RecordingDecoder), make_params(**WRONG)
    params["decoder"] = {"recorded": params["decoder"]}
    seen.clear()
    result = evaluation.log_likelihood(
        evaluation.Subject(model, params, X[:3]),
        KEY,
        num_samples=num_samples,
        chunk_size=chunk_size,
    )
    jax.effects_barrier()
    drawn = np.concatenate(seen).astype(np.float64)[:, :3]  # the batch is filled up to 50
    assert len(np.unique(drawn)) == drawn.size  # every chunk has draws of its own
    log_w = log_weights(X[:3], drawn[:num_samples], WRONG)
    assert len(log_w) == num_samples
    expected = logsumexp(log_w, axis=0) - np.log(num_samples)
    np.testing.assert_allclose(result.log_prob, expected, rtol=1e-5)
    w = np.exp(log_w - np.max(log_w, axis=0))
    ess = np.mean(np.sum(w, axis=0) ** 2 / np.sum(w**2, axis=0))
    np.testing.assert_allclose(result.effective_sample_size, ess, rtol=1e-4)


def test_the_estimate_is_unbiased_with_ragged_chunks_and_batches():
    x = np.repeat(X[:1], 4000, axis=0)  # as many independent estimates of one log p(x)
    result = log_likelihood(x, WRONG, num_samples=16, chunk_size=3, batch_size=1100)
    ratio = np.exp(result.log_prob - ORACLE.log_prob(X[:1]))
    assert within_confidence(ratio, 1.0)
    assert len(np.unique(result.log_prob)) > 3900


def test_log_likelihood_becomes_tighter_with_k_and_stays_below():
    x = np.repeat(X[:1], 4000, axis=0)
    gaps = [
        log_likelihood(x, WRONG, num_samples=K, chunk_size=8, batch_size=4000).log_prob
        - ORACLE.log_prob(X[:1])
        for K in (1, 4, 16, 64)
    ]
    q_variance, p_variance = variance(WRONG["widening"]), ORACLE.best_diagonal_variance
    ratio = q_variance / p_variance
    kl = 0.5 * np.sum(ratio - 1 - np.log(ratio) + WRONG["shift"] ** 2 / p_variance)
    assert within_confidence(gaps[0], -kl)  # one sample: the ELBO
    for looser, tighter in itertools.pairwise(gaps):
        assert z_scores(tighter - looser, 0.0) > critical_value(1)
    assert np.mean(gaps[-1]) < 0
    # More samples in more chunks bring new information: the variance falls as 1/K.
    assert np.var(gaps[3]) < 0.4 * np.var(gaps[2])


def test_memory_does_not_depend_on_the_number_of_samples():
    params = make_params(**WRONG)

    def temporary_bytes(num_samples):
        lowered = likelihood.batch_estimate.lower(
            make_model(), num_samples, 100, params, Examples(X), KEY
        )
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(1_000) == temporary_bytes(100_000) > 0


FUNCTIONS = {"elbo": elbo, "rate": rate, "distortion": distortion}


def expectations(x, encoder, functions=FUNCTIONS, **settings):
    return evaluation.expectations(
        evaluation.Subject(make_model(), make_params(**encoder), x), KEY, functions, **settings
    )


def test_elbo_rate_and_distortion_equal_the_oracle():
    x = np.repeat(X[:1], 3000, axis=0)  # so that the standard error is that of the sampling
    result = expectations(x, WRONG, num_samples=8, batch_size=1100)
    mean, var = ORACLE.posterior_mean(X[:1]) + WRONG["shift"], variance(WRONG["widening"])[None]
    expected = {
        "elbo": ORACLE.elbo(X[:1], mean, var),
        "rate": np.sum(ORACLE.kl(mean, var), -1),
        "distortion": ORACLE.distortion(X[:1], mean, var),
    }
    for name, estimate in result.items():
        z = (estimate.mean - expected[name][0]) / estimate.standard_error
        assert abs(z) < critical_value(3), name
        assert estimate.standard_error < 0.02
    total = result["rate"].mean + result["distortion"].mean
    np.testing.assert_allclose(result["elbo"].mean, -total, rtol=1e-6)


def first_pixel(examples, terms):
    return jnp.broadcast_to(examples.x[:, 0], terms.distortion.shape)


@pytest.mark.parametrize("batch_size", [7, 3, 50])
def test_ragged_batches_count_exactly(batch_size):
    result = expectations(X, EXACT, {"pixel": first_pixel}, num_samples=2, batch_size=batch_size)
    values = X[:, 0].astype(np.float64)
    np.testing.assert_allclose(result["pixel"].mean, np.mean(values), rtol=1e-6)
    error = np.sqrt(np.sum((values - np.mean(values)) ** 2) / 6 / 7)
    np.testing.assert_allclose(result["pixel"].standard_error, error, rtol=1e-6)


def test_progress_sees_every_batch():
    shown = []

    def progress(indices):
        for index in indices:
            shown.append(index)
            yield index

    expectations(X, EXACT, {"pixel": first_pixel}, num_samples=2, batch_size=3, progress=progress)
    assert shown == [0, 1, 2]


def active_units(slopes, *, num_examples, posterior_variance=0.5, **settings):
    """Of q(z_d|x) = N(slope_d x, posterior_variance), x of mean 0 and variance 1 in the sample."""
    x = np.random.default_rng(0).normal(size=(num_examples, 1))
    x = ((x - np.mean(x)) / np.std(x, ddof=1)).astype(np.float32)
    dim = len(slopes)
    model = VAE(
        encoder=ConditionalGaussian(MLP(()), dim),
        decoder=GaussianDecoder(MLP(()), shape=(1,)),
        prior=StandardNormal(dim),
    )
    kernel = np.concatenate([slopes, np.zeros(dim)])[None]
    bias = np.concatenate([np.ones(dim), np.full(dim, np.log(posterior_variance))])
    decoder = {"kernel": np.zeros((dim, 1)), "bias": np.zeros(1)}
    params = {
        "encoder": {"Dense_0": {"kernel": kernel, "bias": bias}},
        "decoder": {"Dense_0": decoder},
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    return evaluation.active_units(evaluation.Subject(model, params, x), KEY, **settings)


def test_active_units_are_those_above_the_threshold():
    # Sampling noise alone, 0.5/64 = 0.0078, would lift the second and the fourth over it.
    variances = np.array([0.0, 0.007, 0.013, 0.004, 1.0, 0.05])
    slopes = np.sqrt(variances) * np.array([1, -1, 1, 1, -1, 1])
    assert active_units(slopes, num_examples=2500, batch_size=700) == [3]
    assert active_units(slopes, num_examples=2500, batch_size=700, threshold=0.5) == [1]


def test_the_noise_of_active_units_is_subtracted_without_bias():
    """At the threshold itself an unbiased estimate is above it half of the time."""
    slopes = np.full(400, 0.1)
    (above,) = active_units(slopes, num_examples=600, num_samples=8, batch_size=300)
    assert abs(above - 200) < 4 * np.sqrt(400 / 4)


def test_errors_are_sentences():
    for function in (log_likelihood, expectations):
        with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
            function(X, EXACT, num_samples=0)
        with pytest.raises(ValueError, match="data are empty"):
            function(X[:0], EXACT)
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            function(X, EXACT, batch_size=0)
        with pytest.raises(ValueError, match=r"must be an array \[N, ...\] of examples, got 1.0"):
            function(np.float32(1), EXACT)
        with pytest.raises(ValueError, match=r"events of shape \(3,\), and model.decoder.shape is"):
            function(X[:, :3], EXACT)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        log_likelihood(X, EXACT, chunk_size=0)
    with pytest.raises(ValueError, match="num_samples must be at least 2, got 1"):
        active_units(np.ones(1), num_examples=4, num_samples=1)
    with pytest.raises(ValueError, match=r"data must hold at least 2 examples .* got 1"):
        evaluation.active_units(evaluation.Subject(make_model(), make_params(**EXACT), X[:1]), KEY)


def test_one_example_has_no_standard_error():
    settings = dict(num_samples=7, chunk_size=3, batch_size=3)
    assert np.isnan(log_likelihood(X[:1], EXACT, **settings).standard_error)
    result = expectations(X[:1], EXACT, {"pixel": first_pixel}, num_samples=2, batch_size=3)[
        "pixel"
    ]
    assert np.isnan(result.standard_error)
    np.testing.assert_allclose(result.mean, X[0, 0], rtol=1e-6)


BITS = np.random.default_rng(0).integers(0, 2, size=(3, N)).astype(np.float32)


@functools.cache
def bernoulli_model():
    return VAE(
        encoder=ConditionalGaussian(MLP(()), D),
        decoder=BernoulliDecoder(MLP(()), shape=(N,)),
        prior=StandardNormal(D),
    )


def estimates(x):
    """log p(x), rate and distortion of a Bernoulli model."""
    params = make_params(**EXACT)
    subject = evaluation.Subject(bernoulli_model(), params, x)
    found = evaluation.expectations(subject, KEY, FUNCTIONS, num_samples=2, batch_size=3)
    return found, evaluation.log_likelihood(subject, KEY, num_samples=2, batch_size=3).mean


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (2 * BITS - 1, r"x holds -1 in example 0, outside \[0, 1\]"),
        ((255 * BITS).astype(np.uint8), r"x holds 255 in example 0, outside \[0, 1\]"),
        (jnp.asarray(255 * BITS), r"x holds 255 in example 0, outside \[0, 1\]"),
        (np.where(BITS == 1, np.nan, BITS), "x holds nan in example 0"),
    ],
)
def test_values_outside_the_range_of_the_likelihood_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        estimates(x)


def test_every_type_of_the_same_numbers_gives_the_same_estimates():
    expected = estimates(BITS)
    for x in (BITS.astype(np.int64), BITS.astype(bool), BITS.tolist(), jnp.asarray(BITS)):
        assert estimates(x) == expected


@pytest.mark.parametrize("function", [lambda e, t: e.x, lambda e, t: e.x[:, 0], lambda e, t: 1.0])
def test_functions_of_another_shape_are_refused(function):
    """Their mean over the first axis would be a number, and no expectation."""
    with pytest.raises(
        ValueError, match=r"functions\['f'\] must return values \[K, B\] = \[2, 7\]"
    ):
        expectations(X, EXACT, {"f": function}, num_samples=2, batch_size=7)


def test_an_interrupt_says_how_far_the_evaluation_was():
    def progress(batches):
        for index in batches:
            if index == 2:
                raise KeyboardInterrupt
            yield index

    settings = {"num_samples": 2, "batch_size": 3, "progress": progress}
    sentence = "interrupted after 2 batches of 3, and has no result"
    with pytest.raises(KeyboardInterrupt, match=sentence):
        expectations(X, EXACT, {"pixel": first_pixel}, **settings)
    with pytest.raises(KeyboardInterrupt, match=sentence):
        log_likelihood(X, EXACT, **settings)


def test_a_batch_that_does_not_fit_into_memory_is_refused_with_its_size():
    with pytest.raises(ValueError, match="a batch with batch_size = 7 does not fit into memory"):
        expectations(X, EXACT, num_samples=2**34, batch_size=7)

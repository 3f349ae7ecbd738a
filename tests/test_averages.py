"""Standard errors of means over draws from given inputs, against repeated draws and by hand."""

import jax
import numpy as np
import pytest

from vaelab import evaluation
from vaelab.checks import UsageError
from vaelab.evaluation.averages import mean_and_error, stratified_mean_and_error
from vaelab.evaluation.batches import even_draws
from vaelab.likelihoods import GaussianDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal

NUM_INPUTS, NUM_REPEATS = 11, 1000
MEANS = np.linspace(-2.0, 3.0, NUM_INPUTS)
STDS = np.linspace(0.2, 1.5, NUM_INPUTS)


def repeated(num_draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, and standard errors stratified and plain, of many estimates from even draws, [R] each."""
    rng = np.random.default_rng(num_draws)
    rows = []
    for key in jax.random.split(jax.random.key(num_draws), NUM_REPEATS):
        inputs = even_draws(key, num_draws, NUM_INPUTS)
        values = MEANS[inputs] + STDS[inputs] * rng.normal(size=num_draws)
        ours = stratified_mean_and_error(values, inputs)
        rows.append((ours.mean, ours.standard_error, mean_and_error(values).standard_error))
    mean, error, plain = np.array(rows).T
    return mean, error, plain


def assert_equal_variances(mean, error):
    """The spread of the means is the stated one; of R normal ones, the variance is known to √(2/R)."""
    ratio = np.mean(error**2) / np.var(mean, ddof=1)
    assert abs(ratio - 1) < 4 * np.sqrt(2 / len(mean))


@pytest.mark.parametrize("num_draws", [2 * NUM_INPUTS, 2 * NUM_INPUTS + 5, 4 * NUM_INPUTS - 1])
def test_the_stated_error_is_the_spread_of_repeated_estimates(num_draws):
    mean, error, plain = repeated(num_draws)
    assert_equal_variances(mean, error)
    assert np.mean(mean) == pytest.approx(np.mean(MEANS), abs=4 * np.std(mean) / np.sqrt(len(mean)))
    assert np.mean(plain**2) > 1.5 * np.var(mean, ddof=1)  # what it was before


@pytest.mark.parametrize("num_draws", [NUM_INPUTS - 3, NUM_INPUTS, 2 * NUM_INPUTS - 1])
def test_with_fewer_draws_the_error_is_conservative(num_draws):
    mean, error, plain = repeated(num_draws)
    np.testing.assert_array_equal(error, plain)
    assert np.mean(error**2) > 1.2 * np.var(mean, ddof=1)


@pytest.mark.parametrize("slope", [0.9, 1.3])
def test_a_difference_estimate_is_unbiased_and_its_error_is_the_spread(slope):
    """y = slope · c + noise with mean 2, from 40 of 200 examples: the slope need not be 1."""
    rng, rows = np.random.default_rng(5), []
    for _ in range(NUM_REPEATS):
        cheap = rng.normal(1.0, 2.0, size=200)
        values = 2.0 + slope * (cheap - 1.0) + rng.normal(0.0, 0.5, size=200)
        few = rng.permutation(200)[:40]
        ours = evaluation.difference_estimate(values[few], cheap[few], cheap)
        rows.append((*ours, mean_and_error(values[few]).standard_error))
    mean, error, plain = np.array(rows).T
    assert_equal_variances(mean, error)
    assert np.mean(mean) == pytest.approx(2.0, abs=4 * np.std(mean) / np.sqrt(len(mean)))
    assert np.mean(error) < 0.6 * np.mean(plain)


def test_a_difference_estimate_from_all_examples_is_the_plain_mean():
    rng = np.random.default_rng(6)
    cheap, values = rng.normal(size=50), rng.normal(size=50)
    ours = evaluation.difference_estimate(values, cheap, cheap)
    np.testing.assert_allclose(ours, mean_and_error(values), rtol=1e-12)


def test_a_difference_estimate_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match=r"shape of values = \(3,\) and shape of cheap = \(1,\)"):
        evaluation.difference_estimate(np.ones(3), np.ones(1), np.ones(9))
    with pytest.raises(UsageError, match="values must hold at least two examples, got 1"):
        evaluation.difference_estimate(np.ones(1), np.ones(1), np.ones(9))


def test_one_input_is_a_plain_sample():
    values = np.random.default_rng(0).normal(size=50)
    ours, plain = stratified_mean_and_error(values, np.zeros(50, int)), mean_and_error(values)
    assert ours == pytest.approx(plain, rel=1e-12)


def test_an_incomplete_round_of_inputs_without_noise_is_a_draw_without_replacement():
    """M = 7 draws of N = 3 numbers, m = 1 of them in the third round: Var = (m/M)² (1 − m/N) s²/m."""
    numbers = np.array([1.0, 2.0, 6.0])
    squares = []
    for extra in range(3):
        inputs = np.array([0, 1, 2, 0, 1, 2, extra])
        squares.append(stratified_mean_and_error(numbers[inputs], inputs).standard_error ** 2)
    expected = (1 / 7) ** 2 * (1 - 1 / 3) * np.var(numbers, ddof=1)
    assert np.mean(squares) == pytest.approx(expected, rel=1e-12)  # unbiased, over all that may be


@pytest.mark.parametrize("name", ["marginal_kl", "elbo_surgery", "subsampled_marginal_kl"])
def test_the_marginal_kl_states_the_spread_of_repeated_estimates(name):
    """Inputs whose posteriors differ much: a plain error would be three times too large."""
    mean = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]])
    model = VAE(
        encoder=ConditionalGaussian(MLP(()), 2),
        decoder=GaussianDecoder(MLP(()), shape=(4,)),
        prior=StandardNormal(2),
    )
    params = {"encoder": {"Dense_0": {"kernel": np.eye(4, dtype=np.float32), "bias": np.zeros(4)}}}
    x = np.concatenate([mean, np.full_like(mean, 2 * np.log(0.5))], axis=1).astype(np.float32)

    subject = evaluation.Subject(model, params, x)
    aggregated = evaluation.aggregated_posterior(subject)
    settings = {"sizes": [3]} if name == "subsampled_marginal_kl" else {}
    pick = {
        "marginal_kl": lambda result: result,
        "subsampled_marginal_kl": lambda result: result[3],
    }

    def estimate(key):
        function = getattr(evaluation, name)
        of = subject if name == "marginal_kl" else aggregated
        result = function(of, key, num_points=30, batch_size=30, **settings)
        return pick.get(name, lambda result: result.marginal_kl)(result)

    estimates = [estimate(key) for key in jax.random.split(jax.random.key(0), 250)]
    assert_equal_variances(*np.array(estimates).T)

"""Measures of single levels, against closed forms of linear-Gaussian models."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import critical_value, z_scores
from scipy.stats import norm
from two_level import TwoLevel

from experiments.hierarchy.measures import noise_like
from vaelab import evaluation
from vaelab.evaluation import GibbsChain, Subject
from vaelab.likelihoods import GaussianDecoder
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.types import Examples, Terms

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SIGMA = 0.6


@dataclasses.dataclass(frozen=True)
class Parts:
    """Independent levels z_l ~ N(½, I); x = (z_0, z_1) + σ·noise; q(z|x) is the exact posterior.

    A model is any object with the methods that a measure calls. It has no module and no parameters.
    """

    latent_dims: tuple[int, int] = (1, 1)
    sigma: float = SIGMA

    def check_data(self, examples):
        pass

    def at(self, params):
        return self

    def encode(self, x, context=None):
        return x

    @property
    def gain(self) -> float:
        return 1 / (1 + self.sigma**2)

    def level_posterior(self, encoding, level=0):
        part = jnp.split(encoding, [self.latent_dims[0]], axis=-1)[level]
        mean = 0.5 + self.gain * (part - 0.5)
        scale = self.sigma * self.gain**0.5 * jnp.ones_like(mean)
        return distrax.Independent(distrax.Normal(mean, scale), 1)

    def terms(self, encoding, x, key, num_samples=1):
        latents, rates = [], []
        for level in range(2):
            q = self.level_posterior(encoding, level)
            z = q.sample(seed=jax.random.fold_in(key, level), sample_shape=(num_samples,))
            latents.append(z)
            rates.append(q.log_prob(z) - jnp.sum(jax.scipy.stats.norm.logpdf(z, 0.5), axis=-1))
        likelihood = self.decode(tuple(latents))
        return Terms(
            -likelihood.log_prob(x), tuple(rates), (None, None), tuple(latents), likelihood
        )

    def __call__(self, x, key, num_samples=1, context=None):
        return self.terms(self.encode(x), x, key, num_samples)

    def decode(self, latents, context=None):
        return distrax.Independent(
            distrax.Normal(jnp.concatenate(latents, axis=-1), self.sigma or 1.0), 1
        )

    def sample_latents(self, key, num_samples, context=None):
        z = 0.5 + jax.random.normal(key, (num_samples, sum(self.latent_dims)))
        return tuple(jnp.split(z, [self.latent_dims[0]], axis=-1))

    def resample_level(self, key, latents, level=0, context=None):
        z = 0.5 + jax.random.normal(key, latents[level].shape)
        return (z, latents[1]) if level == 0 else (latents[0], z)


PARTS = Parts()
LABELS = RNG.integers(0, 2, 3000).astype(np.int32)
# The sign of the first coordinate is the label; the second coordinate does not know it.
X = np.stack([(2 * LABELS - 1) * (1 + RNG.uniform(size=3000)), RNG.normal(size=3000)], axis=1)
X = X.astype(np.float32)


def sign_of_first(x):
    """Class 1 if the first coordinate is positive."""
    positive = (x[..., :1] > 0).astype(x.dtype)
    return jnp.concatenate([1 - positive, positive], axis=-1)


# p(z_2) = N(0, 1), p(z_1|z_2) = N(a z_2, s²), p(x|z_1) = N(z_1, σ²), q(z_1|x) exact, q(z_2|x) wrong.
SLOPE, SPREAD, OBSERVED = 0.8, 0.5, 0.7
WRONG_MEAN, WRONG_SCALE = 0.3, 0.4
CHAIN = TwoLevel(
    top_encoder=ConditionalGaussian(MLP(()), 1),
    bottom_encoder=ConditionalGaussian(MLP(()), 1),
    between=ConditionalGaussian(MLP(()), 1),
    decoder=GaussianDecoder(MLP(()), shape=(1,), scale=OBSERVED),
    prior=StandardNormal(1),
)
BOTTOM = SLOPE**2 + SPREAD**2  # variance of p(z_1)
GAIN = BOTTOM / (BOTTOM + OBSERVED**2)


@functools.cache
def chain_params():
    def gaussian(slope, mean, scale):
        kernel = jnp.array([[slope, 0.0]], jnp.float32)
        return {"Dense_0": {"kernel": kernel, "bias": jnp.array([mean, 2 * np.log(scale)])}}

    return {
        "top_encoder": gaussian(0.0, WRONG_MEAN, WRONG_SCALE),
        "bottom_encoder": gaussian(GAIN, 0.0, OBSERVED * GAIN**0.5),
        "between": gaussian(SLOPE, 0.0, SPREAD),
        "decoder": {"Dense_0": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}},
    }


def chain_subject(x) -> Subject:
    return Subject(CHAIN, chain_params(), np.asarray(x, np.float32))


def test_active_units_are_those_whose_mean_depends_on_x():
    """The mean of q(z_1|x) is GAIN x, and that of q(z_2|x) is the same for all x."""
    x = np.random.default_rng(3).normal(size=(500, 1))
    assert evaluation.active_units(chain_subject(x), KEY, num_samples=64) == [0, 1]


def kl(mean, scale, other_mean, other_scale):
    """KL(N(mean, scale²) ‖ N(other_mean, other_scale²))."""
    ratio = (scale / other_scale) ** 2
    return 0.5 * (ratio + ((mean - other_mean) / other_scale) ** 2 - 1 - np.log(ratio))


def test_level_rates_equal_closed_forms_and_add_up():
    x = RNG.normal(size=(50, 1))
    rates = evaluation.level_rates(chain_subject(x), KEY, num_samples=400)
    assert rates[0].mean == pytest.approx(kl(WRONG_MEAN, WRONG_SCALE, 0, 1), rel=1e-5)
    assert rates[0].standard_error == pytest.approx(0, abs=1e-6)  # q(z_2|x) is the same for all x
    # E over q(z_2) of KL(q(z_1|x) ‖ N(a z_2, s²)): the variance of a z_2 adds to the squared distance.
    each = kl(GAIN * x, OBSERVED * GAIN**0.5, SLOPE * WRONG_MEAN, SPREAD)
    expected = np.mean(each) + 0.5 * (SLOPE * WRONG_SCALE / SPREAD) ** 2
    assert rates[1].mean == pytest.approx(expected, abs=0.05)
    assert rates[1].standard_error == pytest.approx(np.std(each, ddof=1) / np.sqrt(50), rel=0.05)
    total = evaluation.expectations(
        chain_subject(x), KEY, {"rate": evaluation.rate}, num_samples=400
    )["rate"]
    assert sum(rate.mean for rate in rates) == pytest.approx(total.mean, abs=0.05)


def test_codes_are_posterior_means_where_they_have_a_closed_form():
    x = RNG.normal(size=(40, 1))
    top, bottom = evaluation.level_codes(chain_subject(x), KEY, num_samples=200)
    assert (top.kind, bottom.kind) == ("mean of q", "mean of 200 samples of q")
    np.testing.assert_allclose(top.values, WRONG_MEAN, rtol=1e-6)
    z = (bottom.values - GAIN * x) / (OBSERVED * (GAIN / 200) ** 0.5)
    assert np.all(np.abs(z) < critical_value(z.size))
    (single, _) = evaluation.level_codes(chain_subject(x), KEY, num_samples=1)
    assert single.kind == "mean of q"


def test_a_probe_reads_the_label_from_the_level_that_carries_it():
    train, test = (Examples(X[rows], LABELS[rows]) for rows in (slice(1000), slice(2000, None)))
    carries, other = evaluation.probe_accuracies(Subject(PARTS, {}, train), test, KEY, max_epochs=8)
    assert carries.accuracy.mean > 0.99
    assert abs(other.accuracy.mean - 0.5) < 4 * 0.5 / 1000**0.5
    share = other.accuracy.mean
    assert other.accuracy.standard_error == pytest.approx((share * (1 - share) / 999) ** 0.5)
    assert other.majority == np.bincount(test.labels).max() / 1000
    assert (carries.code, carries.num_train, carries.num_test) == ("mean of q", 1000, 1000)


def test_samples_of_a_level_without_rate_carry_nothing():
    """The mean of q differs by 10⁻³ between the labels: a probe of means reads it, a probe of samples does not."""
    labels = np.tile(np.int32([0, 1]), 600)
    data = Examples(labels[:, None].astype(np.float32), labels)
    params = chain_params() | {
        "top_encoder": {"Dense_0": {"kernel": jnp.array([[1e-3, 0.0]]), "bias": jnp.zeros(2)}}
    }
    subject = Subject(CHAIN, params, data)
    (mean, _), (sample, _) = (
        evaluation.probe_accuracies(subject, data, KEY, codes=codes, max_epochs=4)
        for codes in (evaluation.level_codes, evaluation.level_samples)
    )
    assert mean.accuracy.mean == 1
    assert abs(sample.accuracy.mean - 0.5) < 4 * 0.5 / 1200**0.5
    assert sample.code == "sample of q"


def test_a_probe_of_images_has_probabilities_and_original_labels():
    labels = np.array([3, 5, 9])[RNG.integers(0, 3, 300)]
    images = np.zeros((300, 2, 2, 1), np.float32)
    images[labels == 5, 0] = 1
    images[labels == 9, :, 1] = 1
    probe = evaluation.fit_probe(images, labels, hidden=(8,), max_epochs=40)
    np.testing.assert_array_equal(probe.predict(images), labels)
    probabilities = probe(jnp.asarray(images).reshape(3, 100, 2, 2, 1))
    assert probabilities.shape == (3, 100, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def test_resampling_flips_labels_at_the_rate_of_the_prior():
    exact = Parts(sigma=0.0)  # z = x
    subject = Subject(exact, {}, X)
    first = evaluation.resampling_effect(subject, KEY, sign_of_first, [0])
    share = LABELS.mean()
    flips = share * norm.cdf(-0.5) + (1 - share) * norm.cdf(0.5)
    assert abs(first.flip_rate.mean - flips) < 4 * first.flip_rate.standard_error
    distance = X[:, 0] - 0.5  # E|distance − N(0, 1)|, the mean of a folded normal
    folded = 2 * norm.pdf(distance) + distance * (2 * norm.cdf(distance) - 1)
    assert abs(first.change.mean - folded.mean() / 2) < 4 * first.change.standard_error
    second = evaluation.resampling_effect(subject, KEY, sign_of_first, [1])
    assert second.flip_rate == (0.0, 0.0)
    assert second.change.mean > 0
    both = evaluation.resampling_effect(subject, KEY, sign_of_first, [1, 0])
    assert both.levels == (0, 1)
    assert abs(both.flip_rate.mean - flips) < 4 * both.flip_rate.standard_error


def test_a_level_that_the_likelihood_does_not_read_has_an_effect_through_later_levels_only():
    subject = chain_subject(RNG.normal(size=(400, 1)))
    sign = lambda x: sign_of_first(x)  # noqa: E731
    alone = evaluation.resampling_effect(subject, KEY, sign, [0])
    assert alone.flip_rate.mean == alone.change.mean == 0
    below = evaluation.resampling_effect(subject, KEY, sign, [0, 1])
    assert abs(below.flip_rate.mean - 0.5) < 4 * below.flip_rate.standard_error


def assert_moments(values, mean, variance):
    """Mean and variance of each column of values [N, D]."""
    assert np.all(np.abs(z_scores(values, mean)) < critical_value(20))
    assert np.all(np.abs(z_scores((values - mean) ** 2, variance)) < critical_value(20))


def test_a_gibbs_chain_has_the_law_of_its_autoregression_at_every_step():
    start = np.float32([4.0, -3.0])
    chain = evaluation.gibbs_chain(
        Subject(PARTS, {}, np.tile(start, (3000, 1))), KEY, steps=(1, 3, 20), batch_size=800
    )
    assert chain.steps == (0, 1, 3, 20)
    np.testing.assert_array_equal(chain.x[0], chain.mean[0])
    np.testing.assert_array_equal(chain.x[0, 0], start)
    # x' − ½ = ρ (x − ½) + noise, with ρ = 1/(1 + σ²) and the stationary variance 1 + σ².
    stationary = 1 + SIGMA**2
    for step, x, mean in zip(chain.steps[1:], chain.x[1:], chain.mean[1:], strict=True):
        kept = PARTS.gain**step
        assert_moments(x, 0.5 + kept * (start - 0.5), (1 - kept**2) * stationary)
        assert_moments(x - mean, 0.0, SIGMA**2)


def test_only_the_chosen_levels_carry_the_state_of_a_gibbs_chain():
    start = np.float32([4.0, -3.0])
    subject = Subject(PARTS, {}, np.tile(start, (3000, 1)))
    chain = evaluation.gibbs_chain(subject, KEY, steps=(1,), levels=(0,), batch_size=3000)
    assert_moments(chain.x[1], [0.5 + PARTS.gain * 3.5, 0.5],
                   [(1 - PARTS.gain**2) * (1 + SIGMA**2), 1 + SIGMA**2])  # fmt: skip


def test_the_bottom_level_alone_generates_the_data_of_a_stacked_model():
    """The law of the chain is the model's p(x), although the posterior of the upper level is wrong."""
    subject = chain_subject(np.full((3000, 1), 5.0))
    for levels in (None, (1,)):
        chain = evaluation.gibbs_chain(subject, KEY, steps=(40,), levels=levels, batch_size=3000)
        assert_moments(chain.x[-1], 0.0, BOTTOM + OBSERVED**2)


def test_noise_has_the_values_of_the_data():
    x = np.float32([[0, 0, 1], [1, 1, 1]])
    noise = noise_like(np.tile(x, (1000, 1)), KEY)
    assert noise.shape == (2000, 3)
    assert abs(z_scores(noise.reshape(-1), 2 / 3)) < 4


def test_labels_of_a_chain_count_unclear_images_against_the_chain():
    classifier = lambda x: x  # noqa: E731  the images are their class probabilities
    data = np.eye(2)[[0, 0, 0, 1]]
    clear, unclear = np.eye(2)[[0, 1, 1, 1]], np.full((4, 2), 0.5)
    chain = GibbsChain((0, 1, 2), np.zeros((3, 4, 2)), np.stack([data, clear, unclear]))
    samples = np.concatenate([np.eye(2)[[0]], unclear[:1]])
    labels = evaluation.labels_of_chain(chain, data, samples, classifier, threshold=0.8)
    np.testing.assert_allclose(labels.model_shares, [0.5, 0, 0.5])
    assert labels.distance_of_model.mean == pytest.approx(0.5)
    np.testing.assert_allclose(labels.reference, [0.75, 0.25, 0])
    np.testing.assert_allclose(labels.shares, [[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 1]])
    assert [each.mean for each in labels.total_variation] == pytest.approx([0, 0.5, 1])
    assert [each.mean for each in labels.distance_to_model] == pytest.approx([0.5, 0.75, 0.5])
    # Binomial(4, ¾): the mean distance from 3, over 4.
    expected = sum(abs(k - 3) / 4 * p for k, p in zip(range(5), [1, 12, 54, 108, 81], strict=True))
    assert labels.floor == pytest.approx(expected / 256, abs=0.03)
    assert labels.total_variation[2].standard_error == 0


def test_traversals_move_one_level_through_the_quantiles_of_its_prior():
    line = evaluation.traverse_level(Subject(PARTS, {}, X), KEY, 1, num=5, num_rows=3).means
    assert line.shape == (3, 5, 2)
    expected = norm.ppf(np.linspace(0.05, 0.95, 5), 0.5)
    np.testing.assert_allclose(line[:, :, 1], np.tile(expected, (3, 1)), atol=0.15)
    assert len(np.unique(line[:, :, 0], axis=1)[0]) == 1
    assert len(np.unique(line[:, 0, 0])) == 3
    subject = Subject(Parts((2, 1)), {}, np.zeros((1, 3), np.float32))
    grid = evaluation.traverse_level(subject, KEY, 0, num=3).means
    assert grid.shape == (3, 3, 3)
    for row, column in itertools.product(range(3), range(3)):
        np.testing.assert_array_equal(grid[row, column, 0], grid[0, column, 0])
        np.testing.assert_array_equal(grid[row, column, 1], grid[row, 0, 1])
    assert np.all(np.diff(grid[0, :, 0]) > 0)
    assert np.all(np.diff(grid[:, 0, 1]) < 0)
    assert len(np.unique(grid[..., 2])) == 1
    subject = Subject(Parts((3, 1)), {}, np.zeros((1, 4), np.float32))
    wide = evaluation.traverse_level(subject, KEY, 0, num=6, num_rows=2).means
    assert wide.shape == (2, 6, 4)
    np.testing.assert_array_equal(wide[0, :, :3], wide[1, :, :3])


def test_later_levels_follow_a_traversal_with_their_noise_fixed():
    """z_1 = a z_2 + s ε: as z_2 moves through its quantiles, z_1 moves along a line."""
    means = evaluation.traverse_level(chain_subject([[0.0]]), KEY, 0, num=5, num_rows=2).means
    moved = SLOPE * norm.ppf(np.linspace(0.05, 0.95, 5))
    np.testing.assert_allclose(means[:, :, 0] - means[:, 2:3, 0], [moved] * 2, atol=0.15)
    assert means[0, 0, 0] - means[1, 0, 0] != 0


def test_bad_input_is_refused():
    subject = Subject(PARTS, {}, Examples(X, LABELS))
    unlabelled = Examples(X)
    with pytest.raises(ValueError, match="the data have no labels: choose data with classes"):
        evaluation.probe_accuracies(Subject(PARTS, {}, unlabelled), subject.examples, KEY)
    with pytest.raises(ValueError, match="labels must be classes, integers"):
        evaluation.probe_accuracies(subject, Examples(X, X[:, 0]), KEY)
    with pytest.raises(ValueError, match="labels must hold at least two classes, got 1"):
        evaluation.fit_probe(X, np.zeros(3000, int))
    with pytest.raises(ValueError, match="at least 2 examples of each class and 20 in all, got 1"):
        evaluation.fit_probe(X[:30], np.arange(30) // 29)
    for levels, sentence in (([2], r"level must be 0 \(top\) to 1, got 2"), ([], "got none")):
        with pytest.raises(ValueError, match=sentence):
            evaluation.resampling_effect(subject, KEY, sign_of_first, levels)
    with pytest.raises(ValueError, match=r"level must be 0 \(top\) to 1, got -1"):
        evaluation.gibbs_chain(subject, KEY, levels=(-1,))
    for steps in ((), (0, 3)):
        with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
            evaluation.gibbs_chain(subject, KEY, steps=steps)
    with pytest.raises(ValueError, match=r"steps must be increasing, got \(3, 3\)"):
        evaluation.gibbs_chain(subject, KEY, steps=(3, 3))
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        evaluation.level_rates(subject, KEY, num_samples=0)
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\), got 1"):
        evaluation.labels_of_chain(
            GibbsChain((0,), X[None], X[None]), X, X, sign_of_first, threshold=1.0
        )

"""σ* and the quantised NLL of a linear model, against closed forms, and of a conditional model."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from oracles import critical_value

from vaelab.evaluation import Subject, optimal_scale, quantised_nll
from vaelab.likelihoods import Bernoulli, GaussianDecoder, Pixels
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.types import Examples, Terms

N, SHAPE, D, LEVELS = 7, (3, 2, 1), 2, 16
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = (RNG.integers(0, LEVELS, size=(N, *SHAPE)) / (LEVELS - 1)).astype(np.float32)
MODEL = VAE(
    encoder=ConditionalGaussian(MLP((), event_ndims=3), D),
    decoder=GaussianDecoder(MLP(()), SHAPE, scale=0.7),
    prior=StandardNormal(D),
)


def linear(log_variance):
    """Parameters, and with them x -> (mean of z, decoder's W [D, 6], its bias) in float64."""
    draw = lambda *shape: 0.3 * RNG.normal(size=shape)  # noqa: E731
    to_mean, to_x, offset = draw(6, D), draw(D, 6), 0.5 + draw(6)
    params = {
        "encoder": {"Dense_0": {
            "kernel": np.concatenate([to_mean, np.zeros((6, D))], axis=1),
            "bias": np.concatenate([np.zeros(D), np.full(D, log_variance)]),
        }},
        "decoder": {"Dense_0": {"kernel": to_x, "bias": offset}},
    }  # fmt: skip
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    return params, IMAGES.reshape(N, 6).astype(np.float64) @ to_mean @ to_x + offset, to_x


def test_estimates_without_noise_equal_those_of_numpy():
    """z = its mean: σ*² is the mean squared error, and the NLL that of a normal binned by its CDF."""
    params, reconstruction, _ = linear(log_variance=-60.0)
    x = IMAGES.reshape(N, 6).astype(np.float64)
    squares = np.mean((x - reconstruction) ** 2, axis=1)
    ours = optimal_scale(Subject(MODEL, params, IMAGES), KEY, batch_size=3)  # a ragged last batch
    assert ours.mean_squared_error == pytest.approx(np.mean(squares), rel=1e-5)
    assert ours.scale == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)
    assert ours.standard_error == pytest.approx(np.std(squares, ddof=1) / np.sqrt(N), rel=1e-4)

    half, scale = 0.5 / (LEVELS - 1), np.sqrt(np.mean(squares))
    cdf = lambda v: scipy.stats.norm.cdf(v, reconstruction, scale)  # noqa: E731
    above = np.where(x > 1 - half, 1.0, cdf(x + half))
    below = np.where(x < half, 0.0, cdf(x - half))
    nll = -np.mean(np.log(above - below), axis=1)
    ours = quantised_nll(
        Subject(MODEL, params, IMAGES), KEY, scale=ours.scale, levels=LEVELS, batch_size=3
    )
    assert ours.mean == pytest.approx(np.mean(nll), rel=1e-4)
    assert ours.bits == pytest.approx(np.mean(nll) / np.log(2), rel=1e-4)
    assert ours.standard_error == pytest.approx(np.std(nll, ddof=1) / np.sqrt(N), rel=1e-3)


def test_the_noise_of_the_posterior_counts():
    """E_q ‖x − Wᵀz − b‖² = ‖x − Wᵀμ − b‖² + s² ‖W‖²; the model's own σ does not matter."""
    variance, num_samples = 0.8, 4000
    params, reconstruction, to_x = linear(log_variance=np.log(variance))
    x = IMAGES.reshape(N, 6).astype(np.float64)
    noise = variance * np.sum(to_x**2) / 6
    expected = np.mean((x - reconstruction) ** 2) + noise
    ours = optimal_scale(Subject(MODEL, params, IMAGES), KEY, num_samples=num_samples, batch_size=N)
    # Var ‖r − Wᵀε‖² = 4 s² ‖W r‖² + 2 s⁴ ‖W Wᵀ‖², r the residual of the mean, per example.
    residual = (x - reconstruction) @ to_x.T
    variances = 4 * variance * np.sum(residual**2, axis=1)
    variances = (variances + 2 * variance**2 * np.sum((to_x @ to_x.T) ** 2)) / 36
    error = np.sqrt(np.sum(variances) / num_samples) / N
    assert abs(ours.mean_squared_error - expected) < critical_value(1) * error


class FromContext(nn.Module):
    """A model that reconstructs its context plus k · shift at sample k, whatever x is."""

    def at(self, params):
        return self.bind({"params": params})

    def check_data(self, examples):
        assert examples.context is not None

    @nn.compact
    def __call__(self, x, key, num_samples=1, weights=None, context=None):
        del key, weights
        shift = self.param("shift", nn.initializers.zeros, ())
        shifts = shift * jnp.arange(num_samples)[:, None, None]
        mean = context.reshape(len(x), -1) + shifts
        likelihood = Pixels(Bernoulli(probs=mean), x.shape[1:])
        zeros = jnp.zeros((num_samples, len(x)))
        return Terms(zeros, (zeros,), (None,), (), likelihood)


def test_a_context_is_given_to_the_model():
    context = RNG.uniform(0.1, 0.9, size=IMAGES.shape).astype(np.float32)
    data = Examples(IMAGES, context=context)
    params = {"shift": jnp.zeros(())}
    ours = optimal_scale(Subject(FromContext(), params, data), KEY, batch_size=4)
    expected = np.mean((IMAGES - context).astype(np.float64) ** 2)
    assert ours.mean_squared_error == pytest.approx(expected, rel=1e-5)
    settings = {"scale": 1e4, "levels": 2, "batch_size": 4}
    binary = data._replace(x=np.round(IMAGES))
    nll = quantised_nll(Subject(FromContext(), params, binary), KEY, **settings)
    assert nll.mean == pytest.approx(np.log(2), rel=1e-3)  # a scale that tells nothing
    assert nll.bits == pytest.approx(1.0, rel=1e-3)
    with pytest.raises(ValueError, match="levels = 2 equally spaced values"):
        quantised_nll(Subject(FromContext(), params, data), KEY, **settings)


def test_errors_are_averaged_over_samples_and_log_probabilities_too():
    """Not errors of the mean over samples, nor the logarithm of a mean."""
    context = RNG.uniform(0.1, 0.5, size=IMAGES.shape).astype(np.float32)
    data, params = Examples(IMAGES, context=context), {"shift": jnp.array(0.2)}
    means = np.stack([context, context + 0.2, context + 0.4]).astype(np.float64)
    squares = np.mean((IMAGES - means) ** 2, axis=(0, 2, 3, 4))
    settings = {"num_samples": 3, "batch_size": 4}
    ours = optimal_scale(Subject(FromContext(), params, data), KEY, **settings)
    assert ours.mean_squared_error == pytest.approx(np.mean(squares), rel=1e-5)
    assert ours.standard_error == pytest.approx(np.std(squares, ddof=1) / np.sqrt(N), rel=1e-4)
    half = 0.5 / (LEVELS - 1)
    above = np.where(IMAGES == 1, np.inf, IMAGES + half)
    below = np.where(IMAGES == 0, -np.inf, IMAGES - half)
    masses = (scipy.stats.norm.cdf(edge, means, 0.3) for edge in (above, below))
    nll = -np.mean(np.log(np.subtract(*masses)), axis=(0, 2, 3, 4))
    ours = quantised_nll(
        Subject(FromContext(), params, data), KEY, scale=0.3, levels=LEVELS, **settings
    )
    assert ours.mean == pytest.approx(np.mean(nll), rel=1e-4)
    assert ours.standard_error == pytest.approx(np.std(nll, ddof=1) / np.sqrt(N), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"scale": 0.0}, "scale must be positive and finite, got 0.0"),
        ({"scale": -1.0}, "scale must be positive and finite, got -1.0"),
        ({"scale": float("nan")}, "scale must be positive and finite, got nan"),
        ({"scale": float("inf")}, "scale must be positive and finite, got inf"),
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"levels": 1}, "levels must be a whole number of at least 2, got 1"),
        ({"data": 2 * IMAGES - 1}, r"data must lie in \[0, 1\], got values from -1 to 1"),
        ({"data": 255 * IMAGES}, r"data must lie in \[0, 1\], got values from 0 to 255"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments, sentence):
    settings = {"data": IMAGES, "scale": 0.1} | arguments
    data = Examples(settings.pop("data"), context=IMAGES)
    with pytest.raises(ValueError, match=sentence):
        quantised_nll(Subject(FromContext(), {"shift": jnp.zeros(())}, data), KEY, **settings)

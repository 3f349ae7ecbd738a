"""Models with everything in closed form, in numpy float64: what estimators are tested against."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import norm


@dataclasses.dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(Wz + b, σ²I), with its evidence, posterior and bounds. All in nats.

    Shapes: N observed dimensions, D latent ones, B examples. Posterior precision
    M = I + WᵀW/σ², posterior mean M⁻¹Wᵀ(x − b)/σ². Tipping & Bishop, 1999, section 3.
    """

    weight: np.ndarray  # W [N, D]
    bias: np.ndarray  # b [N]
    sigma: float

    @classmethod
    def random(cls, seed: int, *, num_dims: int, latent_dim: int, sigma: float) -> LinearGaussian:
        """A model with standard normal weights and biases."""
        rng = np.random.default_rng(seed)
        weight = rng.standard_normal((num_dims, latent_dim))
        return cls(weight, rng.standard_normal(num_dims), sigma)

    def sample(self, seed: int, num_samples: int) -> np.ndarray:
        """x ~ p(x), [num_samples, N]."""
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((num_samples, self.weight.shape[1]))
        noise = rng.standard_normal((num_samples, self.weight.shape[0]))
        return z @ self.weight.T + self.bias + self.sigma * noise

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(x) = log N(x; b, WWᵀ + σ²I). [B, N] -> [B]."""
        covariance = self.weight @ self.weight.T + self.sigma**2 * np.eye(len(self.bias))
        residual = x - self.bias
        mahalanobis = np.einsum("bn,nb->b", residual, np.linalg.solve(covariance, residual.T))
        return -0.5 * (mahalanobis + np.linalg.slogdet(2 * np.pi * covariance)[1])

    @property
    def posterior_precision(self) -> np.ndarray:
        """M = I + WᵀW/σ², [D, D]."""
        return np.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.sigma**2

    @property
    def posterior_covariance(self) -> np.ndarray:
        """M⁻¹, [D, D]."""
        return np.linalg.inv(self.posterior_precision)

    def posterior_mean(self, x: np.ndarray) -> np.ndarray:
        """E[z|x], [B, N] -> [B, D]."""
        projected = (x - self.bias) @ self.weight / self.sigma**2
        return np.linalg.solve(self.posterior_precision, projected.T).T

    @property
    def best_diagonal_variance(self) -> np.ndarray:
        """Variances 1/M_dd of the diagonal q that maximises the ELBO, [D]."""
        return 1 / np.diag(self.posterior_precision)

    @property
    def best_diagonal_gap(self) -> float:
        """log p(x) − ELBO of that q: ½ (Σ_d log M_dd − log det M), for every x."""
        M = self.posterior_precision
        return 0.5 * float(np.sum(np.log(np.diag(M))) - np.linalg.slogdet(M)[1])

    def distortion(self, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """−E_q[log p(x|z)] for q = N(mean, diag(variance)). [B, N], [B, D], [B, D] -> [B]."""
        squared = np.sum((x - mean @ self.weight.T - self.bias) ** 2, -1)
        squared = squared + variance @ np.sum(self.weight**2, 0)  # E‖W(z − mean)‖²
        num_dims = len(self.bias)
        return 0.5 * (squared / self.sigma**2 + num_dims * np.log(2 * np.pi * self.sigma**2))

    def kl(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """KL(N(mean, diag(variance)) ‖ N(0, I)) per latent dimension, [B, D]."""
        return 0.5 * (mean**2 + variance - 1 - np.log(variance))

    def elbo(self, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Exact ELBO of q = N(mean, diag(variance)). [B, N], [B, D], [B, D] -> [B]."""
        return -self.distortion(x, mean, variance) - np.sum(self.kl(mean, variance), -1)


def within_confidence(
    samples: np.ndarray, expected: np.ndarray, *, level: float = 1e-3
) -> np.ndarray:
    """Whether the mean of `samples` over axis 0 is `expected`, for every entry of the rest.

    `level` is the probability of one false alarm among all entries (Bonferroni), which with a fixed
    seed decides once and for all.
    """
    z = z_scores(samples, expected)
    return np.abs(z) < critical_value(z.size, level=level)


def z_scores(samples: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(mean − expected) / standard error, the mean over axis 0."""
    samples = np.asarray(samples, np.float64)
    standard_error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    return (np.mean(samples, axis=0) - expected) / standard_error


def critical_value(num_tests: int, *, level: float = 1e-3) -> float:
    """The two-sided normal quantile for `num_tests` tests at `level` altogether."""
    return float(norm.isf(level / (2 * num_tests)))

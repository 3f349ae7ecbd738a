"""What `experiments.priors` measures of a trained prior, and the arrays its pictures are drawn from."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.priors.study import Setup, Trained
from vaelab import evaluation
from vaelab.evaluation import Subject
from vaelab.evaluation.batches import map_batches
from vaelab.models import VAE
from vaelab.runs import display
from vaelab.training import population
from vaelab.types import Array, PRNGKey, PyTree, Splits

VERSION = 2  # of what is measured; what is stored of another one is measured again
INNER_SAMPLES = (1, 4, 16, 64)
_PRIOR_SAMPLES = 32  # inner samples of the priors that sample, where they are measured
_POSTERIOR_SAMPLES = 16  # of test images, for ELBO and rate
_NUM_POINTS = 2000  # samples of prior and aggregated posterior
_PIXELS = 120  # of a picture's side
_NUM_DOTS = 500  # training images in a picture


def likelihood(trained: Trained, setup: Setup, splits: Splits) -> dict[str, list[float]]:
    """nll of the test images by importance sampling, nats, of each seed, and how good it is."""
    rows = []
    for seed in range(setup.seeds):
        params, key = population.member(trained.params, seed), _key(seed, "likelihood")
        estimate = evaluation.log_likelihood(
            Subject(trained.model, params, splits.test.x), key, num_samples=setup.num_samples,
            progress=display.track(f"log p(x), seed {seed}"),
        )  # fmt: skip
        rows.append(
            {
                "nll": -estimate.mean,
                "standard_error": estimate.standard_error,  # over images
                "effective_sample_size": estimate.effective_sample_size,
                "step": int(trained.steps[seed]),
            }
        )
    return _columns(rows)


def terms(trained: Trained, splits: Splits) -> dict[str, list[float]]:
    """elbo, rate, distortion of the test images and marginal_kl, hole_mass of the training images."""
    model, x, rows = trained.model.with_prior_samples(_PRIOR_SAMPLES), splits.train.x, []
    names = {"elbo": evaluation.elbo, "rate": evaluation.rate, "distortion": evaluation.distortion}
    for seed in range(len(trained.steps)):
        params, key = population.member(trained.params, seed), partial(_key, seed)
        estimates = evaluation.expectations(
            Subject(model, params, splits.test.x), key("terms"), names,
            num_samples=_POSTERIOR_SAMPLES, batch_size=25,
        )  # fmt: skip
        aggregated = evaluation.aggregated_posterior(Subject(model, params, x))
        surgery = evaluation.elbo_surgery(aggregated, key("surgery"), num_points=_NUM_POINTS)
        holes = evaluation.holes(aggregated, key("holes"), num_samples=_NUM_POINTS)
        row = {"marginal_kl": surgery.marginal_kl.mean, "hole_mass": holes.hole_mass.mean}
        rows.append({name: estimate.mean for name, estimate in estimates.items()} | row)
    return _columns(rows)


def _key(seed: int, purpose: str) -> PRNGKey:
    """A key of its own for each seed and purpose."""
    return jax.random.fold_in(jax.random.key(1000 + seed), zlib.crc32(purpose.encode()))


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def reference(trained: Trained, splits: Splits) -> dict[str, list[float]]:
    """Rate and ELBO of the test images had the model their own aggregated posterior as its prior.

    No prior can beat them with the same encoder and decoder. The rate is I(x; z).
    """
    model, x = trained.model, splits.test.x
    result: dict[str, list[float]] = {"rate": [], "elbo": []}
    for seed in range(len(trained.steps)):
        params, key = population.member(trained.params, seed), partial(_key, seed)
        subject = Subject(model, params, x)
        aggregated = evaluation.aggregated_posterior(subject)
        surgery = evaluation.elbo_surgery(
            aggregated, key("reference surgery"), num_points=_NUM_POINTS
        )
        terms = evaluation.expectations(
            subject, key("reference"), {"distortion": evaluation.distortion},
            num_samples=_POSTERIOR_SAMPLES,
        )  # fmt: skip
        rate = surgery.mutual_information.mean
        result["rate"].append(rate)
        result["elbo"].append(-terms["distortion"].mean - rate)
    return result


def picture(model: VAE, params: PyTree, splits: Splits) -> dict[str, Any]:
    """A panel of `plotting.prior_densities`: densities on a grid, and samples of q(z|x), of training data.

    The grid holds the samples and the central 99 % of the prior in each coordinate. Holes are where
    the density of q(z) is below its own 1 % quantile.
    """
    key, model = jax.random.key(0), model.with_prior_samples(_PRIOR_SAMPLES)
    x = jnp.asarray(splits.train.x[:_NUM_DOTS])
    aggregated = evaluation.aggregated_posterior(Subject(model, params, splits.train.x))
    posterior, inputs = aggregated.density, aggregated.variables

    drawn = _draw(model, posterior, params, inputs, x)
    points, quantiles, one_percent, marginal_kl = map(np.asarray, drawn)
    shown = np.concatenate([points, quantiles])
    low, high = shown.min(axis=0), shown.max(axis=0)
    centre, half = (low + high) / 2, 0.55 * np.max(high - low)
    axes = np.linspace(centre - half, centre + half, _PIXELS)
    grid = np.stack(np.meshgrid(*axes.T), axis=-1).reshape(-1, 2)
    log_p, log_q = map_batches(
        partial(_log_densities, model, posterior, params, inputs),
        grid,
        key,
        batch_size=600,
    )
    return {
        "points": points,
        "log_prior": log_p.reshape(_PIXELS, _PIXELS),
        "log_aggregated": log_q.reshape(_PIXELS, _PIXELS),
        "hole_level": one_percent,
        "marginal_kl": marginal_kl,
        "extent": np.stack([centre - half, centre + half], axis=1).ravel(),
    }


@partial(jax.jit, static_argnums=(0, 1))
def _draw(model, posterior, params, inputs, x) -> tuple[Array, Array, Array, Array]:
    """A z ~ q(z|x) per image, the prior's 0.5 and 99.5 % quantiles, log q(z)'s 1 % one, KL(q(z) ‖ p)."""
    keys = jax.random.split(jax.random.key(0), 4)
    bound = model.at(params)
    points = bound(x, keys[0]).latents[0][0]
    (prior,) = bound.sample_latents(keys[1], _NUM_POINTS)
    aggregated = posterior.apply(inputs, keys[2], _NUM_POINTS, method="sample")
    log_q = posterior.apply(inputs, aggregated, method="log_prob")
    log_p = bound.log_prior((aggregated,), keys[3])
    edges = jnp.quantile(prior, jnp.array([0.005, 0.995]), axis=0)
    return points, edges, jnp.quantile(log_q, 0.01), jnp.mean(log_q - log_p)


@partial(jax.jit, static_argnums=(0, 1))
def _log_densities(model, posterior, params, inputs, z, key) -> tuple[Array, Array]:
    """log p and log q on points of the grid, [B, D] -> [B] each."""
    del key
    # One key for all points: an estimate of p is then as smooth a function of z as p itself.
    log_p = lambda z: model.at(params).log_prior((z,), jax.random.key(0))  # noqa: E731
    return jax.vmap(log_p)(z), posterior.apply(inputs, z, method="log_prob")


def rate_by_inner_samples(trained: Trained, splits: Splits) -> dict[str, list[list[float]]]:
    """Test rate of a sampled prior by its inner samples, per seed: mean, and what it falls by.

    `excess` is the rate above that of the most inner samples, `standard_error` its own over images:
    the images are the same, so it is far smaller than those of the two rates. [seeds, len(K)] each.
    """
    result: dict[str, list[list[float]]] = {"rate": [], "excess": [], "standard_error": []}
    for seed in range(len(trained.steps)):
        params = population.member(trained.params, seed)
        per_image = []
        for count in INNER_SAMPLES:
            model = trained.model.with_prior_samples(count)
            rate = partial(_mean_rate, model, params)
            per_image.append(map_batches(rate, splits.test.x, jax.random.key(seed), batch_size=100))
        rates = np.stack(per_image)
        excess = rates - rates[-1]
        errors = np.std(excess, axis=1, ddof=1) / np.sqrt(rates.shape[1])
        for name, values in (
            ("rate", rates.mean(1)), ("excess", excess.mean(1)), ("standard_error", errors)
        ):  # fmt: skip
            result[name].append(values.tolist())
    return result


@partial(jax.jit, static_argnums=0)
def _mean_rate(model: VAE, params: PyTree, x: Array, key: Array) -> Array:
    terms = model.at(params)(x, key, _POSTERIOR_SAMPLES)
    return jnp.mean(terms.total_rate, axis=0)

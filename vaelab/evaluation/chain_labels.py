"""The labels of a chain's images over its steps, compared with those of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from vaelab.checks import check_fraction
from vaelab.evaluation.averages import Estimate
from vaelab.evaluation.batches import map_batches
from vaelab.evaluation.gibbs import GibbsChain
from vaelab.types import Array

_NUM_BOOTSTRAP = 200


class ChainLabels(NamedTuple):
    """The labels of N chains at T recorded steps. The outcomes are C classes, and last "unclear"."""

    steps: tuple[int, ...]  # [T]
    shares: list[list[float]]  # [T, C + 1], the share of images with each outcome
    reference: list[float]  # [C + 1], the same for the data
    model_shares: list[float]  # [C + 1], the same for samples of the model
    total_variation: list[Estimate]  # [T], ½ Σ |share − reference|; bootstrap standard errors
    distance_to_model: list[Estimate]  # [T], the same distance to the shares of the model
    distance_of_model: Estimate  # the same distance of the model's shares to those of the data
    floor: float  # mean total variation of N labels drawn from the reference
    threshold: float  # an image is unclear if no class has this probability


def labels_of_chain(
    chain: GibbsChain,
    data: np.ndarray,
    samples: np.ndarray,
    classifier: Callable[[Array], Array],
    *,
    threshold: float = 0.7,
    batch_size: int = 500,
) -> ChainLabels:
    """The shares of labels among the chain's means at each step, and their distance from those of data.

    An image that no class fits with probability `threshold` is unclear, so images that are no data increase
    the distance instead of spreading over the classes. The same classifier labels data [M, *event]. Even a
    perfect chain has a total variation of `floor` on average. The stationary law of a Gibbs chain is the model's
    p(x), so the distance from `samples` [M, *event], means of p(x|z) at z ~ p(z), is measured, too. It has the
    noise of both.

    Args:
      classifier: x [..., *event] -> class probabilities [..., C], and hashable.

    Raises:
      UsageError: the threshold is outside [0, 1), or there are no data.
    """
    check_fraction(threshold=threshold)
    num_steps, num_chains = chain.mean.shape[:2]
    images = chain.mean.reshape(num_steps * num_chains, *chain.mean.shape[2:])
    probabilities, of_data, of_samples = (
        classify(x, classifier, batch_size=batch_size) for x in (images, data, samples)
    )
    probabilities = probabilities.reshape(num_steps, num_chains, -1)
    reference = _shares(of_data, threshold)
    rng = np.random.default_rng(0)

    def distance(shares: np.ndarray, num: int, reference: np.ndarray) -> Estimate:
        again = rng.multinomial(num, shares, size=_NUM_BOOTSTRAP) / num
        error = float(np.std(_distance(again, reference), ddof=1))
        return Estimate(float(_distance(shares, reference)), error)

    shares = [_shares(each, threshold) for each in probabilities]
    model_shares = _shares(of_samples, threshold)
    perfect = rng.multinomial(num_chains, reference, size=_NUM_BOOTSTRAP) / num_chains
    return ChainLabels(
        steps=chain.steps,
        shares=[each.tolist() for each in shares],
        reference=reference.tolist(),
        model_shares=model_shares.tolist(),
        total_variation=[distance(each, num_chains, reference) for each in shares],
        distance_to_model=[distance(each, num_chains, model_shares) for each in shares],
        distance_of_model=distance(model_shares, len(samples), reference),
        floor=float(np.mean(_distance(perfect, reference))),
        threshold=threshold,
    )


def classify(
    images: np.ndarray, classifier: Callable[[Array], Array], *, batch_size: int = 500
) -> np.ndarray:
    """The class probabilities of images, batch by batch. [N, *event] -> [N, C]."""
    function = partial(_classify, classifier)
    return map_batches(function, images, jax.random.key(0), batch_size=batch_size)


def _shares(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The share of each class, and last of unclear images. [N, C] -> [C + 1]."""
    unclear = probabilities.shape[-1]
    outcomes = np.where(probabilities.max(-1) >= threshold, probabilities.argmax(-1), unclear)
    return np.bincount(outcomes, minlength=unclear + 1) / len(outcomes)


def _distance(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return 0.5 * np.abs(shares - reference).sum(axis=-1)


@partial(jax.jit, static_argnums=0)
def _classify(classifier, x, key) -> Array:
    del key
    return classifier(x)

"""The labels of a chain's images over its steps, compared with those of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from vaelab.checks import check_fraction
from vaelab.evaluation.averages import Estimate, mean_and_error
from vaelab.evaluation.batches import map_batches
from vaelab.evaluation.gibbs import GibbsChain
from vaelab.types import Array

_NUM_BOOTSTRAP = 200


class LabelCourse(NamedTuple):
    """The labels of N chains at T recorded steps. The outcomes are C classes, and last "unclear"."""

    steps: tuple[int, ...]  # [T]
    shares: list[list[float]]  # [T, C + 1], the share of images with each outcome
    reference: list[float]  # [C + 1], the same for the data
    total_variation: list[Estimate]  # [T], ½ Σ |share − reference|; bootstrap standard errors
    floor: float  # mean total variation of N labels drawn from the reference
    confidence: list[Estimate]  # [T], highest class probability, mean over the images
    threshold: float  # an image is unclear if no class has this probability


def label_course(
    chain: GibbsChain,
    data: np.ndarray,
    classifier: Callable[[Array], Array],
    *,
    threshold: float = 0.9,
    batch_size: int = 500,
) -> LabelCourse:
    """The shares of labels among the chain's means at each step, and their distance from those of data.

    An image that no class fits with probability `threshold` is unclear, so images that are no data increase
    the distance instead of spreading over the classes. The same classifier labels data [M, *event]. Even a
    perfect chain has a total variation of `floor` on average.

    Args:
      classifier: x [..., *event] -> class probabilities [..., C], and hashable.

    Raises:
      UsageError: the threshold is outside [0, 1), or there are no data.
    """
    check_fraction(threshold=threshold)
    num_steps, num_chains = chain.mean.shape[:2]
    images = chain.mean.reshape(num_steps * num_chains, *chain.mean.shape[2:])
    probabilities = classify(images, classifier, batch_size=batch_size)
    probabilities = probabilities.reshape(num_steps, num_chains, -1)
    of_data = classify(data, classifier, batch_size=batch_size)
    reference = _shares(_outcomes(of_data, threshold), of_data.shape[-1] + 1)
    rng = np.random.default_rng(0)
    shares, distances = [], []
    for each in probabilities:
        own = _shares(_outcomes(each, threshold), len(reference))
        again = rng.multinomial(num_chains, own, size=_NUM_BOOTSTRAP) / num_chains
        error = float(np.std(_distance(again, reference), ddof=1))
        distances.append(Estimate(float(_distance(own, reference)), error))
        shares.append(own.tolist())
    perfect = rng.multinomial(num_chains, reference, size=_NUM_BOOTSTRAP) / num_chains
    return LabelCourse(
        steps=chain.steps,
        shares=shares,
        reference=reference.tolist(),
        total_variation=distances,
        floor=float(np.mean(_distance(perfect, reference))),
        confidence=[mean_and_error(each.max(axis=-1)) for each in probabilities],
        threshold=threshold,
    )


def classify(
    images: np.ndarray, classifier: Callable[[Array], Array], *, batch_size: int = 500
) -> np.ndarray:
    """The class probabilities of images, batch by batch. [N, *event] -> [N, C]."""
    function = partial(_classify, classifier)
    return map_batches(function, images, jax.random.key(0), batch_size=batch_size)


def _outcomes(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The class of each image, C for unclear. [N, C] -> [N]."""
    unclear = probabilities.shape[-1]
    return np.where(probabilities.max(axis=-1) >= threshold, probabilities.argmax(axis=-1), unclear)


def _shares(outcomes: np.ndarray, num: int) -> np.ndarray:
    return np.bincount(outcomes, minlength=num) / len(outcomes)


def _distance(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return 0.5 * np.abs(shares - reference).sum(axis=-1)


@partial(jax.jit, static_argnums=0)
def _classify(classifier, x, key) -> Array:
    del key
    return classifier(x)

"""A bound on how often a frozen classifier recognises the reconstructions."""

from __future__ import annotations

import dataclasses
import warnings
from typing import ClassVar

import jax
import jax.numpy as jnp

from vaelab.checks import UsageError, check_axes, check_equal, check_instance, classes_of
from vaelab.constraints.base import ImageFunction, LowerBound, check_kappa
from vaelab.constraints.features import output_shape
from vaelab.types import Array, Examples, Terms

_NUM_CHECKED = 2000  # number of training images on which the classifier is tried


def classification_shortfall(probabilities: Array, labels: Array, *, kappa: float | Array) -> Array:
    """CLA: κ − ℓᵀ c, ℓ the one-hot label. [K, B, C], [B] -> [K, B].

    The mean of ℓᵀ c is the accuracy of a classifier that guesses with its probabilities c. A label outside
    [0, C) has probability 0. Rezende & Viola, 2018, table 1.

    >>> classification_shortfall(jnp.array([[[0.25, 0.75]]]), jnp.array([1]), kappa=0.5)
    Array([[-0.25]], dtype=float32...)
    """
    check_axes("probabilities", probabilities, "[K, B, C]")
    check_axes("labels", labels, "[B]")
    check_equal(
        examples_of_probabilities=probabilities.shape[1], examples_of_labels=labels.shape[0]
    )
    one_hot = jax.nn.one_hot(labels, probabilities.shape[-1], dtype=probabilities.dtype)
    return kappa - jnp.sum(one_hot * probabilities, axis=-1)


@dataclasses.dataclass(frozen=True)
class CLA(LowerBound):
    """Classification accuracy ℓ(x)ᵀ c(g(z)) ≥ κ. Rezende & Viola, 2018, table 1.

    ℓᵀ c is the classifier's probability of the label. It is the accuracy of guessing with c, and lower than
    the accuracy of the most probable class. `of_images` is its value on the images themselves.
    Reconstructions exceed that value only if they are easier to classify than the images.

    `classifier` is a frozen network (`vaelab.networks.frozen`), or your own function that returns
    probabilities and is differentiable in the images.

    >>> CLA(kappa=0.9, classifier=lambda x: jnp.full((len(x), 10), 0.1)).achieved(0.8, ())  # 10 classes
    0.0999...
    """

    kappa: float
    """Lowest accuracy of the classifier on reconstructions, in (0, 1]."""
    classifier: ImageFunction
    """c, images [B, height, width, channels] -> class probabilities [B, C]."""

    quantity: ClassVar[str] = "probability of the label"

    def __post_init__(self) -> None:
        check_kappa(self, lambda kappa: 0 < kappa <= 1, "in (0, 1] (it is an accuracy)")
        check_instance("classifier", self.classifier)
        if not callable(self.classifier):
            raise UsageError(
                "classifier of the constraint CLA must be a function of images, got "
                f"{self.classifier!r}."
            )

    def __call__(self, examples: Examples, terms: Terms) -> Array:
        probabilities = jax.vmap(self.classifier)(terms.likelihood.mean())
        return classification_shortfall(probabilities, examples.labels, kappa=self.kappa)

    def of_images(self, x: Array, labels: Array) -> Array:
        """The accuracy on the images themselves, which good reconstructions approach. [B, ...], [B] -> []."""
        return -jnp.mean(classification_shortfall(self.classifier(x)[None], labels, kappa=0.0))

    def check(self, train: Examples, num_levels: int | None = None) -> None:
        del num_levels
        shape, labels = train.x.shape[1:], classes_of(train.labels)
        output = output_shape("classifier", self.classifier, shape)
        if len(output) != 1:
            raise UsageError(
                f"classifier must return probabilities [B, classes], and returns [B, {output}] for images "
                f"of {tuple(shape)}."
            )
        num_classes = int(labels.max()) + 1
        if num_classes > output[0]:
            raise UsageError(
                f"classifier has {output[0]} classes, and the labels have {num_classes}: choose a "
                "classifier of these data."
            )
        limit = float(jax.jit(self.of_images)(train.x[:_NUM_CHECKED], labels[:_NUM_CHECKED]))
        if limit < self.kappa:
            warnings.warn(
                f"kappa = {self.kappa:g} of the constraint CLA is above the classifier's accuracy on the "
                f"training images themselves, {limit:.3g}: choose a kappa below that.",
                stacklevel=2,
            )

"""Probes: small classifiers that read labels from codes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_equal, check_sizes, classes_of
from vaelab.evaluation.averages import Estimate, mean_and_error
from vaelab.evaluation.codes import LevelCodes, level_codes
from vaelab.evaluation.subject import Subject
from vaelab.types import Array, Examples, PRNGKey

_HELD_OUT = 0.1  # share of the training codes that early stopping validates on


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A trained multi-layer classifier of standardised codes. [..., *event] -> probabilities [..., C]."""

    classes: np.ndarray
    """Label of each of the C classes, increasing."""
    event_shape: tuple[int, ...]
    """Shape of one code."""
    mean: np.ndarray
    """Mean of each coordinate of the training codes, which is subtracted."""
    scale: np.ndarray
    """Standard deviation of each coordinate, which is the divisor."""
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weights [D, D'] and biases [D'] of each layer. A relu follows each layer but the last."""

    def __call__(self, codes: Array) -> Array:
        batch = codes.shape[: codes.ndim - len(self.event_shape)]
        h = (codes.reshape(*batch, -1) - self.mean) / self.scale
        *hidden, (weight, bias) = self.layers
        for inner, offset in hidden:
            h = jax.nn.relu(h @ inner + offset)
        logits = h @ weight + bias
        if len(self.classes) == 2:  # one output: the logit of the second class
            logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
        return jax.nn.softmax(logits)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """The most probable label of each code. [N, *event] -> [N]."""
        return self.classes[np.asarray(jnp.argmax(self(jnp.asarray(codes)), axis=-1))]


class ProbeAccuracy(NamedTuple):
    """The share of test labels that a probe reads from the codes of one level."""

    accuracy: Estimate
    majority: float  # share of the most frequent test label: what a constant prediction reaches
    code: str  # what the codes are, see `LevelCodes`
    num_train: int
    num_test: int


def fit_probe(
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    hidden: tuple[int, ...] = (256, 256),
    max_epochs: int = 200,
    seed: int = 0,
) -> Probe:
    """A classifier of codes [N, *event] with relu layers, trained by Adam with early stopping.

    Codes are standardised. A tenth of them, stratified by label, is held out. Training stops after ten
    epochs in which the accuracy on it does not rise, or after `max_epochs`. The best weights are kept.

    Raises:
      UsageError: labels are no classes, there is one class, a class has one example, there are too few
        examples to hold any out, or a setting is below 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    check_sizes(hidden=hidden)
    check_at_least_one(max_epochs=max_epochs)
    labels = np.asarray(classes_of(labels))
    check_equal(length_of_codes=len(codes), length_of_labels=len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise UsageError(f"labels must hold at least two classes, got {len(classes)}.")
    if counts.min() < 2 or len(labels) * _HELD_OUT < len(classes):
        raise UsageError(
            f"labels must hold at least 2 examples of each class and {10 * len(classes)} in all, got "
            f"{counts.min()} of class {classes[counts.argmin()]} and {len(labels)} in all: give more data."
        )
    flat = np.asarray(codes, np.float32).reshape(len(codes), -1)
    mean, scale = flat.mean(axis=0), flat.std(axis=0)
    scale = np.where(scale > 0, scale, np.float32(1))
    network = MLPClassifier(
        hidden, early_stopping=True, validation_fraction=_HELD_OUT, max_iter=max_epochs,
        random_state=seed,
    )  # fmt: skip
    # The matrices are small: a second thread costs more than it computes.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_epochs is a setting
        network.fit((flat - mean) / scale, labels)
    layers = zip(network.coefs_, network.intercepts_, strict=True)
    return Probe(
        classes=classes,
        event_shape=tuple(np.shape(codes)[1:]),
        mean=mean,
        scale=scale,
        layers=tuple(
            (np.asarray(weight, np.float32), np.asarray(bias, np.float32))
            for weight, bias in layers
        ),
    )


def probe_accuracies(
    subject: Subject,
    test: Examples,
    key: PRNGKey,
    *,
    codes: Callable[[Subject, PRNGKey], Sequence[LevelCodes]] = level_codes,
    max_epochs: int = 200,
    seed: int = 0,
) -> list[ProbeAccuracy]:
    """The accuracy of a probe of each level's codes on test examples, level 0 first.

    The subject's examples train the probes, which have two layers of 256 units: see `fit_probe`. The
    standard error is over the test examples. Codes are means of q by default; `level_samples` gives samples.

    Raises:
      UsageError: the subject's or the test examples have no classes, or are too few.
    """
    labels, test_labels = classes_of(subject.examples.labels), np.asarray(classes_of(test.labels))
    train_key, test_key = jax.random.split(key)
    train_codes = codes(subject, train_key)
    beside = Subject(subject.model, subject.params, test)
    test_codes = codes(beside, test_key)
    _, counts = np.unique(test_labels, return_counts=True)
    accuracies = []
    for train, held_out in zip(train_codes, test_codes, strict=True):
        probe = fit_probe(train.values, labels, max_epochs=max_epochs, seed=seed)
        is_right = probe.predict(held_out.values) == test_labels
        accuracies.append(
            ProbeAccuracy(
                accuracy=mean_and_error(is_right.astype(float)),
                majority=float(counts.max() / counts.sum()),
                code=train.kind,
                num_train=len(labels),
                num_test=len(test_labels),
            )
        )
    return accuracies

"""What is measured of each level of a trained model."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vaelab import evaluation
from vaelab.checks import UsageError
from vaelab.evaluation import (
    ChainLabels,
    Estimate,
    GibbsChain,
    ProbeAccuracy,
    ResamplingEffect,
    elbo,
)
from vaelab.networks.frozen import FrozenClassifier, MNISTClassifier
from vaelab.plotting import level_names
from vaelab.runs import Trained, pictures
from vaelab.runs.identity import digest_of
from vaelab.runs.run import Run
from vaelab.types import Array, Examples, PRNGKey

Classifier = Callable[[Array], Array]

_MNIST_SHAPE = (28, 28, 1)
_TRUSTED = 0.95  # accuracy from which the shipped network labels the images


class Settings(NamedTuple):
    """How everything is measured."""

    part: str  # "test" or "validation"
    num_train: int | None  # training examples of the probes; None for all
    num_samples: int  # posterior samples per example
    num_chains: int
    chain_steps: tuple[int, ...]
    classifier: str | None  # file of a frozen network
    seed: int


class LevelMeasures(NamedTuple):
    """One level."""

    level: int  # 0 is the top
    name: str  # "bottom", "2", ..., "top", or "all"
    title: str  # "bottom", "level 2", ..., "top", or "all"
    dim: int
    active_units: int
    rate: Estimate  # nats
    probe: ProbeAccuracy  # of the mean of q
    sampled: ProbeAccuracy  # of a sample of q
    alone: ResamplingEffect  # the level is resampled
    with_lower: ResamplingEffect  # the level and all levels below it are resampled


class ChainMeasures(NamedTuple):
    """The labels of chains with one kind of start."""

    carrier: str  # "bottom" or "all": the levels that carry the state
    levels: tuple[int, ...]  # the same by their numbers
    start: str  # "data" or "noise"
    labels: ChainLabels


class ModelMeasures(NamedTuple):
    """One model."""

    experiment: str
    step: int
    num_parameters: int
    settings: Settings
    elbo: Estimate  # nats
    classifier: str  # what labels the images
    classifier_accuracy: float  # on the measured part
    levels: list[LevelMeasures]  # level 0, the top, first
    chains: list[ChainMeasures]
    params: str = ""  # digest of the parameters

    @property
    def order(self) -> str:
        """Whether the probes' accuracies increase from bottom to top, as the verb of a sentence.

        A step counts if it is larger than twice its standard error.
        """
        upwards = [level.probe.accuracy for level in reversed(self.levels)]
        steps = np.diff([accuracy.mean for accuracy in upwards])
        errors = [
            np.hypot(a.standard_error, b.standard_error) for a, b in itertools.pairwise(upwards)
        ]
        if np.all(steps > 2 * np.asarray(errors)):
            return "increase"
        return "do not increase" if np.any(steps <= 0) else "do not increase beyond their errors"

    @property
    def unclear(self) -> tuple[float, float]:
        """Shares of the data, and of the model's samples, that the classifier gives to no class."""
        labels = self.chains[0].labels
        return labels.reference[-1], labels.model_shares[-1]


def classifier_of(run: Run, settings: Settings) -> tuple[Classifier, str]:
    """What labels images, and its name.

    A frozen network if its file is given. Else the shipped network for MNIST if it recognises the
    validation images. Else a probe of the pixels.
    """
    if settings.classifier is not None:
        return FrozenClassifier(settings.classifier), settings.classifier
    splits = run.splits
    if run.event_shape == _MNIST_SHAPE:
        shipped = MNISTClassifier()
        if accuracy(shipped, splits.validation) >= _TRUSTED:
            return shipped, "the shipped network for MNIST"
    train = run.fixed_training_set(settings.num_train)
    return evaluation.fit_probe(train.x, train.labels, seed=settings.seed), "a probe of the pixels"


def accuracy(classifier: Classifier, examples: Examples) -> float:
    """The share of examples whose most probable class is their label.

    Raises:
      UsageError: the classes of the network are not those of the data.
    """
    probabilities = evaluation.classify(examples.x, classifier)
    classes = np.unique(examples.labels)
    if classes[0] < 0 or classes[-1] >= probabilities.shape[-1]:
        raise UsageError(
            f"labels must be classes from 0 to {probabilities.shape[-1] - 1}, those of the classifier, got "
            f"{classes[0]} to {classes[-1]}: number the classes from 0, or choose another classifier."
        )
    return float(np.mean(probabilities.argmax(axis=-1) == examples.labels))


def measure(
    name: str, run: Run, trained: Trained, settings: Settings
) -> tuple[ModelMeasures, list[GibbsChain]]:
    """The measures of a model, and the chains of `ModelMeasures.chains` in the same order."""
    say = functools.partial(print, f"measuring {name}:", flush=True)
    part = run.splits.parts[settings.part]
    subject = run.precise_subject(trained.params, part)
    say("classifier of the images")
    classifier, labelled_by = classifier_of(run, settings)
    say("rates and active units")
    rates = evaluation.level_rates(subject, run.key("rates"), num_samples=settings.num_samples)
    units = evaluation.active_units(
        subject, run.key("units"), num_samples=max(2, settings.num_samples)
    )
    say("probes")
    train = run.subject(trained.params, run.fixed_training_set(settings.num_train))
    means = functools.partial(evaluation.level_codes, num_samples=settings.num_samples)
    probes, sampled = (
        evaluation.probe_accuracies(train, part, run.key("probes"), codes=codes, seed=settings.seed)
        for codes in (means, evaluation.level_samples)
    )
    last, names = len(rates) - 1, level_names(len(rates))

    @functools.cache  # the bottom level has no lower ones
    def effect(levels: tuple[int, ...]) -> ResamplingEffect:
        return evaluation.resampling_effect(subject, run.key("resampling"), classifier, levels)

    say("label flips")
    levels = [
        LevelMeasures(
            level=level,
            name=names[level],
            title=names[level] if level in (0, last) else f"level {names[level]}",
            dim=trained.model.latent_dims[level],
            active_units=units[level],
            rate=rates[level],
            probe=probes[level],
            sampled=sampled[level],
            alone=effect((level,)),
            with_lower=effect(tuple(range(level, last + 1))),
        )
        for level in range(last + 1)
    ]
    say("Gibbs chains")
    measured, chains = _chains(run, trained, part, classifier, settings)
    bound = evaluation.expectations(
        subject, run.key("bounds"), {"elbo": elbo}, num_samples=settings.num_samples
    )["elbo"]
    measures = ModelMeasures(
        experiment=name,
        step=trained.step,
        num_parameters=sum(leaf.size for leaf in jax.tree.leaves(trained.params)),
        settings=settings,
        elbo=bound,
        classifier=labelled_by,
        classifier_accuracy=accuracy(classifier, part),
        levels=levels,
        chains=measured,
        params=digest_of(trained.params),
    )
    return measures, chains


def _chains(
    run: Run, trained: Trained, part: Examples, classifier: Classifier, settings: Settings
) -> tuple[list[ChainMeasures], list[GibbsChain]]:
    """Chains through the bottom level alone, and through all levels, from data and from noise."""
    rng = np.random.default_rng(settings.seed)
    num = min(settings.num_chains, len(part.x))
    start = part.take(np.sort(rng.permutation(len(part.x))[:num]))
    noise = start._replace(x=noise_like(start.x, run.key("noise")))
    samples = np.asarray(
        pictures.generate(trained.model, trained.params, start, run.key("samples"))
    )
    all_levels = tuple(range(trained.model.depth))
    bottom = {"bottom": all_levels[-1:]} if len(all_levels) > 1 else {}
    measures, chains = [], []
    for carrier, levels in (bottom | {"all": all_levels}).items():
        for name, examples in (("data", start), ("noise", noise)):
            chain = evaluation.gibbs_chain(
                run.subject(trained.params, examples), run.key(f"chain from {name}"),
                steps=settings.chain_steps, levels=levels,
            )  # fmt: skip
            labels = evaluation.labels_of_chain(chain, part.x, samples, classifier)
            measures.append(ChainMeasures(carrier, levels, name, labels))
            chains.append(chain)
    return measures, chains


def noise_like(x: np.ndarray, key: PRNGKey) -> np.ndarray:
    """Noise of the shape of x [N, *event]: each value is drawn from all values of x, so it is one that x can have.

    >>> noise_like(np.zeros((5, 2, 2, 1)), jax.random.key(0)).shape
    (5, 2, 2, 1)
    """
    x = np.asarray(x)
    return x.reshape(-1)[np.asarray(jax.random.randint(key, x.shape, 0, x.size))]

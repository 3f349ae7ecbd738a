"""Whether a mixture's components fit into the device's memory, before any is allocated."""

from __future__ import annotations

import dataclasses
import math
import os

import jax

from experiments.run import Run
from vaelab.models import VAE
from vaelab.priors import GaussianMixture, VampPrior


def check_components(run: Run) -> None:
    """Raises one sentence, with the number that would fit, where the prior's components do not."""
    model = run.experiment.model
    prior = model.prior if isinstance(model, VAE) else None
    if not isinstance(prior, GaussianMixture | VampPrior):
        return
    num_components = prior.num_components
    limit, needed, one = _device_memory(), _needed(run, num_components), _needed(run, 1)
    if needed <= limit or one >= limit:  # where one is too much, components are not the matter
        return
    each = (needed - one) / (num_components - 1)
    fitting = int((limit - one) / each) + 1
    raise ValueError(
        f"model.prior.num_components = {num_components} needs about {needed / 2**30:.3g} GiB of the "
        f"device's {limit / 2**30:.3g}: at most about {fitting} components would fit."
    )


def _needed(run: Run, num_components: int) -> float:
    """Bytes of a training step: the state, gradients, and log-probabilities [K, B, C], there and back."""
    experiment = run.experiment
    prior = experiment.model.prior.clone(num_components=num_components)
    model = experiment.model.clone(prior=prior)
    other = Run(dataclasses.replace(experiment, model=model), run.splits)
    state = jax.eval_shape(other.initial_state)
    size = lambda tree: sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))  # noqa: E731
    # Of training, or of log p(x), which by default takes 20 images with 50 samples at a time.
    samples = max(experiment.batch_size * experiment.objective.validation_samples, 1000)
    return size(state) + size(state.variables) + 4 * 4 * samples * num_components


def _device_memory() -> float:
    """Bytes of one device; a CPU has the machine's."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

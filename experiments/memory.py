"""Whether a mixture's components fit into the device's memory, before any is allocated."""

from __future__ import annotations

import dataclasses
import math
import os

import jax

from experiments.run import Run
from vaelab.models import VAE
from vaelab.priors import GTM, GaussianMixture, GTMVampPrior, VampPrior


def check_components(run: Run) -> None:
    """Raises one sentence, with the number that would fit, where the prior's components do not."""
    model = run.experiment.model
    prior = model.prior if isinstance(model, VAE) else None
    if isinstance(prior, GaussianMixture | VampPrior):
        field, power = "num_components", 1
    elif isinstance(prior, GTM | GTMVampPrior):
        field, power = "grid_size", prior.grid_dim
    else:
        return
    size = getattr(prior, field)
    # What is needed is linear in the number of components, which is size ** power.
    one, more = (_needed(run, field, few, few**power) for few in (1, 2))
    each = (more - one) / (2**power - 1)
    limit, needed = _device_memory(), one + each * (size**power - 1)
    if needed <= limit or one >= limit:  # where one is too much, components are not the matter
        return
    fitting = int((1 + (limit - one) / each) ** (1 / power))
    what = "components" if power == 1 else f"points along each of the grid's {power} axes"
    raise ValueError(
        f"model.prior.{field} = {size} needs about {needed / 2**30:.3g} GiB of the device's "
        f"{limit / 2**30:.3g}: at most about {fitting} {what} would fit."
    )


def _needed(run: Run, field: str, size: int, num_components: int) -> float:
    """Bytes of a training step: the state, gradients, and log-probabilities [K, B, C], there and back."""
    experiment = run.experiment
    prior = experiment.model.prior.clone(**{field: size})
    model = experiment.model.clone(prior=prior)
    other = Run(dataclasses.replace(experiment, model=model), run.splits)
    state = jax.eval_shape(other.initial_state)
    count = lambda tree: sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))  # noqa: E731
    # Of training, or of log p(x), which by default takes 20 images with 50 samples at a time.
    samples = max(experiment.batch_size * experiment.objective.validation_samples, 1000)
    # A grid's points are not in the state: what its network makes of each is held there and back.
    outputs = 0
    if isinstance(prior, GTM | GTMVampPrior):
        last = math.prod(prior.shape) if isinstance(prior, GTMVampPrior) else 2 * prior.latent_dim
        outputs = sum(prior.hidden) + last
    return count(state) + count(state.variables) + 4 * num_components * (4 * samples + 2 * outputs)


def _device_memory() -> float:
    """Bytes of one device; a CPU has the machine's."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

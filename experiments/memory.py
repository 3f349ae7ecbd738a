"""Whether a mixture's components fit into the device's memory, before any is allocated."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.models import VAE
from vaelab.priors import GTM, GaussianMixture, GTMVampPrior, Prior, VampPrior

if TYPE_CHECKING:
    from experiments.run import Run


def check_components(run: Run) -> None:
    """Raises one sentence, with the number that would fit, where the prior's components do not."""
    model = run.experiment.model
    if not isinstance(model, VAE):
        return
    path, prior = _mixture("model.prior", model.prior)
    if isinstance(prior, GTM | GTMVampPrior):
        field, power = "grid_size", prior.grid_dim
    elif prior is not None:
        field, power = "num_components", 1
    else:
        return
    size = getattr(prior, field)
    # What is needed is linear in the number of components, which is size ** power. (Below four a
    # mixture's density has steps that others have not.)
    at_few, at_more = (np.array(_needed(run, field, size, size**power)) for size in (4, 5))
    each = (at_more - at_few) / (5**power - 4**power)
    fixed = at_few - each * 4**power
    limit, needed = _device_memory(), np.max(fixed + each * size**power)
    # Where a few are too many, components are not the matter.
    if needed <= limit or np.max(at_few) >= limit:
        return
    fitting = int(np.min((limit - fixed) / each) ** (1 / power))
    what = "components" if power == 1 else f"points along each of the grid's {power} axes"
    raise ValueError(
        f"{path}.{field} = {size} needs about {needed / 2**30:.3g} GiB of the device's "
        f"{limit / 2**30:.3g}: at most about {fitting} {what} would fit."
    )


def _mixture(path: str, prior: Prior) -> tuple[str, Any]:
    """The mixture that a prior is or has in it, and where; None without one."""
    if isinstance(prior, GaussianMixture | VampPrior | GTM | GTMVampPrior):
        return path, prior
    for field in ("top", "proposal"):
        if isinstance(inner := getattr(prior, field, None), Prior):
            return _mixture(f"{path}.{field}", inner)
    return path, None


def _with_size(prior: Prior, field: str, size: int) -> Prior:
    """The prior, its mixture with another number of components."""
    if _mixture("", prior)[0] == "":
        return prior.clone(**{field: size})
    name = "top" if isinstance(getattr(prior, "top", None), Prior) else "proposal"
    return prior.clone(**{name: _with_size(getattr(prior, name), field, size)})


def _needed(run: Run, field: str, size: int, num_components: int) -> tuple[float, float]:
    """Bytes of a training step, and of log p(x) afterwards.

    A step: the state, gradients, and what the forward pass keeps for the backward. log p(x), which by
    default takes 20 images with 50 samples at a time: the state, and three arrays of densities.
    """
    experiment = run.experiment
    model = experiment.model.clone(prior=_with_size(experiment.model.prior, field, size))
    other = dataclasses.replace(run, experiment=dataclasses.replace(experiment, model=model))
    state = jax.eval_shape(other.initial_state)
    x = jax.ShapeDtypeStruct((experiment.batch_size, *run.splits.train.x.shape[1:]), jnp.float32)

    def pullback(params, x, key):
        def log_weights(params):
            num_samples = experiment.objective.num_samples
            return model.apply({"params": params}, x, key, num_samples).log_weights

        return jax.vjp(log_weights, params)[1]

    kept = jax.eval_shape(pullback, state.variables.params, x, state.key)
    step = _bytes(state) + _bytes(state.variables) + _bytes(kept)
    return step, _bytes(state) + 3 * 4 * 20 * 50 * num_components


def _bytes(tree: Any) -> float:
    return sum(4.0 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _device_memory() -> float:
    """Bytes of one device; a CPU has the machine's."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

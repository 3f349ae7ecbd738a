"""How much of the latent space is used."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evaluation.batches import Progress, map_batches
from vaelab.types import Array, Model, PRNGKey, PyTree


def active_units(
    model: Model,
    params: PyTree,
    x: np.ndarray | Array,
    key: PRNGKey,
    *,
    threshold: float = 0.01,
    num_samples: int = 64,
    batch_size: int = 100,
    progress: Progress = iter,
) -> list[int]:
    """Per level, the number of coordinates with Var_x E_q[z_d|x] > threshold. Burda et al., 2016.

    The inner mean is taken over samples, which adds Var_q[z_d|x]/K to the variance; its unbiased
    estimate is subtracted again, so any model that returns `Terms` can be asked. x [N, ...], N > 1.
    """
    if len(x) < 2:
        raise ValueError(f"x must hold at least 2 examples to have a variance, got {len(x)}.")
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2, got {num_samples}.")
    moments = map_batches(
        partial(_moments, model, num_samples, params),
        x,
        key,
        batch_size=batch_size,
        progress=progress,
    )
    return [
        int(np.sum(np.var(mean, axis=0, ddof=1) - np.mean(noise, axis=0) / num_samples > threshold))
        for mean, noise in moments
    ]


@partial(jax.jit, static_argnums=(0, 1))
def _moments(model, num_samples, params, x, key) -> list[tuple[Array, Array]]:
    terms = model.apply({"params": params}, x, key, num_samples)
    return [(jnp.mean(z, axis=0), jnp.var(z, axis=0, ddof=1)) for z in terms.latents]

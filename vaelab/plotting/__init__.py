"""Every picture an experiment leaves in its workdir, as functions of arrays.

Each function takes numpy or jax arrays and returns a matplotlib `Figure`, made without pyplot and
without touching any global setting; the caller saves it (`figure.savefig(path)`) or shows it.
"""

from vaelab.plotting.curves import training_curves
from vaelab.plotting.densities import Panel, inner_samples, prior_densities
from vaelab.plotting.images import reconstructions, samples
from vaelab.plotting.latents import latent_space

__all__ = [
    "Panel",
    "inner_samples",
    "latent_space",
    "prior_densities",
    "reconstructions",
    "samples",
    "training_curves",
]

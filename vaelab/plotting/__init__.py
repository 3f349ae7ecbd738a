"""Every picture an experiment leaves in its workdir, as functions of arrays.

Each function takes numpy or jax arrays and returns a matplotlib `Figure`, made without pyplot and
without touching any global setting; the caller saves it (`figure.savefig(path)`) or shows it.
"""

from vaelab.plotting.blocks import Block, posterior_scatter, sample_blocks
from vaelab.plotting.comparison import equal_distortion, paired_differences
from vaelab.plotting.courses import Settling, settling
from vaelab.plotting.curves import training_curves
from vaelab.plotting.densities import Panel, inner_samples, prior_densities
from vaelab.plotting.images import reconstructions, samples
from vaelab.plotting.latents import latent_space
from vaelab.plotting.plane import PlaneSeries, information_plane
from vaelab.plotting.trajectory import saddle_trajectory

__all__ = [
    "Block",
    "Panel",
    "PlaneSeries",
    "Settling",
    "equal_distortion",
    "information_plane",
    "inner_samples",
    "latent_space",
    "paired_differences",
    "posterior_scatter",
    "prior_densities",
    "reconstructions",
    "saddle_trajectory",
    "sample_blocks",
    "samples",
    "settling",
    "training_curves",
]

"""The plots of runs and studies, as functions of arrays.

Each function takes numpy or jax arrays and returns a matplotlib `Figure`. A notebook shows the figure
when it is the value of a cell; `figure.savefig(path)` writes it. pyplot and the global settings of
matplotlib stay untouched.

Functions with one panel take `ax`, and functions with several panels take `axes`, to draw into axes
that the caller made. They change nothing else of the caller's figure, and return that figure. Legends
and titles need room: make the figure with `layout="constrained"`. pyplot shows its own figures at the
end of a cell; write `;` after the call, or the notebook shows such a figure twice.

>>> import numpy as np
>>> from matplotlib.figure import Figure
>>> figure = Figure(layout="constrained")
>>> samples(np.zeros((4, 8, 8, 1)), ax=figure.subplots()) is figure
True
"""

from vaelab.plotting.animations import animate_images, animate_stick_figures
from vaelab.plotting.bars_of_levels import LevelQuantity, level_bars, level_names
from vaelab.plotting.blocks import Block, sample_blocks
from vaelab.plotting.chains import ChainPanel, label_chains
from vaelab.plotting.comparison import equal_distortion, paired_differences
from vaelab.plotting.curves import training_curves
from vaelab.plotting.densities import Panel, prior_densities, prior_density
from vaelab.plotting.graph_panels import LatentGraph
from vaelab.plotting.growth_curves import growth
from vaelab.plotting.image_strips import image_strips
from vaelab.plotting.images import reconstructions, samples
from vaelab.plotting.latent_graphs import latent_graph, latent_graphs
from vaelab.plotting.latents import latent_space
from vaelab.plotting.multipliers import Settling, settling
from vaelab.plotting.plane import PlaneSeries, information_plane
from vaelab.plotting.posteriors import posterior_scatter
from vaelab.plotting.seed_measures import SeedMeasure, seed_measures
from vaelab.plotting.stick_figures import stick_figures
from vaelab.plotting.trajectory import saddle_trajectory
from vaelab.plotting.traversals import LevelBlock, level_traversals

__all__ = [
    "Block",
    "ChainPanel",
    "LatentGraph",
    "LevelBlock",
    "LevelQuantity",
    "Panel",
    "PlaneSeries",
    "SeedMeasure",
    "Settling",
    "animate_images",
    "animate_stick_figures",
    "equal_distortion",
    "growth",
    "image_strips",
    "information_plane",
    "label_chains",
    "latent_graph",
    "latent_graphs",
    "latent_space",
    "level_bars",
    "level_names",
    "level_traversals",
    "paired_differences",
    "posterior_scatter",
    "prior_densities",
    "prior_density",
    "reconstructions",
    "saddle_trajectory",
    "sample_blocks",
    "samples",
    "seed_measures",
    "settling",
    "stick_figures",
    "training_curves",
]

"""The GTM-VampPrior: a VampPrior whose pseudo-inputs are the image of a regular grid."""

from __future__ import annotations

import math

import flax.linen as nn
import jax

from vaelab.checks import check_sizes
from vaelab.networks import MLP
from vaelab.priors.base import DataRange, Given, Prior
from vaelab.priors.components import Components
from vaelab.priors.gtm import check_grid, grid
from vaelab.priors.mixture import MixturePrior
from vaelab.priors.vamp import (
    check_examples,
    check_pseudo_inputs,
    encode,
    fit_pseudo_inputs,
    known_range,
    known_shape,
)
from vaelab.types import Array, PRNGKey, PyTree


class GTMVampPrior(MixturePrior):
    """p(z) = Σ_k w_k q_φ(z|u(g_k)), g_k the points of a regular grid in a cube.

    The network u maps the fixed grid into the range of the data, by a sigmoid. The encoder is that of the
    model, or the prior's own, as for a VampPrior. Tomczak, 2022, Deep Generative Modeling, chapter 4.

    Raises:
      UsageError: the grid has no points or more than 4 dimensions; data_range is empty or infinite; the
        encoder does not fit latent_dim or the examples, or its posterior is no diagonal Gaussian.

    >>> import jax.numpy as jnp
    >>> from vaelab.networks import ConditionalGaussian
    >>> encoder = ConditionalGaussian(MLP((16,), event_ndims=3), dim=2)
    >>> prior = GTMVampPrior(latent_dim=2, shape=(8, 8, 1), grid_size=4, encoder=encoder)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(2))
    >>> prior.apply(variables, jnp.zeros((5, 2)), method="log_prob").shape
    (5,)
    """

    shape: tuple[int, ...] | None = None
    """Shape of one example, (height, width, channels) for images. Left out, it is that of the model's decoder."""
    grid_size: int = 4
    """Number of points along each axis of the grid. The prior has grid_size ** grid_dim components."""
    grid_dim: int = 2
    """Dimension of the grid, at most 4."""
    learned_weights: bool = False
    """True learns the weights w_k. False makes them equal."""
    data_range: tuple[float, float] | None = None
    """Pseudo-inputs lie in this range. Left out, it is that of the decoder if finite, else that of the data that a model is made for, else (0, 1)."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the layers of the default trunk."""
    trunk: nn.Module = None  # filled in below
    """Network before the head that gives the pseudo-inputs, [C, grid_dim] -> [C, H]. Left out, it is an MLP with tanh layers."""
    encoder: nn.Module | None = None
    """q(z|x), a diagonal Gaussian. None uses `given.encode`, which a model sets to its own encoder."""

    def __post_init__(self) -> None:
        check_grid(self.grid_size, self.grid_dim)
        check_sizes(hidden=self.hidden)
        check_pseudo_inputs(self)
        if self.trunk is None:
            self.trunk = MLP(self.hidden, activation=nn.tanh, parent=None)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> Prior:
        return fit_pseudo_inputs(self, shape, data_range)

    def setup(self) -> None:
        self.head = nn.Dense(math.prod(known_shape(self)))
        num_components = self.grid_size**self.grid_dim
        self.logits = self.logits_of(num_components, learned=self.learned_weights)

    def components(self, given: Given = Given()) -> Components:
        low, high = known_range(self)
        share = nn.sigmoid(self.head(self.trunk(grid(self.grid_size, self.grid_dim))))
        pseudo_inputs = (low + (high - low) * share).reshape(-1, *known_shape(self))
        mean, scale = encode(self, pseudo_inputs, given)
        return Components(jax.nn.log_softmax(self.logits), mean, scale)

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        check_examples(known_shape(self), x)
        return params

"""Generative topographic mapping: a mixture whose components are the image of a regular grid."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vaelab.checks import UsageError, check_at_least_one, check_sizes
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors.base import Given, check_dim
from vaelab.priors.components import Components
from vaelab.priors.mixture import MixturePrior, gaussian_parts
from vaelab.separate import check_modules
from vaelab.types import Array


class GTM(MixturePrior):
    """p(z) = Σ_k w_k N(z; μ(g_k), diag σ²(g_k)), g_k the points of a regular grid in a cube.

    The grid is fixed. The network that bends it into the latent space is learned, and the weights may be.
    Bishop, Svensén & Williams, 1998, use one σ for all components.

    Raises:
      UsageError: the grid has no points or more than 4 dimensions; the size of the network is not
        latent_dim, or it returns no diagonal Gaussian.

    >>> prior = GTM(latent_dim=5, grid_size=4)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(5))
    >>> prior.apply(variables, jnp.zeros((7, 5)), method="log_prob").shape
    (7,)
    """

    grid_size: int = 4
    """Number of points along each axis of the grid. The prior has grid_size ** grid_dim components."""
    grid_dim: int = 2
    """Dimension of the grid, at most 4."""
    learned_weights: bool = False
    """True learns the weights w_k. False makes them equal."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the layers of the default network."""
    network: nn.Module = None  # filled in below
    """N(μ(g), σ²(g)), [C, grid_dim] -> diagonal Gaussian. Left out, it is an MLP with tanh layers and a Gaussian head."""

    def __post_init__(self) -> None:
        check_grid(self.grid_size, self.grid_dim)
        check_modules(self)
        check_at_least_one(latent_dim=self.latent_dim)
        check_sizes(hidden=self.hidden)
        if self.network is None:
            trunk = MLP(self.hidden, activation=nn.tanh, parent=None)
            # The range is wide enough for any fit and prevents overflow, as in HierarchicalPrior.
            self.network = ConditionalGaussian(
                trunk, self.latent_dim, log_variance_range=(-20.0, 10.0), parent=None
            )
        check_dim("network", self.network, self.latent_dim)
        super().__post_init__()

    def setup(self) -> None:
        num_components = self.grid_size**self.grid_dim
        self.logits = self.logits_of(num_components, learned=self.learned_weights)

    def components(self, given: Given = Given()) -> Components:
        points = grid(self.grid_size, self.grid_dim)
        mean, scale = gaussian_parts("network", self.network(points), points, self.latent_dim)
        return Components(jax.nn.log_softmax(self.logits), mean, scale)


def grid(size: int, dim: int) -> Array:
    """A regular grid in the cube [−1, 1]^dim, corners included. [size ** dim, dim].

    >>> grid(3, 1).T
    Array([[-1.,  0.,  1.]], dtype=float32...)
    """
    # A whole grid may be too large to be a constant of a compiled program; its axis is not.
    axis = jnp.asarray(np.linspace(-1.0, 1.0, size))
    return jnp.stack(jnp.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def check_grid(size: int, dim: int) -> None:
    """Raises one sentence if a grid is empty or too large."""
    check_at_least_one(grid_size=size)
    check_at_least_one(grid_dim=dim)
    if dim > 4:
        raise UsageError(
            f"grid_dim must be at most 4, got {dim}: there would be grid_size ** grid_dim = "
            f"{size} ** {dim} = {size**dim} components."
        )
    if isinstance(size, int) and size**dim >= 2**31:
        raise UsageError(
            f"grid_size = {size} is too large: there would be grid_size ** grid_dim = {size**dim} "
            "components, and at most 2**31 - 1 can be numbered."
        )

"""A recurrent cell whose state is feature maps."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import check_at_least_one, check_sizes
from vaelab.networks.convolutional import Convolution3x3
from vaelab.types import Array

State = tuple[Array, Array]  # (h, c), each [..., height, width, features]


class ConvLSTM(nn.Module):
    """Long short-term memory over feature maps. One 3×3 convolution computes the four gates.

    (i, f, g, o) = W ∗ [h, inputs] + offset, c' = σ(f + 1) ⊙ c + σ(i) ⊙ tanh(g), h' = σ(o) ⊙ tanh(c').
    A convolution is linear. So inputs that are the same at every step go through `project` once and are
    added as the offset. Shi et al., 2015, eq. 3, without peepholes.

    >>> import jax
    >>> cell, maps = ConvLSTM(size=(7, 7), features=8), jnp.ones((5, 7, 7, 3))
    >>> (h, c), _ = cell.init_with_output(
    ...     jax.random.key(0), maps, method=lambda cell, maps: cell(cell.start((5,)), maps)
    ... )
    >>> h.shape
    (5, 7, 7, 8)
    """

    size: tuple[int, int]
    """Height and width of the maps."""
    features: int
    """Number of channels of the output h and of the memory c."""

    def __post_init__(self) -> None:
        check_at_least_one(features=self.features)
        check_sizes(size=self.size)
        super().__post_init__()

    def setup(self) -> None:
        self.gates = Convolution3x3(4 * self.features)
        self.constant = Convolution3x3(4 * self.features, use_bias=False)
        shape = (2, *self.size, self.features)
        self.initial = self.param("initial", nn.initializers.zeros, shape)

    def start(self, batch_shape: tuple[int, ...]) -> State:
        """The learned first state, the same for all of a batch."""
        h, c = self.initial
        shape = (*batch_shape, *h.shape)
        return jnp.broadcast_to(h, shape), jnp.broadcast_to(c, shape)

    def project(self, constant: Array) -> Array:
        """The offset of maps that are the same at every step. [..., height, width, C] -> [..., 4·features]."""
        return self.constant(constant)

    def __call__(self, state: State, inputs: Array, offset: Array | float = 0.0) -> State:
        """The next state. Inputs and offset [..., height, width, channels] broadcast against it."""
        h, c = state
        gates = self.gates(jnp.concatenate([h, inputs], axis=-1)) + offset
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        # At the start the memory is kept: Jozefowicz et al., 2015, section 5.
        c = nn.sigmoid(f + 1.0) * c + nn.sigmoid(i) * jnp.tanh(g)
        return nn.sigmoid(o) * jnp.tanh(c), c

"""Masked autoregressive networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vaelab.checks import check_at_least_one, check_sizes
from vaelab.types import Array


class MADE(nn.Module):
    """One network whose d-th outputs depend on z_1 … z_{d−1} only. [..., D] -> [..., D, outputs].

    Unit k of each hidden layer has a degree m(k) in 1 … D−1 and sees the units of the previous layer
    with degree ≤ m(k). Coordinate d has degree d. The outputs for coordinate d see units of degree < d.
    Degrees are spread evenly. A layer narrower than D − 1 lacks some degrees: then a coordinate may
    not see its nearest predecessors. Outputs start at zero.
    Germain et al., 2015, eq. 12 and 13.

    >>> import jax
    >>> network = MADE(dim=3, num_outputs=2)
    >>> outputs, variables = network.init_with_output(jax.random.key(0), jnp.ones((5, 3)))
    >>> outputs.shape, network.apply(variables, jnp.ones((5, 3)), 2, method="at").shape
    ((5, 3, 2), (5, 2))
    """

    dim: int
    """Number of coordinates D."""
    num_outputs: int
    """Number of outputs for each coordinate."""
    hidden: tuple[int, ...] = (256,)
    """Width of each layer."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity after each layer. A smooth nonlinearity makes a smooth density."""

    def __post_init__(self) -> None:
        check_at_least_one(dim=self.dim, num_outputs=self.num_outputs)
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    def setup(self) -> None:
        degrees = [np.arange(1, self.dim + 1)]
        degrees += [1 + np.arange(width) * max(self.dim - 1, 1) // width for width in self.hidden]
        pairs = itertools.pairwise(degrees)
        self.masks = [below[:, None] <= here for below, here in pairs]
        self.output_mask = degrees[-1][:, None] < degrees[0]  # [H, D]
        kernel_init, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        self.kernels = [
            self.param(f"kernel_{i}", kernel_init, mask.shape) for i, mask in enumerate(self.masks)
        ]
        self.biases = [
            self.param(f"bias_{i}", zeros, (width,)) for i, width in enumerate(self.hidden)
        ]
        shape = (*self.output_mask.shape, self.num_outputs)
        self.output_kernel = self.param("output_kernel", zeros, shape)
        self.output_bias = self.param("output_bias", zeros, shape[1:])

    def __call__(self, z: Array) -> Array:
        """The outputs of every coordinate, [..., D] -> [..., D, outputs]."""
        kernel = self.output_kernel * self.output_mask[..., None]
        return jnp.tensordot(self._last_hidden(z), kernel, axes=1) + self.output_bias

    def at(self, z: Array, d: Array | int) -> Array:
        """The outputs of coordinate d (from 0) alone, [..., D] -> [..., outputs]."""
        mask = jnp.asarray(self.output_mask)[:, d]
        kernel = self.output_kernel[:, d] * mask[:, None]
        return self._last_hidden(z) @ kernel + self.output_bias[d]

    def _last_hidden(self, z: Array) -> Array:
        h = z
        for kernel, bias, mask in zip(self.kernels, self.biases, self.masks, strict=True):
            h = self.activation(h @ (kernel * mask) + bias)
        return h

"""Multilayer perceptrons: the trunks of encoders, decoders and priors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from vaelab.checks import check_sizes
from vaelab.types import Array


class MLP(nn.Module):
    """Dense layers with an activation after each. [..., event] -> [..., hidden[-1]].

    >>> import jax, jax.numpy as jnp
    >>> variables = MLP((300, 300), event_ndims=3).init(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> variables["params"]["Dense_0"]["kernel"].shape
    (64, 300)
    """

    hidden: tuple[int, ...] = (300, 300)
    """Width of each layer."""
    event_ndims: int | None = None
    """Number of trailing axes that are flattened into one: 3 for images. Left out, it is derived from the data in an encoder, and 1 elsewhere."""
    activation: Callable[[Array], Array] = nn.relu
    """Nonlinearity after each layer."""

    def __post_init__(self) -> None:
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> MLP:
        """The same network for examples of this shape, see `networks.TakesEvents`."""
        return self if self.event_ndims is not None else _with_ndims(self, shape)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = _flatten(x, self.event_ndims)
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        return x


class GatedMLP(nn.Module):
    """Gated dense layers (Wx + b) ⊙ sigmoid(Vx + c). [..., event] -> [..., hidden[-1]].

    The networks of the papers on the VampPrior. The linear branch has no nonlinearity.
    Tomczak & Welling, 2018, appendix; Dauphin et al., 2017, eq. 1.
    """

    hidden: tuple[int, ...] = (300, 300)
    """Width of each layer."""
    event_ndims: int | None = None
    """Number of trailing axes that are flattened into one: 3 for images. Left out, it is derived from the data in an encoder, and 1 elsewhere."""

    def __post_init__(self) -> None:
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> GatedMLP:
        """The same network for examples of this shape, see `networks.TakesEvents`."""
        return self if self.event_ndims is not None else _with_ndims(self, shape)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = _flatten(x, self.event_ndims)
        for width in self.hidden:
            x = nn.glu(nn.Dense(2 * width)(x))  # both branches as one matrix product
        return x


def _with_ndims(network: Any, shape: tuple[int, ...]) -> Any:
    return network.clone(parent=None, event_ndims=len(shape))


def _flatten(x: Array, event_ndims: int | None) -> Array:
    event_ndims = 1 if event_ndims is None else event_ndims
    batch = x.shape[: x.ndim - event_ndims]
    return x.reshape(*batch, math.prod(x.shape[x.ndim - event_ndims :]))

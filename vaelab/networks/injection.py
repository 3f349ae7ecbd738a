"""How a code enters the features of the level above it."""

from __future__ import annotations

import math

import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import UsageError, check_at_least_one, is_number
from vaelab.types import Array


class GatedInjection(nn.Module):
    """h + gate ⊙ Wz. Features h [..., *event], code z [..., D] -> [..., *event].

    The gate is learned, one number per channel, which is the last axis of h. In a vector each unit is a
    channel. In feature maps a channel has the same meaning at every position, and so has its gate; W gives
    each position its own weights. The gate starts small, so the level above fits the data first.
    Zhao et al., 2017, in their code.

    >>> import jax
    >>> h, z = jnp.zeros((5, 7, 7, 8)), jnp.zeros((5, 2))
    >>> output, variables = GatedInjection().init_with_output(jax.random.key(0), h, z)
    >>> output.shape, variables["params"]["gate"][0]
    ((5, 7, 7, 8), Array(0.1, dtype=float32))
    """

    initial: float = 0.1
    """Gate at the start."""

    def __post_init__(self) -> None:
        # Zero is allowed. The gradient of such a gate is not zero, because W is not.
        if is_number(self.initial) and not math.isfinite(self.initial):
            raise UsageError(f"initial must be finite, got {self.initial}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Array, z: Array) -> Array:
        shape = h.shape[z.ndim - 1 :]
        gate = self.param("gate", nn.initializers.constant(self.initial), shape[-1:])
        return h + gate * _spread(z, shape)


class Concatenation(nn.Module):
    """h and features Wz, side by side along the last axis. Zhao et al., 2017, in their code.

    [..., *event], [..., D] -> [..., *event], with `features` more channels than h.

    >>> import jax
    >>> h, z = jnp.zeros((5, 7, 7, 8)), jnp.zeros((5, 2))
    >>> Concatenation(features=4).init_with_output(jax.random.key(0), h, z)[0].shape
    (5, 7, 7, 12)
    """

    features: int = 16
    """Number of channels that the code has."""

    def __post_init__(self) -> None:
        check_at_least_one(features=self.features)
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Array, z: Array) -> Array:
        shape = (*h.shape[z.ndim - 1 : -1], self.features)
        return jnp.concatenate([h, _spread(z, shape)], axis=-1)


def _spread(z: Array, shape: tuple[int, ...]) -> Array:
    """Wz of the given event shape. Called inside a compact method."""
    return nn.Dense(math.prod(shape), use_bias=False)(z).reshape(*z.shape[:-1], *shape)

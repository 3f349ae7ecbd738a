"""Invertible maps of vectors, made of affine couplings."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import check_at_least_one, check_sizes
from vaelab.types import Array

# Bound on |log σ| in the last, elementwise map: standard deviations from 5e−5 to 2e4.
_AFFINE_BOUND = 10.0


class RealNVP(nn.Module):
    """An invertible map u = f(z) of vectors, and log |det ∂f|. Dinh et al., 2017, eq. 7 and 8.

    A coupling moves one half b of the coordinates and keeps the other half a. The halves take turns:

      b -> (b − t(a)) exp(−s(a)),   log |det| = −Σ s(a).

    A last map does the same to each coordinate, with constants t and s. With one coordinate it is the only
    map. A tanh bounds every s, so that no gradient overflows at extreme z. If a `context` is given, all t
    and s depend on it. At the start f is the identity.

    >>> import jax
    >>> flow, z = RealNVP(dim=3, num_layers=2), jnp.ones((5, 3))
    >>> (u, log_det), variables = flow.init_with_output(jax.random.key(0), z, method="forward")
    >>> u.shape, log_det.shape
    ((5, 3), (5,))
    """

    dim: int
    """Number of coordinates."""
    num_layers: int = 4
    """Number of couplings."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the layers of each coupling's network."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity after each layer. A smooth nonlinearity makes a smooth density."""
    log_scale_bound: float = 2.0
    """Largest |s| of a coupling."""

    def __post_init__(self) -> None:
        check_at_least_one(num_layers=self.num_layers, dim=self.dim)
        check_sizes(hidden=self.hidden)
        super().__post_init__()

    def setup(self) -> None:
        sizes = self.dim - self.dim // 2, self.dim // 2  # the second half is moved first
        self.couplings = [
            _Conditioner(2 * sizes[i % 2], self.hidden, self.activation)
            for i in range(self.num_layers if self.dim > 1 else 0)
        ]
        self.affine = _Conditioner(2 * self.dim, (), self.activation)

    def forward(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(u, log |det ∂u/∂z|). z [..., dim], context [..., C] -> [..., dim], [...]."""
        halves = self._split(z, context)
        log_det = jnp.zeros(halves[0].shape[:-1], halves[0].dtype)
        for i, coupling in enumerate(self.couplings):
            kept, moved = i % 2, (i + 1) % 2
            shift, log_scale = _bounded(coupling(halves[kept], context), self.log_scale_bound)
            halves[moved] = (halves[moved] - shift) * jnp.exp(-log_scale)
            log_det -= jnp.sum(log_scale, axis=-1)
        shift, log_scale = _bounded(self.affine(None, context), _AFFINE_BOUND)
        u = (jnp.concatenate(halves, axis=-1) - shift) * jnp.exp(-log_scale)
        return u, log_det - jnp.sum(log_scale, axis=-1)

    def inverse(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """(z, log |det ∂z/∂u|). u [..., dim], context [..., C] -> [..., dim], [...]."""
        shift, log_scale = _bounded(self.affine(None, context), _AFFINE_BOUND)
        halves = self._split(shift + jnp.exp(log_scale) * u, context)
        log_det = jnp.zeros(halves[0].shape[:-1], halves[0].dtype) + jnp.sum(log_scale, axis=-1)
        for i, coupling in reversed(list(enumerate(self.couplings))):
            kept, moved = i % 2, (i + 1) % 2
            shift, log_scale = _bounded(coupling(halves[kept], context), self.log_scale_bound)
            halves[moved] = shift + jnp.exp(log_scale) * halves[moved]
            log_det += jnp.sum(log_scale, axis=-1)
        return jnp.concatenate(halves, axis=-1), log_det

    def _split(self, z: Array, context: Array | None) -> list[Array]:
        z = jnp.asarray(z)
        if context is not None:
            batch = jnp.broadcast_shapes(z.shape[:-1], context.shape[:-1])
            z = jnp.broadcast_to(z, (*batch, self.dim))
        return [z[..., : self.dim // 2], z[..., self.dim // 2 :]]


class _Conditioner(nn.Module):
    """A network of the kept half, the context, both, or neither. Its output starts at zero.

    The first layer has one matrix for each input. So a context that many samples share is multiplied
    once and broadcast.
    """

    features: int
    hidden: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, kept: Array | None, context: Array | None) -> Array:
        first, *rest = (*self.hidden, self.features)
        init = nn.initializers.lecun_normal() if rest else nn.initializers.zeros
        h = self.param("bias", nn.initializers.zeros, (first,))
        for name, value in (("kept", kept), ("context", context)):
            if value is not None:
                h = h + nn.Dense(first, use_bias=False, kernel_init=init, name=name)(value)
        for i, width in enumerate(rest):
            last = i == len(rest) - 1
            init = nn.initializers.zeros if last else nn.initializers.lecun_normal()
            h = nn.Dense(width, kernel_init=init)(self.activation(h))
        return h


def _bounded(parameters: Array, bound: float) -> tuple[Array, Array]:
    """t, and s in (−bound, bound), from a network's output: the shift and, near zero, half the log-variance."""
    shift, log_variance = jnp.split(parameters, 2, axis=-1)
    return shift, bound * jnp.tanh(0.5 * log_variance / bound)

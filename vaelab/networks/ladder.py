"""Ladders: chains of networks with one code at each step. Everything is listed top first."""

from __future__ import annotations

import distrax
import flax.linen as nn
import jax.numpy as jnp

from vaelab.checks import UsageError, check_sizes, counted
from vaelab.events import for_events, gives_maps
from vaelab.networks.injection import GatedInjection
from vaelab.separate import separate_modules
from vaelab.types import Array


class LadderEncoder(nn.Module):
    """q(z_l|x) = N(μ_l(ĥ_l), σ_l²(ĥ_l)) of every level, ĥ_l = e_l(ĥ_{l−1}), ĥ_0 = x. Level 1 is the bottom.

    Networks and codes are listed top first. Mean and log-variance are linear in ĥ_l. A network that keeps
    feature maps states `output_ndims = 3`, as `Downsample` does. A network of vectors above it needs its
    `event_ndims`, such as `MLP((64,), event_ndims=3)`. Zhao et al., 2017, section 5.

    >>> import jax
    >>> from vaelab.networks import MLP
    >>> encoder = LadderEncoder((MLP((8,)), MLP((16,), event_ndims=3)), dims=(3, 2))
    >>> codes, _ = encoder.init_with_output(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> [code.event_shape for code in codes]
    [(3,), (2,)]
    """

    networks: tuple[nn.Module, ...]
    """Networks e_L, ..., e_1. The last one reads x."""
    dims: tuple[int, ...]
    """Number of coordinates of z_L, ..., z_1."""

    def __post_init__(self) -> None:
        check_networks(self.networks)
        check_sizes(dims=self.dims)
        if len(self.dims) != len(self.networks):
            raise UsageError(
                f"dims = {tuple(self.dims)} must hold one number for each of "
                f"{counted(len(self.networks), 'network')}."
            )
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> LadderEncoder:
        """The same networks for examples of this shape, see `networks.TakesEvents`."""
        *upper, bottom = self.networks
        fitted = for_events(bottom, shape)
        if fitted is bottom:
            return self
        return self.clone(parent=None, networks=(*upper, fitted))

    @nn.compact
    def __call__(self, x: Array) -> tuple[distrax.Independent, ...]:
        """Top first, each of batch shape [B]."""
        codes: list[distrax.Independent] = []
        h = x
        for level in reversed(range(len(self.networks))):
            h = self.networks[level](h)
            if h.ndim != (4 if gives_maps(self.networks[level]) else 2):
                name = f"networks[{level}] = {type(self.networks[level]).__name__}"
                raise UsageError(
                    f"{name} of a ladder gives an array of shape {h.shape}: set its event_ndims to the "
                    "number of axes of one input, or output_ndims = 3 if it gives feature maps."
                )
            head = nn.Dense(2 * self.dims[level], name=f"head_{level}")
            mean, log_variance = jnp.split(head(h.reshape(len(h), -1)), 2, axis=-1)
            codes.append(distrax.Independent(distrax.Normal(mean, jnp.exp(0.5 * log_variance)), 1))
        return tuple(reversed(codes))


class LadderGenerator(nn.Module):
    """Features h_1 of x, with h_L = f_L(z_L) and h_l = f_l(inject(h_{l+1}, z_l)). Level 1 is the bottom.

    Networks and codes are listed top first. Each level below the top has an injection of its own.
    Zhao et al., 2017, section 5.

    >>> import jax
    >>> from vaelab.networks import DeconvNet, Upsample
    >>> generator = LadderGenerator((DeconvNet((7, 7), (8,), 8), Upsample(4), Upsample(4)))
    >>> z = tuple(jnp.ones((3, 5, dim)) for dim in (10, 2, 2))
    >>> generator.init_with_output(jax.random.key(0), z)[0].shape
    (3, 5, 28, 28, 4)
    """

    networks: tuple[nn.Module, ...]
    """Networks f_L, ..., f_1. The first one reads z_L."""
    injection: nn.Module = GatedInjection()
    """How z_l enters h_{l+1}. Each level has a copy."""

    def __post_init__(self) -> None:
        check_networks(self.networks)
        separate_modules(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, z: tuple[Array, ...]) -> Array:
        """z_L, ..., z_1, each [..., D_l] -> [..., *event]."""
        top, *lower = self.networks
        h = top(z[0])
        for level, network in enumerate(lower, start=1):
            inject = self.injection.clone(parent=self, name=f"injection_{level}")
            h = network(inject(h, z[level]))
        return h


def check_networks(networks: tuple[nn.Module, ...]) -> None:
    """Raises one sentence if a ladder has no level, or something that is no network."""
    if not isinstance(networks, tuple | list) or not networks:
        raise UsageError(
            f"networks must be a tuple of at least one network, top first, got {networks!r}."
        )
    for level, network in enumerate(networks):
        if not isinstance(network, nn.Module):
            raise UsageError(
                f"networks[{level}] must be a module, such as MLP((64,)), got {network!r}."
            )

"""Conditional distributions that are flows: posteriors that need not be Gaussian."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import UndefinedError, check_at_least_one, check_sizes
from vaelab.events import for_events
from vaelab.networks.coupling import RealNVP
from vaelab.separate import separate_modules
from vaelab.types import Array, PRNGKey, PyTree


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["params", "context"], meta_fields=["flow"]
)
@dataclasses.dataclass(frozen=True)
class FlowDistribution:
    """The density of z = f⁻¹(u; c), u ~ N(0, I): log p(z|c) = log N(f(z; c)) + log |det ∂f/∂z|.

    A pytree that holds the parameters of f, so that `jax.lax.stop_gradient` stops all of them. It outlives
    the module that made it. The parameters have no batch axes: slice batches in the context alone.
    """

    params: PyTree  # of the flow
    context: Array  # [..., C]
    flow: RealNVP  # unbound

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.context.shape[:-1]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.flow.dim,)

    def log_prob(self, value: Array) -> Array:
        """log p(z|c), nats. [..., dim] -> [...]."""
        u, log_det = self._map("forward", value)
        return _log_normal(u) + log_det

    def sample(self, *, seed: PRNGKey, sample_shape: int | tuple[int, ...] = ()) -> Array:
        """z ~ p(z|c), reparameterised, [*sample_shape, ..., dim]."""
        return self.sample_and_log_prob(seed=seed, sample_shape=sample_shape)[0]

    def sample_and_log_prob(
        self, *, seed: PRNGKey, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[Array, Array]:
        """Samples and their log-probability, in one pass."""
        leading = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        shape = (*leading, *self.batch_shape, *self.event_shape)
        u = jax.random.normal(seed, shape, self.context.dtype)
        z, log_det = self._map("inverse", u)
        return z, _log_normal(u) - log_det

    def mean(self) -> Array:
        """A flow has no mean in closed form.

        Raises:
          UndefinedError: always.
        """
        raise UndefinedError("the mean of a flow has no closed form: take an average of samples.")

    def _map(self, method: str, value: Array) -> tuple[Array, Array]:
        return self.flow.apply({"params": self.params}, value, self.context, method=method)


class ConditionalFlow(nn.Module):
    """A RealNVP flow in which every coupling sees the trunk's output. [..., event] -> [..., dim].

    A drop-in replacement for `ConditionalGaussian`: as q(z|x) of a VAE, or as an encoder or decoder
    of a hierarchical prior. With one coordinate it is a Gaussian. It has no closed-form KL. At the start
    it is N(0, I) for every input. Rezende & Mohamed, 2015; Dinh et al., 2017.

    >>> from vaelab.networks import MLP
    >>> encoder = ConditionalFlow(MLP((16,), event_ndims=3), dim=2, num_layers=2)
    >>> posterior, _ = encoder.init_with_output(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
    >>> posterior.sample(seed=jax.random.key(1), sample_shape=(3,)).shape
    (3, 5, 2)
    """

    trunk: nn.Module
    """Network whose output is the flow's context."""
    dim: int
    """Number of coordinates."""
    num_layers: int = 4
    """Number of couplings."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the layers of each coupling's network."""
    activation: Callable[[Array], Array] = nn.silu
    """Nonlinearity after each of these layers."""

    def __post_init__(self) -> None:
        check_at_least_one(num_layers=self.num_layers, dim=self.dim)
        check_sizes(hidden=self.hidden)
        separate_modules(self)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...]) -> ConditionalFlow:
        """The same network for examples of this shape, see `networks.TakesEvents`."""
        trunk = for_events(self.trunk, shape)
        return self if trunk is self.trunk else self.clone(parent=None, trunk=trunk)

    @nn.compact
    def __call__(self, x: Array) -> FlowDistribution:
        context = self.trunk(x)
        flow = RealNVP(self.dim, self.num_layers, self.hidden, self.activation, name="flow")
        if self.is_initializing():
            flow.forward(jnp.zeros(self.dim), context)
        return FlowDistribution(flow.variables["params"], context, flow.clone(parent=None))


def _log_normal(u: Array) -> Array:
    """log N(u; 0, I). [..., D] -> [...]."""
    return -0.5 * (jnp.sum(u**2, axis=-1) + u.shape[-1] * jnp.log(2 * jnp.pi))

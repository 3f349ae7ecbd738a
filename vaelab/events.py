"""Networks that fit themselves to the shape of the examples, so that shapes need no settings."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import flax.linen as nn


@runtime_checkable
class TakesEvents(Protocol):
    """A network of examples that fits itself to their shape. A network without it is left as it is."""

    def for_events(self, shape: tuple[int, ...]) -> nn.Module:
        """The same network for examples of this shape; itself if no setting was left out."""
        ...


@runtime_checkable
class MakesImages(Protocol):
    """A decoder's trunk that fits its feature maps to the shape of an example."""

    def for_images(self, shape: tuple[int, ...]) -> nn.Module:
        """The same network for examples of this shape; itself if no setting was left out."""
        ...


@runtime_checkable
class HasOutputAxes(Protocol):
    """A network that states the number of axes of its output, without those of the batch."""

    output_ndims: int
    """3 for feature maps [height, width, channels], 1 for vectors."""


def gives_maps(network: nn.Module) -> bool:
    """True if a network states that it gives feature maps. A network that states nothing gives vectors.

    >>> from vaelab.networks import MLP, Identity
    >>> gives_maps(Identity()), gives_maps(MLP((64,)))
    (True, False)
    """
    return isinstance(network, HasOutputAxes) and network.output_ndims == 3


def for_events(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A network of examples x, for examples of this shape.

    >>> from vaelab.networks import MLP
    >>> for_events(MLP((64,)), (28, 28, 1)).event_ndims
    3
    """
    return network.for_events(shape) if isinstance(network, TakesEvents) else network


def for_images(trunk: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A decoder's trunk, for examples of this shape.

    >>> from vaelab.networks import DeconvNet
    >>> for_images(DeconvNet(), (28, 28, 1)).shape
    (28, 28)
    """
    return trunk.for_images(shape) if isinstance(trunk, MakesImages) else trunk

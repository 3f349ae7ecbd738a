"""Optimisers: configurations that build optax transformations of the parameters."""

from __future__ import annotations

import abc
import dataclasses

import jax
import jax.numpy as jnp
import optax

from vaelab.checks import check_fraction, check_not_negative, check_positive
from vaelab.training.schedules import Constant, Schedule, check_schedule


@dataclasses.dataclass(frozen=True)
class Optimiser(abc.ABC):
    """Descent on the parameters. Each optimiser is a frozen dataclass.

    The learning rate may be a tracer, so that a sweep over it is one program. Only numbers are validated.
    """

    learning_rate: float = 5e-4
    """Step size while the factor of the schedule is 1."""
    schedule: Schedule = dataclasses.field(default=Constant(), kw_only=True)
    """Factor of the step size over the run."""

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_schedule(self.schedule)

    @abc.abstractmethod
    def build(self) -> optax.GradientTransformation:
        """The transformation without the schedule; `training.transformation` multiplies by its factor.

        The factor depends on the step of the run. The transformation cannot know it: if its parameters
        are not updated at every step, it counts its own updates only.
        """


@dataclasses.dataclass(frozen=True)
class Adam(Optimiser):
    """Adam. Kingma & Ba, 2015, algorithm 1."""

    b1: float = 0.9
    """Decay of the gradient's moving average, in [0, 1)."""
    b2: float = 0.999
    """Decay of the squared gradient's moving average, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(b1=self.b1, b2=self.b2)

    def build(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, self.b1, self.b2)


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: each step also subtracts learning rate · w · θ. Loshchilov & Hutter, 2019, algorithm 2."""

    weight_decay: float = 1e-4
    """Weight decay w of every parameter, biases included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(weight_decay=self.weight_decay)

    def build(self) -> optax.GradientTransformation:
        return optax.adamw(self.learning_rate, self.b1, self.b2, weight_decay=self.weight_decay)


@dataclasses.dataclass(frozen=True)
class NormalisedAdam(Adam):
    """Adam after a division of each tensor's gradient by its L2 norm, as in the code of Tomczak & Welling, 2018."""

    def build(self) -> optax.GradientTransformation:
        return optax.chain(normalise_tensors(), super().build())


def normalise_tensors() -> optax.GradientTransformation:
    """Divides the gradient of each tensor by its L2 norm. A zero gradient stays zero.

    The size of a step then depends neither on the size of the loss nor on other tensors. In the code of
    Tomczak & Welling, 2018, the two branches of a gated layer are two tensors, and so are a mean and its
    log-variance. Here each pair is one tensor.

    >>> updates, _ = normalise_tensors().update({"w": jnp.array([3.0, 4.0])}, optax.EmptyState())
    >>> updates["w"]
    Array([0.6, 0.8], dtype=float32)
    """

    def normalise(gradient: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(gradient.ravel())
        return gradient / jnp.where(norm > 0, norm, 1.0)

    return optax.stateless(lambda updates, _: jax.tree.map(normalise, updates))

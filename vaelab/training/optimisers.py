"""The optimisers of an experiment, as values that build optax transformations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from vaelab import saddle
from vaelab.checks import check_positive
from vaelab.types import PyTree


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam. Kingma & Ba, 2015."""

    learning_rate: float = 5e-4
    """step size"""
    b1: float = 0.9
    """decay of the gradient's moving average"""
    b2: float = 0.999
    """decay of the squared gradient's moving average"""

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)

    def build(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, self.b1, self.b2)


@dataclasses.dataclass(frozen=True)
class NormalisedAdam(Adam):
    """Adam on gradients of which each tensor was divided by its L2 norm, as in the VampPrior line."""

    def build(self) -> optax.GradientTransformation:
        return optax.chain(normalise_tensors(), super().build())


def normalise_tensors() -> optax.GradientTransformation:
    """Divides each tensor's gradient by its L2 norm; a zero gradient stays zero.

    A step's size no longer depends on the size of the loss, nor one tensor's on the others'. Used
    with Adam by Tomczak & Welling, 2018, in their code; here the two branches of a gated layer, and
    a mean and its log-variance, are one tensor.

    >>> updates, _ = normalise_tensors().update({"w": jnp.array([3.0, 4.0])}, optax.EmptyState())
    >>> updates["w"]
    Array([0.6, 0.8], dtype=float32)
    """

    def normalise(gradient: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(gradient.ravel())
        return gradient / jnp.where(norm > 0, norm, 1.0)

    return optax.stateless(lambda updates, _: jax.tree.map(normalise, updates))


@dataclasses.dataclass(frozen=True)
class Geco:
    """GECO's multipliers, `saddle.geco`. Rezende & Viola, 2018."""

    label: ClassVar[str] = "GECO"
    step_size: float = 0.1
    """ν, change of log λ per step and unit of the constraint over its `scales` (see `saddle_point`)"""
    initial_multiplier: float = 1.0
    """λ at the start, 100 times this for CLA and pNCC"""
    decay: float = 0.99
    """of the constraint's moving average"""
    hold_steps: int = 0
    """steps at the start during which λ rests"""
    proportional: float = 0.0
    """K of a proportional part, which gives back what λ gathered while the constraint was closing"""
    relative: bool = False
    """let the step see each constraint relative to its threshold (a squared error to D κ², say) instead of per dimension: one ν then suits every κ"""
    freeze_prior: bool = False
    """hold the prior's parameters until all constraints were met once"""
    multiplier_limit: float = 1e8
    """what λ never exceeds; a constraint still violated there is reported as infeasible"""

    def __post_init__(self) -> None:
        multiplier = self.initial_multiplier
        check_positive(initial_multiplier=multiplier)
        _check_limit(self.multiplier_limit, multiplier)

    def build(self) -> optax.GradientTransformation:
        multiplier_range = (1e-6, self.multiplier_limit)
        dual = saddle.geco(self.step_size, multiplier_range=multiplier_range)
        if self.proportional:
            dual = saddle.pi_geco(
                self.step_size, proportional=self.proportional, multiplier_range=multiplier_range
            )
        return saddle.hold_for(dual, self.hold_steps) if self.hold_steps else dual


@dataclasses.dataclass(frozen=True)
class Rewo:
    """REWO's multipliers, `saddle.rewo`. Klushyn et al., 2019."""

    label: ClassVar[str] = "REWO"
    relative: ClassVar[bool] = False  # its constraints are in nats per dimension
    step_size: float = 1.0
    """ν, change of log λ per step and unit of the constraint over its `scales` (see `saddle_point`)"""
    steepness: float = 3.0
    """τ, how sharply λ slows down as it nears 1"""
    initial_multiplier: float = 1000.0
    """λ at the start, 1/β₀"""
    decay: float = 0.99
    """of the constraint's moving average"""
    freeze_prior: bool = True
    """hold the prior's parameters until all constraints were met once (the initial phase)"""
    multiplier_limit: float = 1e8
    """what λ never exceeds; a constraint still violated there is reported as infeasible"""

    def __post_init__(self) -> None:
        multiplier = self.initial_multiplier
        if isinstance(multiplier, int | float) and not multiplier > 1:
            raise ValueError(
                f"initial_multiplier must be well above 1 under REWO, got {multiplier}: it is held "
                "until the constraints are met, which a small one may never bring about."
            )
        _check_limit(self.multiplier_limit, multiplier)

    def build(self) -> optax.GradientTransformation:
        return saddle.rewo(
            self.step_size,
            steepness=self.steepness,
            multiplier_range=(1e-6, self.multiplier_limit),
        )


def _check_limit(limit: float, start: float) -> None:
    if isinstance(start, int | float) and not limit > start:
        raise ValueError(
            f"multiplier_limit must be above initial_multiplier = {start}, got {limit}."
        )


def transformation(
    optimiser: Adam, dual: Geco | Rewo | None, *, scales: dict[str, float], prior_period: int = 1
) -> optax.GradientTransformationExtraArgs:
    """The whole transformation of an experiment: primal with the prior as its own group, and dual.

    The model's gradients are divided by max(1, λ), of which Adam's second moment would keep a long
    memory; the prior's have no λ in them. `prior_period` > 1 updates the prior once in so many
    steps, the outer loop of Klushyn et al., 2019. Without constraints `dual` is None and there are
    no multipliers. Parameter trees are Flax's, with the prior under the key "prior".
    """
    model = optimiser.build()
    prior = optimiser.build()
    if dual is not None:
        model = optax.chain(saddle.rescale_by_multipliers(), model)
    if prior_period > 1:
        prior = saddle.update_every(prior, prior_period)
    if dual is not None and dual.freeze_prior:
        prior = saddle.freeze_until_feasible(prior)
    primal = optax.partition({"model": model, "prior": prior}, _group)
    if dual is None:
        return saddle.saddle_point(primal, optax.identity(), scales=scales)
    return saddle.saddle_point(primal, dual.build(), decay=dual.decay, scales=scales)


def _group(params: PyTree) -> PyTree:
    return {name: "prior" if name == "prior" else "model" for name in params}

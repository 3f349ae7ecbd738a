"""Training: a run is a function of its configuration and its data.

`checkpoint` and `metrics` need the extra `experiments` and are imported by their modules' names.
"""

from vaelab.training.loop import NonFiniteLossError, Schedule, fit
from vaelab.training.objectives import (
    ELBO,
    AnnealedVariance,
    DoublyReparameterised,
    ImportanceWeighted,
    Lagrangian,
    Objective,
    StickingTheLanding,
)
from vaelab.training.optimisers import Adam, Geco, NormalisedAdam, Rewo
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import compile_train_steps, train_step, train_steps

__all__ = [
    "ELBO",
    "Adam",
    "AnnealedVariance",
    "DoublyReparameterised",
    "Geco",
    "ImportanceWeighted",
    "Lagrangian",
    "NonFiniteLossError",
    "NormalisedAdam",
    "Objective",
    "Rewo",
    "Schedule",
    "StickingTheLanding",
    "TrainState",
    "compile_train_steps",
    "fit",
    "initial_state",
    "train_step",
    "train_steps",
]

"""Objectives: what a training step minimises. `objectives.base` defines their contract."""

from vaelab.training.objectives.annealed_variance import AnnealedVariance
from vaelab.training.objectives.base import Objective, metrics, total_rate
from vaelab.training.objectives.disarm import DisARM
from vaelab.training.objectives.elbo import ELBO
from vaelab.training.objectives.importance_weighted import (
    DoublyReparameterised,
    ImportanceWeighted,
    StickingTheLanding,
)
from vaelab.training.objectives.info_vae import InfoVAE
from vaelab.training.objectives.lagrangian import Lagrangian
from vaelab.training.objectives.symmetric import SymmetricLearning

__all__ = [
    "ELBO",
    "AnnealedVariance",
    "DisARM",
    "DoublyReparameterised",
    "ImportanceWeighted",
    "InfoVAE",
    "Lagrangian",
    "Objective",
    "StickingTheLanding",
    "SymmetricLearning",
    "metrics",
    "total_rate",
]

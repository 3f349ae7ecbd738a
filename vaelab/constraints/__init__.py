"""Constraints on a model's outputs: signed, per sample and example, satisfied when ≤ 0 on average.

Each constraint is a small frozen dataclass that holds its tolerance κ and has a `divisor`, which makes
it relative to its threshold. The Lagrangian contains the constraint itself. The dual step uses
constraint / divisor, so that one step size serves every resolution and every κ (`vaelab.saddle`).
The formula of each constraint is also a function of arrays. Rezende & Viola, 2018, table 1.
"""

from vaelab.constraints.base import Constraint, ImageFunction, LowerBound
from vaelab.constraints.classification import CLA, classification_shortfall
from vaelab.constraints.correlation import patch_correlation_shortfall, pNCC
from vaelab.constraints.features import FRE, LocalStatistics
from vaelab.constraints.image_windows import windows
from vaelab.constraints.reconstruction import (
    NLL,
    RE,
    negative_log_likelihood,
    reconstruction_error,
)

__all__ = [
    "CLA",
    "FRE",
    "NLL",
    "RE",
    "Constraint",
    "ImageFunction",
    "LocalStatistics",
    "LowerBound",
    "classification_shortfall",
    "negative_log_likelihood",
    "pNCC",
    "patch_correlation_shortfall",
    "reconstruction_error",
    "windows",
]

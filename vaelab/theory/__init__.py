"""The theory of VAEs with an arbitrary encoder and decoder: exact fixed points."""

from vaelab.theory.fixed_points import (
    FixedPoint,
    Rule,
    grid,
    initial_reconstructions,
    iterate,
    log_ratio,
    objective,
    reconstruction_error,
    targets,
    transition,
)
from vaelab.theory.lipschitz import global_penalty, local_penalty, projection, roughness
from vaelab.theory.phase_transitions import (
    CriticalTemperatures,
    critical_temperatures,
    error_curve,
    last_merger,
    second_derivative,
)
from vaelab.theory.tiling import (
    BlurredReconstructions,
    Tiles,
    blurred_reconstructions,
    optimal_log_prior,
    tile_kl,
    tile_ratios,
    tiles,
)
from vaelab.theory.variance import JointRun, optimise_variance

__all__ = [
    "BlurredReconstructions",
    "CriticalTemperatures",
    "FixedPoint",
    "JointRun",
    "Rule",
    "Tiles",
    "blurred_reconstructions",
    "critical_temperatures",
    "error_curve",
    "global_penalty",
    "grid",
    "initial_reconstructions",
    "iterate",
    "last_merger",
    "local_penalty",
    "log_ratio",
    "objective",
    "optimal_log_prior",
    "optimise_variance",
    "projection",
    "reconstruction_error",
    "roughness",
    "second_derivative",
    "targets",
    "tile_kl",
    "tile_ratios",
    "tiles",
    "transition",
]

"""Hierarchies on scikit-learn's 8×8 digits: two gradients for bits, and symmetric learning for bits and Gaussians.

Papers: Flach, 2022, Structured model learning variational autoencoders (binary levels, an encoder that adds
natural parameters, straight-through gradients); Dong, Mnih & Tucker, 2020, DisARM; Flach et al., 2023, Symmetric equilibrium learning of VAEs.

Protocol: that of `digits.py`. Three levels of 8, 16 and 32 bits, z_0 → z_1 → z_2 → x, with an encoder
that adds natural parameters. The Gaussian model has levels of 2, 8 and 16 coordinates.
"""

from __future__ import annotations

import dataclasses

from experiments.digits import EXPERIMENTS as DIGITS
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import TopDownVAE
from vaelab.networks import (
    AdditiveEncoder,
    BernoulliUnits,
    GatedMLP,
    GaussianUnits,
    LowerPriors,
    Units,
)
from vaelab.priors import BernoulliPrior, Prior, StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.objectives import ELBO, DisARM, SymmetricLearning


def _model(units: tuple[Units, ...], prior: Prior) -> TopDownVAE:
    return TopDownVAE(
        units=units,
        encoder=AdditiveEncoder(tuple(GatedMLP((64,)) for _ in units)),
        lower_priors=LowerPriors(tuple(GatedMLP((64,)) for _ in units[1:])),
        decoder=BernoulliDecoder(GatedMLP((64,)), shape=(8, 8, 1)),
        prior=prior,
    )


_BITS = dataclasses.replace(
    DIGITS["digits_vae_elbo"],
    model=_model(tuple(map(BernoulliUnits, (8, 16, 32))), BernoulliPrior(8)),
)
_GAUSSIAN = dataclasses.replace(
    _BITS, model=_model(tuple(map(GaussianUnits, (2, 8, 16))), StandardNormal(2))
)

EXPERIMENTS: dict[str, Experiment] = {
    "digits_bits_straight_through": _BITS,
    "digits_bits_disarm": dataclasses.replace(_BITS, objective=DisARM()),
    "digits_bits_symmetric": dataclasses.replace(_BITS, objective=SymmetricLearning()),
    "digits_ladder_elbo": dataclasses.replace(_GAUSSIAN, objective=ELBO()),
    "digits_ladder_symmetric": dataclasses.replace(_GAUSSIAN, objective=SymmetricLearning()),
}

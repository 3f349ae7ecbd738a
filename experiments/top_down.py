"""Hierarchies on dynamically binarised MNIST, under the protocol of `vampprior.py`.

Papers: Tomczak & Welling, 2018, VAE with a VampPrior (two levels); Klushyn et al., 2019, Learning hierarchical
priors in VAEs (hierarchical prior, REWO); Sønderby et al., 2016, Ladder variational autoencoders (five levels,
precision-weighted posteriors).

Differences from the papers. Log-variances are bounded smoothly instead of clipped. Two levels: the networks that read two arrays start with one dense layer on both,
instead of one layer for each, except in q(z_1|x, z_0). Ladder: gated layers instead of leaky rectifiers with
batch normalisation, one posterior sample, and 100 instead of 200 epochs of warm-up.
"""

from __future__ import annotations

import dataclasses

from experiments.vampprior import FAMILIES as ONE_LEVEL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import AllLevels, TopDownVAE
from vaelab.networks import Chain, ConditionalEncoder, GatedMLP, GaussianUnits, SharedEncoder
from vaelab.priors import HierarchicalPrior, Prior, StandardNormal, VampPrior
from vaelab.runs.experiment import Experiment

_SHAPE = (28, 28, 1)
_STANDARD = ONE_LEVEL["dynamic_mnist"]["standard"]
_REWO = ONE_LEVEL["dynamic_mnist"]["vhp_rewo"]


def _two_level(prior: Prior, protocol: Experiment = _STANDARD) -> Experiment:
    """q(z_0|x) q(z_1|x, z_0), p(z_0) p(z_1|z_0) p(x|z_0, z_1), with 40 coordinates at both levels."""
    # REWO's large first λ drives variances far down.
    units = GaussianUnits(
        40, log_variance_range=(-12.0, 12.0) if protocol is _REWO else (-6.0, 2.0)
    )
    model = TopDownVAE(
        units=(units, units),
        inference=ConditionalEncoder(
            (GatedMLP((300, 300)), GatedMLP((300,))),
            above=(GatedMLP((300,)),),
            joint=(GatedMLP((300,)),),
        ),
        chain=Chain((GatedMLP((300, 300)),)),
        decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=_SHAPE),
        prior=prior,
        reads=AllLevels(),
    )
    return dataclasses.replace(protocol, model=model)


_LADDER = TopDownVAE(
    units=tuple(map(GaussianUnits, (4, 8, 16, 32, 64))),
    inference=SharedEncoder(tuple(GatedMLP((width, width)) for width in (32, 64, 128, 256, 512))),
    chain=Chain(tuple(GatedMLP((width, width)) for width in (32, 64, 128, 256))),
    decoder=BernoulliDecoder(GatedMLP((512, 512)), shape=_SHAPE),
    prior=StandardNormal(4),
)

EXPERIMENTS: dict[str, Experiment] = {
    "dynamic_mnist_two_level_standard": _two_level(StandardNormal(40)),
    "dynamic_mnist_two_level_vamp": _two_level(VampPrior(40, num_components=500, from_data=True)),
    "dynamic_mnist_two_level_vhp_rewo": _two_level(
        HierarchicalPrior(40, num_samples=8, hidden=(300, 300)), _REWO
    ),
    "dynamic_mnist_ladder": dataclasses.replace(_STANDARD, model=_LADDER),
}

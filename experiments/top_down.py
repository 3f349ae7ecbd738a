"""Hierarchies on dynamically binarised MNIST, under the protocol of `vampprior.py`.

Papers: Tomczak & Welling, 2018, VAE with a VampPrior (two levels); Klushyn et al., 2019, Learning hierarchical
priors in VAEs (hierarchical prior, REWO); Sønderby et al., 2016, Ladder variational autoencoders (five levels,
precision-weighted posteriors); Child, 2021, Very deep VAEs generalize autoregressive models, and Vahdat & Kautz,
2020, NVAE (deep).

Two levels. Differences from the paper: log-variances are bounded smoothly instead of clipped; the networks that
read two arrays start with one dense layer on both, except in q(z_1|x, z_0).

Ladder. Differences from the paper: gated layers instead of leaky rectifiers with batch normalisation; one
posterior sample; 100 instead of 200 epochs of warm-up.

Deep: a vector of 40 coordinates, 8 levels of 7×7 maps and 3 levels of 14×14 maps; 578,000 parameters. The same
data, batches of 100 and validation images as in `vampprior.py`. Differences from its protocol, all because an epoch takes
about 190 seconds on one core: β is warmed up over 20 epochs; at most 400 epochs; validation on every
second epoch; log p(x) with 500 samples on a random subset of 1000 test images. The rate is in closed form.
Plain Adam at 1e-3; steps whose gradient has a norm above 1000 are skipped; a moving average of the parameters is
validated and reported. The model is much smaller than those of the papers.
"""

from __future__ import annotations

import dataclasses

import jax

from experiments.vampprior import FAMILIES as ONE_LEVEL
from vaelab.data import MNIST
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import AllLevels, DeepHierarchy, TopDownVAE
from vaelab.networks import (
    AdditiveEncoder,
    GatedMLP,
    GaussianUnits,
    Identity,
    LowerPriors,
    TopDownEncoder,
)
from vaelab.priors import HierarchicalPrior, Prior, StandardNormal, VampPrior
from vaelab.runs.experiment import Experiment
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam

_SHAPE = (28, 28, 1)
_STEPS_PER_EPOCH = 500  # 50,000 images
_STANDARD = ONE_LEVEL["dynamic_mnist"]["standard"]
_REWO = ONE_LEVEL["dynamic_mnist"]["vhp_rewo"]


def _two_level(
    prior: Prior,
    protocol: Experiment = _STANDARD,
    log_variance_range: tuple[float, float] = (-6.0, 2.0),
) -> Experiment:
    """q(z_0|x) q(z_1|x, z_0), p(z_0) p(z_1|z_0) p(x|z_0, z_1), with 40 coordinates at both levels."""
    units = GaussianUnits(40, log_variance_range)
    model = TopDownVAE(
        units=(units, units),
        encoder=TopDownEncoder(
            (GatedMLP((300, 300)), GatedMLP((300,))),
            above=(GatedMLP((300,)),),
            joint=(GatedMLP((300,)),),
        ),
        lower_priors=LowerPriors((GatedMLP((300, 300)),)),
        decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=_SHAPE),
        prior=prior,
        reads=AllLevels(),
    )
    return dataclasses.replace(protocol, model=model)


_LADDER = TopDownVAE(
    units=tuple(map(GaussianUnits, (4, 8, 16, 32, 64))),
    encoder=AdditiveEncoder(tuple(GatedMLP((width, width)) for width in (32, 64, 128, 256, 512))),
    lower_priors=LowerPriors(tuple(GatedMLP((width, width)) for width in (32, 64, 128, 256))),
    decoder=BernoulliDecoder(GatedMLP((512, 512)), shape=_SHAPE),
    prior=StandardNormal(4),
)

EXPERIMENTS: dict[str, Experiment] = {
    "dynamic_mnist_two_level_standard": _two_level(StandardNormal(40)),
    "dynamic_mnist_two_level_vamp": _two_level(VampPrior(40, num_components=500, from_data=True)),
    # REWO's large first λ drives variances far down.
    "dynamic_mnist_two_level_vhp_rewo": _two_level(
        HierarchicalPrior(40, num_samples=8, hidden=(300, 300)), _REWO, (-12.0, 12.0)
    ),
    "dynamic_mnist_ladder": dataclasses.replace(_STANDARD, model=_LADDER),
    "dynamic_mnist_deep": Experiment(
        data=MNIST(),
        model=DeepHierarchy(
            decoder=BernoulliDecoder(Identity(), shape=_SHAPE),
            prior=StandardNormal(latent_dim=40),
            downsample=(4, 2),
            num_levels=(8, 3),
            hidden=(64, 32),
            inner=(32, 16),
            encoder_blocks=1,
            activation=jax.nn.relu,
        ),
        objective=ELBO(warmup_steps=20 * _STEPS_PER_EPOCH),
        optimiser=Adam(1e-3),
        skip_norm=1000.0,
        ema_decay=0.999,
        num_steps=400 * _STEPS_PER_EPOCH,
        log_every=_STEPS_PER_EPOCH,
        evaluate_every=2 * _STEPS_PER_EPOCH,
        patience=25,
        num_samples=500,
        num_test=1000,
    ),
}

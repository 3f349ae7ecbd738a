"""Variational ladder autoencoders: codes of different depth on MNIST, SVHN and CelebA.

Paper: Zhao et al., 2017, Learning hierarchical features from deep generative models, and the code of its
authors (github.com/ermongroup/Variational-Ladder-Autoencoder).

Protocol, as in that code: codes of 2/2/2 (MNIST), 5/5/5/10 (SVHN) and 10/10/10/10 (CelebA) coordinates, from
the bottom to the top; gates that start at 0.1; batches of 100; Adam at 2e-4; a warm-up of the rate over some
thousand steps; a Laplace likelihood with a fixed scale for colour images, 1/8 (SVHN) and 1 (CelebA).

Differences from it: a Bernoulli likelihood of binary pixels on MNIST, and dense layers instead of
convolutions; residual blocks instead of batch normalisation; q(z_l|x) is linear in the encoder's features
instead of a network of its own; β rises linearly; the gate in feature maps is one number per channel; gates
also in the models of colour images, where the code has `networks.Concatenation`; 68,257 images of SVHN
and 20,000 of CelebA.

`mnist_vlae` differs from the protocol: only the rate of the top level is warmed up, over 10,000 steps; the weights
of the rates are 0.4, 1 and 3 from the top to the bottom; Adam at 1e-3; 12,000 steps. So the top level learns what it
can before it costs. These settings were chosen by probes of validation images. `mnist_stacked` has the same
optimiser and steps, and the plain ELBO with a warm-up of 3,000 steps. `mnist_vlae_authors` has the protocol.

The models of SVHN and CelebA have run on mocked data only. No number of theirs was measured.
"""

from __future__ import annotations

import dataclasses

from vaelab.data import MNIST, SVHN, CelebA, DataSet
from vaelab.likelihoods import BernoulliDecoder, Decoder, LaplaceDecoder
from vaelab.models import VLAE, Model, TopDownVAE
from vaelab.networks import (
    MLP,
    DeconvNet,
    Downsample,
    GaussianUnits,
    Identity,
    IndependentEncoder,
    LadderEncoder,
    LadderGenerator,
    LowerPriors,
    Upsample,
)
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam


def _protocol(data: DataSet, model: Model) -> Experiment:
    """The authors' protocol with one model."""
    return Experiment(
        data=data,
        model=model,
        objective=ELBO(warmup_steps=5_000),
        optimiser=Adam(2e-4),
        batch_size=100,
        num_steps=50_000,
        num_samples=500,
        num_test=500,
    )


def _ladder(
    data: DataSet, encoder: LadderEncoder, generator: LadderGenerator, decoder: Decoder
) -> Experiment:
    prior = StandardNormal(encoder.dims[0])
    return _protocol(data, VLAE(encoder, generator, decoder, prior))


_MNIST = _ladder(
    MNIST(),
    LadderEncoder((MLP((512, 512)), MLP((512, 512)), MLP((512,), event_ndims=3)), dims=(2, 2, 2)),
    LadderGenerator((MLP((512, 512)), MLP((512, 512)), MLP((512,)))),
    BernoulliDecoder(MLP(()), shape=(28, 28, 1)),
)

# The same latent dimensions and widths as `mnist_vlae`, z_0 → z_1 → z_2 → x, with q(z|x) = Π q(z_l|x).
_STACKED = TopDownVAE(
    units=(GaussianUnits(2),) * 3,
    encoder=IndependentEncoder((MLP((512, 512)), MLP((512, 512)), MLP((512,)))),
    lower_priors=LowerPriors((MLP((512, 512)), MLP((512, 512)))),
    decoder=BernoulliDecoder(MLP((512,)), shape=(28, 28, 1)),
    prior=StandardNormal(2),
)


def _short(experiment: Experiment, objective: ELBO) -> Experiment:
    return dataclasses.replace(
        experiment, objective=objective, optimiser=Adam(1e-3), num_steps=12_000
    )


EXPERIMENTS: dict[str, Experiment] = {
    "mnist_vlae": _short(_MNIST, ELBO(warmup_steps=(10_000, 0, 0), beta=(0.4, 1.0, 3.0))),
    "mnist_vlae_authors": _MNIST,
    "mnist_stacked": _short(_protocol(MNIST(), _STACKED), ELBO(warmup_steps=3_000)),
    # 32 pixels a side: 16, 8 and 4 in the maps, and vectors on top.
    "svhn_vlae": _ladder(
        SVHN(),
        LadderEncoder(
            (MLP((512, 512), event_ndims=3), Downsample(128), Downsample(64), Downsample(32)),
            dims=(10, 5, 5, 5),
        ),
        LadderGenerator(
            (
                MLP((512, 512)),
                DeconvNet((8, 8), (128,), num_features=64),
                Upsample(32),
                Upsample(16),
            )
        ),
        LaplaceDecoder(Identity(), shape=(32, 32, 3), scale=0.125, learned=False),
    ),
    # 64 pixels a side: 32, 16 and 8 in the maps, and vectors on top.
    "celeba_vlae": _ladder(
        CelebA(num_train=20_000),
        LadderEncoder(
            (MLP((512, 512), event_ndims=3), Downsample(128), Downsample(64), Downsample(32)),
            dims=(10, 10, 10, 10),
        ),
        LadderGenerator(
            (
                MLP((512, 512)),
                DeconvNet((16, 16), (128, 64), num_features=64),
                Upsample(32),
                Upsample(16),
            )
        ),
        LaplaceDecoder(Identity(), shape=(64, 64, 3), scale=1.0, learned=False),
    ),
}

"""The protocol under which priors are compared on MNIST: that of the VampPrior line's code.

Gated layers 784-300-300-40 and back, log σ² of the posterior clipped to [−6, 2], batches of 100,
Adam 5e-4 on gradients of unit norm per tensor, β warmed up over 100 epochs, at most 2000 epochs,
patience of 50 after the warm-up, one-sample KL; log p(x) with 5000 samples on the whole test set.
Tomczak & Welling, 2018; Norouzi et al., 2020.

Where it differs: weights start as Flax's, not He-normal; β rises with every step, not every epoch;
the two branches of a gated layer are one tensor, and so are mean and log-variance; pseudo-inputs
start at training images. The hierarchical prior has REWO in the place of the warm-up.
"""

from __future__ import annotations

from vaelab.data import DataSet
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import ConditionalGaussian, GatedMLP
from vaelab.priors import Prior
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import Dual
from vaelab.training.objectives import ELBO, Objective
from vaelab.training.optimisers import NormalisedAdam

_STEPS_PER_EPOCH = 500  # 50,000 images


def protocol(
    data: DataSet, prior: Prior, objective: Objective | None = None, dual: Dual | None = None
) -> Experiment:
    """The protocol with this prior; without an objective of its own, the ELBO with warm-up."""
    return Experiment(
        data=data,
        model=VAE(
            encoder=ConditionalGaussian(
                GatedMLP((300, 300), event_ndims=3),
                dim=prior.latent_dim,
                log_variance_range=(-6.0, 2.0),
            ),
            decoder=BernoulliDecoder(GatedMLP((300, 300)), shape=(28, 28, 1)),
            prior=prior,
        ),
        objective=objective or ELBO(warmup_steps=100 * _STEPS_PER_EPOCH, closed_form=False),
        optimiser=NormalisedAdam(5e-4),
        dual=dual,
        num_steps=2000 * _STEPS_PER_EPOCH,
        log_every=_STEPS_PER_EPOCH,
        evaluate_every=_STEPS_PER_EPOCH,
        patience=50,
    )

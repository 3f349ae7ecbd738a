"""Hierarchies on dynamically binarised MNIST, under the protocol of `vampprior.py`.

Papers: Child, 2021, Very deep VAEs generalize autoregressive models; Vahdat & Kautz, 2020, NVAE (deep).

Deep: a vector of 40 coordinates, 8 levels of 7×7 maps and 3 levels of 14×14 maps; 578,000 parameters. The same
data, batches of 100 and validation images as in `vampprior.py`. Differences from its protocol, all because an epoch takes
about 220 CPU seconds, which is about 2 minutes on two idle cores: β is warmed up over 20 epochs; at most 400 epochs; validation on every
second epoch; log p(x) with 500 samples on a random subset of 1000 test images. The rate is in closed form.
Plain Adam at 1e-3; steps whose gradient has a norm above 1000 are skipped; a moving average of the parameters is
validated and reported. The model is much smaller than those of the papers.
"""

from __future__ import annotations

import jax

from vaelab.data import MNIST
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import DeepHierarchy
from vaelab.networks import Identity
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam

_STEPS_PER_EPOCH = 500  # 50,000 images

EXPERIMENTS: dict[str, Experiment] = {
    "dynamic_mnist_deep": Experiment(
        data=MNIST(),
        model=DeepHierarchy(
            decoder=BernoulliDecoder(Identity(), shape=(28, 28, 1)),
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

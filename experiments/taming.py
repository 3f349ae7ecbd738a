"""The models of Taming VAEs (Rezende & Viola, 2018), and what they are trained for.

Published: Adam at 1e-5 (ConvDRAW) and 1e-6 (VAE+NVP), moving average 0.99, until convergence. Here the
learning rate is 1e-3 and runs are shortened, so no figure compares with the published ones.
"""

from __future__ import annotations

import dataclasses
import math

from vaelab.constraints import Constraint
from vaelab.data import DataSet
from vaelab.likelihoods import Decoder, GaussianDecoder
from vaelab.models import VAE, ConvDRAW
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian, DeconvNet, Identity
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import PiGeco
from vaelab.training.objectives import ELBO, AnnealedVariance, Lagrangian
from vaelab.training.optimisers import Adam

# Of every run: shorter likelihoods than elsewhere, as each sample draws a whole image in T steps.
_SETTINGS = dict(
    optimiser=Adam(1e-3), batch_size=32, num_steps=20_000, evaluate_every=500, posterior_samples=1,
    num_samples=50, num_test=300,
)  # fmt: skip


# Without the proportional part λ ran to 100 times its final value while a small model was still
# learning to reconstruct, to no use, and the error was 9 % below κ when training ended. A smaller step
# size lags behind a model that is still learning: on grey MNIST the error was 0.8 % below κ after 3,200
# steps with 0.01, 0.2 % with 0.03, and at κ with 0.1, but there λ had been 7 times its last value.
DUAL = PiGeco(step_size=0.03, proportional=4.0)


def mlp(data: DataSet, shape: tuple[int, int, int]) -> Experiment:
    """A small VAE of dense layers, quick enough for many members."""
    model = VAE(
        encoder=ConditionalGaussian(MLP((256,), event_ndims=3), 32),
        decoder=GaussianDecoder(MLP((256,)), shape, learned=True),
        prior=StandardNormal(32),
    )
    return Experiment(data=data, model=model, objective=ELBO(), **_SETTINGS | {"batch_size": 100})  # type: ignore[arg-type]


def nvp(data: DataSet, shape: tuple[int, int, int], *, latent_dim: int = 16) -> Experiment:
    """VAE+NVP: a conditional RealNVP on a fully connected conditioner, and a convolutional decoder."""
    model = VAE(
        encoder=ConditionalFlow(MLP((256, 256), event_ndims=3), latent_dim),
        decoder=GaussianDecoder(
            DeconvNet(shape[:2], (32, 16), num_features=8), shape, learned=True
        ),
        prior=StandardNormal(latent_dim),
    )
    return Experiment(data=data, model=model, objective=ELBO(), **_SETTINGS)  # type: ignore[arg-type]


def convdraw(
    data: DataSet, shape: tuple[int, int, int], *, context_channels: int | None = None
) -> Experiment:
    """ConvDRAW with four steps, conditional where the data have a context."""
    model = ConvDRAW(
        decoder=GaussianDecoder(Identity(), shape, learned=True),
        num_steps=4,
        hidden=16,
        context_channels=context_channels,
    )
    return Experiment(data=data, model=model, objective=ELBO(), **_SETTINGS)  # type: ignore[arg-type]


def annealed(experiment: Experiment) -> Experiment:
    """The likelihood's σ annealed by hand from 2.0 to 0.7, as in GQN, over three quarters of the run."""
    steps = math.ceil(0.75 * experiment.num_steps)
    objective = AnnealedVariance(anneal_steps=steps)
    changed = _with_scale(experiment, objective.final_scale)
    return dataclasses.replace(changed, objective=objective)


def beta(experiment: Experiment, weight: float) -> Experiment:
    """The β-VAE: a Gaussian of σ = 0.1 and a weight on the rate."""
    return dataclasses.replace(_with_scale(experiment, 0.1), objective=ELBO(beta=weight))


def geco(
    experiment: Experiment,
    *,
    initial_multiplier: float | dict[str, float] = 1.0,
    **constraints: Constraint,
) -> Experiment:
    """The rate under constraints; the decoder's σ then counts for nothing but the reported ELBO.

    ConvDRAW on colour images wants λ to start at 10, the weight of a squared error at σ = 0.22. From 1
    its posterior is empty at first: all channels of its head learn the one mean image, red and green become
    the same, and as no gradient tells them apart they stay so, whatever λ becomes. CLA and pNCC need λ of
    100 or more at the start (`constraints.LowerBound`).
    """
    dual = dataclasses.replace(DUAL, initial_multiplier=initial_multiplier)
    return dataclasses.replace(
        _with_scale(experiment, 0.1), objective=Lagrangian(constraints), dual=dual
    )


def _with_scale(experiment: Experiment, scale: float) -> Experiment:
    """The experiment with a Gaussian likelihood of a fixed scale."""
    decoder: Decoder = experiment.model.decoder
    fixed = GaussianDecoder(decoder.trunk, decoder.shape, scale=scale)
    return dataclasses.replace(experiment, model=experiment.model.clone(decoder=fixed))

"""The models of Taming VAEs (Rezende & Viola, 2018, section 4), one family of objectives per model and data set.

Objectives: ELBO with a learned σ (`elbo`); ELBO with σ annealed by hand, as in GQN (`annealed`); the β-VAE
(`beta`); the rate under constraints, by GECO (`re`: reconstruction error, `fre`: error of features, `cla`:
classification, `pncc`: correlation of patches). A family of objectives shares everything else.

Differences from the paper: the learning rate is 1e-3 instead of 1e-5 (ConvDRAW) or 1e-6 (VAE+NVP), models
are smaller, and training is short instead of until convergence. No number compares with a published number.
Dense VAEs (`mlp`) are added, because sweeps over many members are cheap with them.

Data: `grey_digits` needs no data file. CIFAR-10 as JPEG has lossy images, so its numbers do not compare with
those of CIFAR-10. Its classifier comes from `python -m experiments.frozen_networks cifar10_jpeg`. κ of
CIFAR-10 and CelebA is a guess: run `python -m vaelab calibrate NAME` first.
"""

from __future__ import annotations

import dataclasses
import math

from vaelab import data
from vaelab.constraints import CLA, FRE, RE, Constraint, LocalStatistics, pNCC
from vaelab.likelihoods import Decoder, GaussianDecoder
from vaelab.models import VAE, ConvDRAW
from vaelab.networks import MLP, ConditionalFlow, ConditionalGaussian, DeconvNet, Identity
from vaelab.networks.frozen import FrozenClassifier, MNISTClassifier, MNISTFeatures
from vaelab.priors import StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import PiGeco
from vaelab.training.objectives import ELBO, AnnealedVariance, Lagrangian
from vaelab.training.optimisers import Adam

# If λ grows before the model can reconstruct, it must decay again later. The proportional term prevents this
# overshoot. A smaller step size lags behind a model that is still learning, a larger one overshoots.
DUAL = PiGeco(step_size=0.03, proportional=4.0)


def geco(
    experiment: Experiment,
    *,
    initial_multiplier: float | dict[str, float] = 1.0,
    **constraints: Constraint,
) -> Experiment:
    """The rate under constraints, by GECO. The decoder's fixed σ counts for the reported ELBO only."""
    dual = dataclasses.replace(DUAL, initial_multiplier=initial_multiplier)
    return dataclasses.replace(
        _with_scale(experiment, 0.1), objective=Lagrangian(constraints), dual=dual
    )


def _annealed(experiment: Experiment) -> Experiment:
    """The likelihood's σ falls from 2.0 to 0.7 over three quarters of the run, as in GQN."""
    objective = AnnealedVariance(anneal_steps=math.ceil(0.75 * experiment.num_steps))
    return dataclasses.replace(_with_scale(experiment, objective.final_scale), objective=objective)


def _beta(experiment: Experiment, weight: float) -> Experiment:
    """The β-VAE: a Gaussian likelihood with σ = 0.1, and a weight on the rate."""
    return dataclasses.replace(_with_scale(experiment, 0.1), objective=ELBO(beta=weight))


def _with_scale(experiment: Experiment, scale: float) -> Experiment:
    """The experiment with a Gaussian likelihood of fixed scale."""
    decoder: Decoder = experiment.model.decoder
    fixed = GaussianDecoder(decoder.trunk, decoder.shape, scale=scale)
    return dataclasses.replace(experiment, model=experiment.model.clone(decoder=fixed))


def _elbo(source: data.DataSet, model: VAE | ConvDRAW, batch_size: int = 32) -> Experiment:
    """The ELBO, from which the other objectives of a family are made.

    The report takes few samples and images: ConvDRAW draws a whole image in each of its steps.
    """
    return Experiment(
        data=source, model=model, objective=ELBO(), optimiser=Adam(1e-3), batch_size=batch_size,
        num_steps=20_000, evaluate_every=500, posterior_samples=1, num_samples=50, num_test=300,
    )  # fmt: skip


def _mlp(source: data.DataSet, shape: tuple[int, int, int]) -> Experiment:
    """A small VAE of dense layers."""
    model = VAE(
        encoder=ConditionalGaussian(MLP((256,), event_ndims=3), 32),
        decoder=GaussianDecoder(MLP((256,)), shape, learned=True),
        prior=StandardNormal(32),
    )
    return _elbo(source, model, batch_size=100)


def _nvp(source: data.DataSet, shape: tuple[int, int, int], latent_dim: int) -> Experiment:
    """VAE+NVP: a conditional RealNVP on a dense conditioner, and a convolutional decoder."""
    trunk = DeconvNet(shape[:2], (32, 16), num_features=8)
    model = VAE(
        encoder=ConditionalFlow(MLP((256, 256), event_ndims=3), latent_dim),
        decoder=GaussianDecoder(trunk, shape, learned=True),
        prior=StandardNormal(latent_dim),
    )
    return _elbo(source, model)


def _convdraw(
    source: data.DataSet, shape: tuple[int, int, int], context_channels: int | None = None
) -> Experiment:
    """ConvDRAW with four steps. It is conditional if the data have a context."""
    decoder = GaussianDecoder(Identity(), shape, learned=True)
    model = ConvDRAW(decoder, num_steps=4, hidden=16, context_channels=context_channels)
    return _elbo(source, model)


def _with_error_bound(elbo: Experiment) -> dict[str, Experiment]:
    return {"elbo": elbo, "re": geco(elbo, re=RE(0.1))}


def _convdraw_in_colour(elbo: Experiment, fre: FRE) -> dict[str, Experiment]:
    """ConvDRAW's family on colour images.

    λ starts at 10, the weight of a squared error at σ = 0.22. From 1 the posterior is empty at first and
    all channels of the head learn the same mean image; no gradient separates them later. pNCC requires a
    larger λ at the start, as every lower bound does (`constraints.LowerBound`).
    """
    return {
        "elbo": elbo,
        "annealed": _annealed(elbo),
        "re": geco(elbo, initial_multiplier=10.0, re=RE(0.1)),
        "fre": geco(elbo, initial_multiplier=10.0, fre=fre),
        "pncc": geco(elbo, initial_multiplier=1000.0, pncc=pNCC(0.8)),
    }


_GREY_DIGITS = data.Digits(binarisation="none")
_GREY_DIGITS_MLP = _mlp(_GREY_DIGITS, (8, 8, 1))
_GREY_MNIST_MLP = _mlp(data.MNIST(binarisation="none"), (28, 28, 1))
_COLOR_MNIST_MLP = _mlp(data.ColorMNIST(), (28, 28, 3))
_CIFAR10_JPEG_MLP = _mlp(data.CIFAR10JPEG(), (32, 32, 3))
_CIFAR10_JPEG_CLASSIFIER = FrozenClassifier(
    "runs/frozen_networks/cifar10_jpeg.npz", temperature=2.0
)

FAMILIES: dict[str, dict[str, Experiment]] = {
    "grey_digits_mlp": {
        "elbo": _GREY_DIGITS_MLP,
        "beta": _beta(_GREY_DIGITS_MLP, 3.0),
        "re": geco(_GREY_DIGITS_MLP, re=RE(0.1)),
    },
    "grey_digits_convdraw": {"re": geco(_convdraw(_GREY_DIGITS, (8, 8, 1)), re=RE(0.1))},
    "grey_mnist_mlp": {
        "elbo": _GREY_MNIST_MLP,
        "annealed": _annealed(_GREY_MNIST_MLP),
        "beta": _beta(_GREY_MNIST_MLP, 30.0),
        "re": geco(_GREY_MNIST_MLP, re=RE(0.15)),
        "fre": geco(_GREY_MNIST_MLP, fre=FRE(0.5, MNISTFeatures())),
        # λ of CLA and pNCC starts at 100: from 1 the posterior collapses, and λ runs away.
        "cla": geco(
            _GREY_MNIST_MLP,
            initial_multiplier=100.0,
            cla=CLA(0.8, MNISTClassifier(temperature=2.0)),
        ),
        "pncc": geco(_GREY_MNIST_MLP, initial_multiplier=100.0, pncc=pNCC(0.8)),
        "re_cla": geco(
            _GREY_MNIST_MLP,
            initial_multiplier={"re": 1.0, "cla": 100.0},
            re=RE(0.15),
            cla=CLA(0.95, MNISTClassifier()),
        ),
    },
    "color_mnist_mlp": {
        "elbo": _COLOR_MNIST_MLP,
        "beta": _beta(_COLOR_MNIST_MLP, 30.0),
        "re": geco(_COLOR_MNIST_MLP, re=RE(0.2)),
        "fre": geco(_COLOR_MNIST_MLP, fre=FRE(0.7, MNISTFeatures(channels=3))),
        # An image has three digits. κ is a share of the right ones among them.
        "cla": geco(
            _COLOR_MNIST_MLP,
            initial_multiplier=100.0,
            cla=CLA(0.5, MNISTClassifier(channels=3, share=True, temperature=2.0)),
        ),
        "pncc": geco(_COLOR_MNIST_MLP, initial_multiplier=100.0, pncc=pNCC(0.7)),
    },
    "color_mnist_nvp": _with_error_bound(_nvp(data.ColorMNIST(), (28, 28, 3), latent_dim=16)),
    "color_mnist_convdraw": _convdraw_in_colour(
        _convdraw(data.ColorMNIST(), (28, 28, 3)), FRE(0.5, MNISTFeatures(channels=3))
    ),
    "cifar10_jpeg_mlp": {
        "elbo": _CIFAR10_JPEG_MLP,
        "beta": _beta(_CIFAR10_JPEG_MLP, 30.0),
        "re": geco(_CIFAR10_JPEG_MLP, re=RE(0.15)),
        "fre": geco(_CIFAR10_JPEG_MLP, fre=FRE(0.1, LocalStatistics())),
        # κ is small because the classifier itself is unsure of these images.
        "cla": geco(
            _CIFAR10_JPEG_MLP, initial_multiplier=100.0, cla=CLA(0.15, _CIFAR10_JPEG_CLASSIFIER)
        ),
        # λ starts at 1000: from 100 the posterior collapses, and λ runs away.
        "pncc": geco(_CIFAR10_JPEG_MLP, initial_multiplier=1000.0, pncc=pNCC(0.5)),
    },
    "cifar10_nvp": _with_error_bound(_nvp(data.CIFAR10(), (32, 32, 3), latent_dim=64)),
    "cifar10_convdraw": _convdraw_in_colour(
        _convdraw(data.CIFAR10(), (32, 32, 3)), FRE(0.06, LocalStatistics())
    ),
    "celeba_convdraw": _convdraw_in_colour(
        _convdraw(data.CelebA(num_train=20_000), (64, 64, 3)), FRE(0.06, LocalStatistics())
    ),
    "mnist_rotate_convdraw": _with_error_bound(_convdraw(data.MNISTRotate(), (28, 28, 1), 2)),
    "mnist_sum_convdraw": _with_error_bound(_convdraw(data.MNISTSum(), (28, 28, 1), 2)),
    "mnist_sum_hard_convdraw": _with_error_bound(_convdraw(data.MNISTSumHard(), (28, 28, 2), 1)),
    "mnist_triplets_convdraw": _with_error_bound(_convdraw(data.MNISTTriplets(), (28, 28, 3))),
    # Small enough for sweeps on CPUs.
    "mnist16_convdraw": _with_error_bound(_convdraw(data.Resized(data.MNIST(), 16), (16, 16, 1))),
}

EXPERIMENTS: dict[str, Experiment] = {
    f"{family}_{key}": row for family, rows in FAMILIES.items() for key, row in rows.items()
}

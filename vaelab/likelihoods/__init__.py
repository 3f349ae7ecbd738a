"""Likelihoods p(x|z). Each file holds one distribution and the decoder that gives its parameters."""

from vaelab.likelihoods.base import Decoder, Likelihood, Pixels
from vaelab.likelihoods.bernoulli import Bernoulli, BernoulliDecoder
from vaelab.likelihoods.categorical import CategoricalDecoder, GreyLevels
from vaelab.likelihoods.discretised_logistic import DiscretisedLogistic, DiscretisedLogisticDecoder
from vaelab.likelihoods.gaussian import GaussianDecoder
from vaelab.likelihoods.laplace import Laplace, LaplaceDecoder
from vaelab.likelihoods.poisson import Poisson, PoissonDecoder
from vaelab.likelihoods.quantised import Quantised, QuantisedDecoder
from vaelab.likelihoods.quantised_normal import QuantisedNormal, QuantisedNormalDecoder
from vaelab.likelihoods.scaled import ScaledDecoder

__all__ = [
    "Bernoulli",
    "BernoulliDecoder",
    "CategoricalDecoder",
    "Decoder",
    "DiscretisedLogistic",
    "DiscretisedLogisticDecoder",
    "GaussianDecoder",
    "GreyLevels",
    "Laplace",
    "LaplaceDecoder",
    "Likelihood",
    "Pixels",
    "Poisson",
    "PoissonDecoder",
    "Quantised",
    "QuantisedDecoder",
    "QuantisedNormal",
    "QuantisedNormalDecoder",
    "ScaledDecoder",
]

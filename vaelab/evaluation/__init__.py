"""Estimates on a data set: each with its estimator, number of samples and standard error."""

from vaelab.evaluation.aggregated import Aggregated, aggregated_posterior
from vaelab.evaluation.annealing import AnnealedLogLikelihood, annealed_importance_sampling
from vaelab.evaluation.averages import Estimate, distortion, elbo, expectations, rate
from vaelab.evaluation.constraint_outcome import Feasibility, feasibility
from vaelab.evaluation.information import active_units
from vaelab.evaluation.kkt import KKT, ConstraintResidual, kkt_residuals
from vaelab.evaluation.likelihood import LogLikelihood, log_likelihood
from vaelab.evaluation.marginal import marginal_kl
from vaelab.evaluation.prior_holes import Holes, holes
from vaelab.evaluation.reconstruction import (
    OptimalScale,
    QuantisedNLL,
    optimal_scale,
    quantised_nll,
    squared_error,
)
from vaelab.evaluation.subject import Subject
from vaelab.evaluation.surgery import Surgery, elbo_surgery, subsampled_marginal_kl

__all__ = [
    "KKT",
    "Aggregated",
    "AnnealedLogLikelihood",
    "ConstraintResidual",
    "Estimate",
    "Feasibility",
    "Holes",
    "LogLikelihood",
    "OptimalScale",
    "QuantisedNLL",
    "Subject",
    "Surgery",
    "active_units",
    "aggregated_posterior",
    "annealed_importance_sampling",
    "distortion",
    "elbo",
    "elbo_surgery",
    "expectations",
    "feasibility",
    "holes",
    "kkt_residuals",
    "log_likelihood",
    "marginal_kl",
    "optimal_scale",
    "quantised_nll",
    "rate",
    "squared_error",
    "subsampled_marginal_kl",
]

"""Numbers with what makes them true: estimator, sample count, standard error."""

from vaelab.evaluation.annealing import AnnealedLogLikelihood, annealed_importance_sampling
from vaelab.evaluation.averages import Estimate, distortion, elbo, expectations, rate
from vaelab.evaluation.information import active_units
from vaelab.evaluation.likelihood import LogLikelihood, log_likelihood
from vaelab.evaluation.marginal import (
    Holes,
    Surgery,
    aggregated_posterior,
    elbo_surgery,
    holes,
    subsampled_marginal_kl,
)

__all__ = [
    "AnnealedLogLikelihood",
    "Estimate",
    "Holes",
    "LogLikelihood",
    "Surgery",
    "active_units",
    "aggregated_posterior",
    "annealed_importance_sampling",
    "distortion",
    "elbo",
    "elbo_surgery",
    "expectations",
    "holes",
    "log_likelihood",
    "rate",
    "subsampled_marginal_kl",
]

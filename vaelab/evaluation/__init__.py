"""Numbers with what makes them true: estimator, sample count, standard error."""

from vaelab.evaluation.averages import Estimate, distortion, elbo, expectations, rate
from vaelab.evaluation.information import active_units
from vaelab.evaluation.likelihood import LogLikelihood, log_likelihood

__all__ = [
    "Estimate",
    "LogLikelihood",
    "active_units",
    "distortion",
    "elbo",
    "expectations",
    "log_likelihood",
    "rate",
]

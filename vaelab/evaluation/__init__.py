"""Numbers with what makes them true: estimator, sample count, standard error."""

from vaelab.evaluation.expectations import Estimate, expectations
from vaelab.evaluation.information import active_units
from vaelab.evaluation.likelihood import LogLikelihood, log_likelihood

__all__ = ["Estimate", "LogLikelihood", "active_units", "expectations", "log_likelihood"]

"""Estimates on a data set: each with its estimator, number of samples and standard error."""

from vaelab.evaluation.aggregated import Aggregated, aggregated_posterior
from vaelab.evaluation.annealing import AnnealedLogLikelihood, annealed_importance_sampling
from vaelab.evaluation.averages import (
    Estimate,
    LevelRate,
    difference_estimate,
    distortion,
    elbo,
    expectations,
    expectations_by_example,
    mean_and_error,
    rate,
)
from vaelab.evaluation.chain_labels import ChainLabels, classify, labels_of_chain
from vaelab.evaluation.codes import LevelCodes, level_codes, level_samples
from vaelab.evaluation.constraint_outcome import Feasibility, feasibility
from vaelab.evaluation.enumeration import ExactLogLikelihood, exact_log_likelihood
from vaelab.evaluation.gibbs import GibbsChain, gibbs_chain
from vaelab.evaluation.information import active_units
from vaelab.evaluation.kkt import KKT, ConstraintResidual, kkt_residuals
from vaelab.evaluation.levels import level_rates
from vaelab.evaluation.likelihood import LogLikelihood, log_likelihood
from vaelab.evaluation.marginal import marginal_kl
from vaelab.evaluation.prior_holes import Holes, holes
from vaelab.evaluation.probes import Probe, ProbeAccuracy, fit_probe, probe_accuracies
from vaelab.evaluation.proposals import Amortised, Proposal
from vaelab.evaluation.reconstruction import (
    OptimalScale,
    QuantisedNLL,
    optimal_scale,
    quantised_nll,
    squared_error,
)
from vaelab.evaluation.refined import Refined
from vaelab.evaluation.resampling import ResamplingEffect, resampling_effect
from vaelab.evaluation.subject import Subject
from vaelab.evaluation.surgery import Surgery, elbo_surgery, subsampled_marginal_kl
from vaelab.evaluation.traversals import Traversal, traverse_level

__all__ = [
    "KKT",
    "Aggregated",
    "Amortised",
    "AnnealedLogLikelihood",
    "ChainLabels",
    "ConstraintResidual",
    "Estimate",
    "ExactLogLikelihood",
    "Feasibility",
    "GibbsChain",
    "Holes",
    "LevelCodes",
    "LevelRate",
    "LogLikelihood",
    "OptimalScale",
    "Probe",
    "ProbeAccuracy",
    "Proposal",
    "QuantisedNLL",
    "Refined",
    "ResamplingEffect",
    "Subject",
    "Surgery",
    "Traversal",
    "active_units",
    "aggregated_posterior",
    "annealed_importance_sampling",
    "classify",
    "difference_estimate",
    "distortion",
    "elbo",
    "elbo_surgery",
    "exact_log_likelihood",
    "expectations",
    "expectations_by_example",
    "feasibility",
    "fit_probe",
    "gibbs_chain",
    "holes",
    "kkt_residuals",
    "labels_of_chain",
    "level_codes",
    "level_rates",
    "level_samples",
    "log_likelihood",
    "marginal_kl",
    "mean_and_error",
    "optimal_scale",
    "probe_accuracies",
    "quantised_nll",
    "rate",
    "resampling_effect",
    "squared_error",
    "subsampled_marginal_kl",
    "traverse_level",
]

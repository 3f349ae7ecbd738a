"""What is said of a run: the figures of report.json and evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import display
from experiments.constraints_report import constraints_report
from experiments.experiment import Experiment
from experiments.run import Run
from vaelab import data, evaluation
from vaelab.data import binarise
from vaelab.evaluation import Estimate, distortion, elbo, rate
from vaelab.evaluation.averages import mean_and_error
from vaelab.priors import Prior
from vaelab.training.state import TrainState
from vaelab.types import PyTree

_SUBSAMPLES = (1000, 10_000)  # inputs on which the marginal KL's bias is shown


def likelihood_report(
    run: Run, state: TrainState, num_samples: int, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The figures of report.json, on the test set, from the run so far and its logged rows."""
    experiment, test = run.experiment, run.splits.test
    prior = getattr(run.experiment.model, "prior", None)
    chosen = run.chosen(state)
    variables = chosen.variables
    constraints = experiment.objective.constraints
    estimates = evaluation.expectations(
        run.precise_model,
        variables.params,
        test,
        run.key("bounds"),
        {"elbo": elbo, "rate": rate, "distortion": distortion} | dict(constraints),
        num_samples=experiment.posterior_samples,
        progress=display.track("ELBO"),
    )
    likelihood = evaluation.log_likelihood(
        experiment.model,
        variables.params,
        run.test_examples(experiment.num_test),
        run.key("likelihood"),
        num_samples=num_samples,
        progress=display.track("log p(x)"),
    )
    multipliers = {name: float(value) for name, value in variables.multipliers.items()}
    return {
        "step": int(chosen.step),
        "epochs_trained": int(state.step) * experiment.batch_size / len(run.splits.train.x),
        "num_test": len(test.x),
        "posterior_samples": experiment.posterior_samples,
        "log_likelihood": {
            "mean": likelihood.mean,
            "standard_error": likelihood.standard_error,
            "num_samples": likelihood.num_samples,
            "effective_sample_size": likelihood.effective_sample_size,
            "num_test": len(likelihood.log_prob),
            "prior_samples": None if prior is None else prior.num_samples,
        },
        **{name: estimates[name]._asdict() for name in ("elbo", "rate", "distortion")},
        "active_units": evaluation.active_units(
            experiment.model, variables.params, test, run.key("units")
        ),
        "latent_dims": list(experiment.model.latent_dims),
        "prior_summary": _prior_summary(prior, variables.params),
        **constraints_report(run, chosen, estimates, rows),
        "multipliers": multipliers,
        "bound": _bound_sentence(experiment, multipliers, int(chosen.step)),
    }


def marginal_report(run: Run, state: TrainState, num_points: int) -> dict[str, Any]:
    """The prior against the aggregated posterior of the training set: for evaluation.json."""
    experiment, model = run.experiment, run.precise_model
    prior = getattr(model, "prior", None)
    x = run.fixed_training_set().x
    settings = (model, run.chosen(state).variables.params, x)
    surgery = evaluation.elbo_surgery(
        *settings,
        run.key("surgery"),
        num_points=num_points,
        progress=display.track("rate in parts"),
    )
    subsampled = evaluation.subsampled_marginal_kl(
        *settings,
        run.key("marginal"),
        sizes=[*(n for n in _SUBSAMPLES if n < len(x)), len(x)],
        num_points=num_points,
        progress=display.track("marginal KL"),
    )
    holes = evaluation.holes(
        *settings, run.key("holes"), num_samples=num_points, progress=display.track("holes")
    )
    return {
        "prior_samples": None if model.exact else experiment.prior_samples,
        "factorises": prior is not None and prior.factorises,
        "surgery": _plain(surgery),
        "subsampled_marginal_kl": {str(n): value._asdict() for n, value in subsampled.items()},
        "holes": _plain(holes),
        "inputs": _marginal_sentence(experiment, len(x)),
    }


def marginal_kl_report(run: Run, state: TrainState, num_points: int) -> dict[str, Any]:
    """KL(q(z) ‖ p) alone, of posteriors that are no Gaussians: for evaluation.json."""
    x = run.fixed_training_set().x
    estimate = evaluation.marginal_kl(
        run.precise_model,
        run.chosen(state).variables.params,
        x,
        run.key("marginal"),
        num_points=num_points,
        progress=display.track("marginal KL"),
    )
    return estimate._asdict() | {"inputs": _marginal_sentence(run.experiment, len(x))}


def annealed_report(
    run: Run, state: TrainState, num_points: int, num_temperatures: int, num_samples: int
) -> dict[str, Any]:
    """Annealed beside plain importance sampling, on some test images: for evaluation.json."""
    x, params = run.test_examples(num_points).x, run.chosen(state).variables.params
    settings = (run.experiment.model, params, x)
    annealed = evaluation.annealed_importance_sampling(
        *settings,
        run.key("annealed"),
        num_temperatures=num_temperatures,
        progress=display.track("annealed log p(x)"),
    )
    plain = evaluation.log_likelihood(*settings, run.key("likelihood"), num_samples=num_samples)
    difference = mean_and_error(annealed.log_prob - plain.log_prob)
    return {
        "num_test": len(x),
        **{name: value for name, value in annealed._asdict().items() if name != "log_prob"},
        "importance_sampling": {
            "mean": plain.mean,
            "standard_error": plain.standard_error,
            "num_samples": plain.num_samples,
            "effective_sample_size": plain.effective_sample_size,
        },
        "difference": difference._asdict(),
    }


def _prior_summary(prior: Prior | None, params: PyTree) -> dict[str, float]:
    """What the prior has learned, in numbers; nothing of a model without one."""
    summary = prior.summary(params.get("prior", {})) if prior is not None else {}
    return {name: float(value) for name, value in summary.items()}


def _bound_sentence(experiment: Experiment, multipliers: dict[str, float], step: int) -> str:
    likelihood = type(experiment.model.decoder).__name__.removesuffix("Decoder")
    prior = ""
    if not experiment.model.exact:
        prior = (
            f", with the prior estimated from {experiment.prior_samples} inner samples, which "
            "lowers it further"
        )
    return (
        f"The ELBO is a lower bound on log p(x) of the test images ({_describe(experiment.data)})"
        f" under the {likelihood} likelihood{prior}. At this step training was minimising "
        f"{experiment.objective.describe(multipliers, step)}."
    )


def _describe(dataset: data.DataSet) -> str:
    name = type(dataset).__name__
    binarised = getattr(dataset, "binarisation", "none") != "none"
    return f"{name}, binarised once with numpy seed {binarise.SEED}" if binarised else name


def _marginal_sentence(experiment: Experiment, num_inputs: int) -> str:
    dataset = type(experiment.data).__name__
    sentence = f"q(z) is over all {num_inputs} training images of {dataset}"
    if getattr(experiment.data, "binarisation", "none") == "dynamic":
        sentence += ", binarised once, with JAX key 0"
    if experiment.model.exact:
        return f"{sentence}."
    return (
        f"{sentence}, the prior estimated from {experiment.prior_samples} inner samples: rate, "
        "cross-entropy, marginal and dimension-wise KL and KL(q‖p) are upper bounds, KL(p‖q) is a "
        "lower one."
    )


def _plain(result: NamedTuple) -> dict[str, Any]:
    """A result as JSON values."""
    return {
        name: value._asdict() if isinstance(value, Estimate) else value
        for name, value in result._asdict().items()
    }

"""What is said of a run: the numbers of report.json and evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vaelab.runs import display
from vaelab.runs.constraints_report import constraints_report
from vaelab.runs.experiment import Experiment
from vaelab.runs.run import Run
from vaelab import evaluation
from vaelab.evaluation import Estimate, distortion, elbo, rate
from vaelab.evaluation.averages import mean_and_error
from vaelab.training.state import TrainState
from vaelab.types import Splits

_SUBSAMPLES = (1000, 10_000)  # inputs on which the marginal KL's bias is shown


def likelihood_report(
    run: Run, state: TrainState, num_samples: int, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The numbers of report.json, on the test set, from the run so far and its logged rows."""
    experiment, test = run.experiment, run.splits.test
    chosen = run.chosen(state)
    variables = chosen.variables
    constraints = experiment.objective.constraints
    estimates = evaluation.expectations(
        run.precise_subject(variables.params, test),
        run.key("bounds"),
        {"elbo": elbo, "rate": rate, "distortion": distortion} | dict(constraints),
        num_samples=experiment.posterior_samples,
        progress=display.track("ELBO"),
    )
    likelihood = evaluation.log_likelihood(
        run.subject(variables.params, run.test_examples(experiment.num_test)),
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
            "prior_samples": experiment.model.prior_samples,
        },
        **{name: estimates[name]._asdict() for name in ("elbo", "rate", "distortion")},
        "active_units": evaluation.active_units(
            run.subject(variables.params, test), run.key("units")
        ),
        "latent_dims": list(experiment.model.latent_dims),
        "learned": experiment.model.learned(variables.params),
        **constraints_report(run, chosen, estimates, rows),
        "multipliers": multipliers,
        "bound": _bound_sentence(experiment, multipliers, int(chosen.step))
        + _units_sentence(run.splits),
    }


def marginal_report(run: Run, state: TrainState, level: int, num_points: int) -> dict[str, Any]:
    """The prior of a level against the aggregated posterior of the training set: for evaluation.json.

    Raises:
      UndefinedError: the level has no aggregated posterior of diagonal Gaussians.
    """
    experiment, model = run.experiment, run.experiment.model
    train = run.fixed_training_set()
    subject = run.precise_subject(run.chosen(state).variables.params, train)
    aggregated = evaluation.aggregated_posterior(subject, level)
    surgery = evaluation.elbo_surgery(
        aggregated,
        run.key("surgery"),
        num_points=num_points,
        progress=display.track("rate in parts"),
    )
    num_inputs = aggregated.num_inputs
    subsampled = evaluation.subsampled_marginal_kl(
        aggregated,
        run.key("marginal"),
        sizes=[*(n for n in _SUBSAMPLES if n < num_inputs), num_inputs],
        num_points=num_points,
        progress=display.track("marginal KL"),
    )
    holes = evaluation.holes(
        aggregated, run.key("holes"), num_samples=num_points, progress=display.track("holes")
    )
    return {
        "level": level,
        "prior_samples": None if model.exact else experiment.prior_samples,
        "factorises": model.level_factorises(level),
        "surgery": _plain(surgery),
        "subsampled_marginal_kl": {str(n): value._asdict() for n, value in subsampled.items()},
        "holes": _plain(holes),
        "inputs": _marginal_sentence(experiment, num_inputs, num_points),
    }


def marginal_kl_report(run: Run, state: TrainState, level: int, num_points: int) -> dict[str, Any]:
    """KL(q(z_level) ‖ p) alone, for posteriors that are no Gaussians: for evaluation.json.

    Raises:
      UndefinedError: the level has no posterior or prior of its own.
    """
    train = run.fixed_training_set()
    estimate = evaluation.marginal_kl(
        run.precise_subject(run.chosen(state).variables.params, train),
        run.key("marginal"),
        level=level,
        num_points=num_points,
        progress=display.track("marginal KL"),
    )
    inputs = _marginal_sentence(run.experiment, len(train.x), num_points)
    return {"level": level} | estimate._asdict() | {"inputs": inputs}


def annealed_report(
    run: Run, state: TrainState, num_points: int, num_temperatures: int, num_samples: int
) -> dict[str, Any]:
    """Annealed beside plain importance sampling, on some test images: for evaluation.json.

    Raises:
      UndefinedError: the latents are not continuous.
    """
    test = run.test_examples(num_points)
    subject = run.subject(run.chosen(state).variables.params, test)
    annealed = evaluation.annealed_importance_sampling(
        subject,
        run.key("annealed"),
        num_temperatures=num_temperatures,
        progress=display.track("annealed log p(x)"),
    )
    plain = evaluation.log_likelihood(subject, run.key("likelihood"), num_samples=num_samples)
    difference = mean_and_error(annealed.log_prob - plain.log_prob)
    return {
        "num_test": len(test.x),
        **{name: value for name, value in annealed._asdict().items() if name != "log_prob"},
        "importance_sampling": {
            "mean": plain.mean,
            "standard_error": plain.standard_error,
            "num_samples": plain.num_samples,
            "effective_sample_size": plain.effective_sample_size,
        },
        "difference": difference._asdict(),
    }


def _bound_sentence(experiment: Experiment, multipliers: dict[str, float], step: int) -> str:
    prior = ""
    if not experiment.model.exact:
        prior = (
            f", with the prior estimated from {experiment.prior_samples} inner samples, which "
            "lowers it further"
        )
    return (
        f"The ELBO is a lower bound on log p(x) of the test examples ({experiment.data.describe()})"
        f" under the {experiment.model.decoder.label} likelihood{prior}. At this step training was minimising "
        f"{experiment.objective.describe(multipliers, step)}."
    )


def _units_sentence(splits: Splits) -> str:
    """How to convert log p(x) of standardised data."""
    if splits.scaling is None:
        return ""
    log_determinant = splits.scaling.log_determinant(splits.train.x.shape[1:])
    return (
        f" These are densities of standardised data: add {log_determinant:.2f} nats for log p(x) in the "
        "data's own units."
    )


def _marginal_sentence(experiment: Experiment, num_inputs: int, num_points: int) -> str:
    dataset = experiment.data
    sentence = f"q(z) is over all {num_inputs} training images of {dataset.title}"
    if dataset.preprocessing:
        sentence += f", {dataset.preprocessing} once, with JAX key 0"
    if num_points < 2 * num_inputs:
        sentence += (
            f"; of {num_points} points, fewer than two for each, the errors are upper limits"
        )
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

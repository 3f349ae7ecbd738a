"""The evaluation of a run beyond its report: the prior beside the aggregated posterior, and annealing."""

from __future__ import annotations

from typing import NamedTuple

from vaelab import evaluation
from vaelab.checks import UndefinedError
from vaelab.evaluation import AnnealedLogLikelihood, Estimate, Holes, LogLikelihood, Surgery
from vaelab.evaluation.averages import mean_and_error
from vaelab.runs import display
from vaelab.runs.report import Report
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained

_SUBSAMPLES = (1000, 10_000)  # numbers of inputs on which the bias of the marginal KL is shown


class Marginal(NamedTuple):
    """The prior of a level beside the aggregated posterior of the training set."""

    level: int
    prior_samples: int | None  # inner samples of the prior; None if log p(z) is exact
    factorises: bool  # True if the prior is a product over coordinates
    surgery: Surgery
    subsampled_marginal_kl: dict[str, Estimate]  # by number of inputs
    holes: Holes
    inputs: str  # one sentence on the data


class MarginalKL(NamedTuple):
    """KL(q(z_level) ‖ p(z_level)) alone, for posteriors that are no Gaussians, nats."""

    level: int
    mean: float
    standard_error: float
    inputs: str


class Annealed(NamedTuple):
    """Annealed beside plain importance sampling on the same test examples, nats."""

    num_test: int
    annealed: AnnealedLogLikelihood
    plain: LogLikelihood
    difference: Estimate  # annealed − plain


class Evaluation(NamedTuple):
    """A report, and what compares the prior with the aggregated posterior."""

    report: Report
    marginals: tuple[Marginal, ...] = ()
    marginal_kls: tuple[MarginalKL, ...] = ()
    annealed: Annealed | None = None
    undefined: tuple[str, ...] = ()  # why a quantity has no meaning for the model


def evaluate_prior(
    run: Run,
    trained: Trained,
    report: Report,
    *,
    num_points: int = 2000,
    annealed_points: int = 20,
    annealed_temperatures: int = 500,
) -> Evaluation:
    """Everything that is defined for the model; `undefined` holds the reasons of the rest."""
    marginals, kls, annealed, undefined = [], [], None, list[str]()
    for level in range(len(run.experiment.model.latent_dims)):
        try:  # the rate in its parts contains the marginal KL
            marginals.append(_marginal(run, trained, level, num_points))
        except UndefinedError as reason:
            undefined.append(str(reason))
            try:
                kls.append(_marginal_kl(run, trained, level, num_points))
            except UndefinedError as reason:
                undefined.append(str(reason))
    if annealed_points:
        try:
            num_samples = report.log_likelihood.num_samples
            annealed = _annealed(run, trained, annealed_points, annealed_temperatures, num_samples)
        except UndefinedError as reason:
            undefined.append(str(reason))
    reasons = tuple(dict.fromkeys(undefined))
    return Evaluation(report, tuple(marginals), tuple(kls), annealed, reasons)


def _marginal(run: Run, trained: Trained, level: int, num_points: int) -> Marginal:
    experiment, model = run.experiment, run.experiment.model
    subject = run.precise_subject(trained.params, run.fixed_training_set())
    aggregated = evaluation.aggregated_posterior(subject, level)
    surgery = evaluation.elbo_surgery(
        aggregated, run.key("surgery"), num_points=num_points,
        progress=display.track("rate in parts"),
    )  # fmt: skip
    num_inputs = aggregated.num_inputs
    subsampled = evaluation.subsampled_marginal_kl(
        aggregated, run.key("marginal"),
        sizes=[*(n for n in _SUBSAMPLES if n < num_inputs), num_inputs], num_points=num_points,
        progress=display.track("marginal KL"),
    )  # fmt: skip
    holes = evaluation.holes(
        aggregated, run.key("holes"), num_samples=num_points, progress=display.track("holes")
    )
    return Marginal(
        level=level,
        prior_samples=None if model.exact else experiment.prior_samples,
        factorises=model.level_factorises(level),
        surgery=surgery,
        subsampled_marginal_kl={str(n): value for n, value in subsampled.items()},
        holes=holes,
        inputs=_inputs_sentence(run, num_inputs, num_points),
    )


def _marginal_kl(run: Run, trained: Trained, level: int, num_points: int) -> MarginalKL:
    train = run.fixed_training_set()
    estimate = evaluation.marginal_kl(
        run.precise_subject(trained.params, train), run.key("marginal"), level=level,
        num_points=num_points, progress=display.track("marginal KL"),
    )  # fmt: skip
    return MarginalKL(level, *estimate, inputs=_inputs_sentence(run, len(train.x), num_points))


def _annealed(
    run: Run, trained: Trained, num_points: int, num_temperatures: int, num_samples: int
) -> Annealed:
    test = run.test_examples(num_points)
    subject = run.subject(trained.params, test)
    annealed = evaluation.annealed_importance_sampling(
        subject, run.key("annealed"), num_temperatures=num_temperatures,
        progress=display.track("annealed log p(x)"),
    )  # fmt: skip
    plain = evaluation.log_likelihood(subject, run.key("likelihood"), num_samples=num_samples)
    difference = mean_and_error(annealed.log_prob - plain.log_prob)
    return Annealed(len(test.x), annealed, plain, difference)


def _inputs_sentence(run: Run, num_inputs: int, num_points: int) -> str:
    dataset, experiment = run.experiment.data, run.experiment
    sentence = f"q(z) is over all {num_inputs} training examples of {dataset.title}"
    if dataset.preprocessing:
        sentence += f", {dataset.preprocessing} once, with JAX key 0"
    sentence += "."
    if num_points < 2 * num_inputs:
        sentence += f" The {num_points} points are fewer than two for each example, so the errors are upper limits."
    if not experiment.model.exact:
        sentence += (
            f" The prior is estimated from {experiment.prior_samples} inner samples: rate, cross-entropy, "
            "marginal and dimension-wise KL and KL(q‖p) are upper bounds, KL(p‖q) is a lower bound."
        )
    return sentence

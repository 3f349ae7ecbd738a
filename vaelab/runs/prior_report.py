"""The evaluation of a run beyond its report: the prior beside the aggregated posterior, and annealing."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rich.table import Table

from vaelab import evaluation
from vaelab.checks import UndefinedError
from vaelab.evaluation import AnnealedLogLikelihood, Estimate, Holes, LogLikelihood, Surgery
from vaelab.evaluation.averages import mean_and_error
from vaelab.runs import display
from vaelab.runs.report import Report
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained

_SUBSAMPLES = (1000, 10_000)  # numbers of inputs on which the bias of the marginal KL is shown
_SURGERY = {
    "rate": ("rate", "cross-entropy − conditional entropy"),
    "cross_entropy": ("cross-entropy", "of q(z) to the prior"),
    "conditional_entropy": ("conditional entropy", "of q(z|x)"),
    "mutual_information": (
        "mutual information", "rate − marginal KL, at most log {num_inputs} = {bound:.2f}",
    ),
    "marginal_kl": ("marginal KL", "KL(q(z) ‖ prior), q(z) of all inputs"),
    "total_correlation": ("total correlation", "KL(q(z) ‖ Π_d q(z_d))"),
    "dimension_wise_kl": (
        "dimension-wise KL", "Σ_d KL(q(z_d) ‖ prior_d), the rest of the marginal KL",
    ),
}  # fmt: skip


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

    def tables(self) -> list[Any]:
        """Tables and sentences of everything beyond the report."""
        parts: list[Any] = [_marginal_table(marginal) for marginal in self.marginals]
        for kl in self.marginal_kls:
            text = display.with_error(kl.mean, kl.standard_error, 3)
            parts.append(f"marginal KL {text} nats. {kl.inputs}")
        if self.annealed is not None:
            parts.append(_annealed_table(self.annealed))
        return parts + [f"left out: {reason}" for reason in self.undefined]


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
    for level in range(run.experiment.model.depth):
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


def _marginal_table(marginal: Marginal) -> Table:
    surgery, holes = marginal.surgery, marginal.holes
    title = "prior and aggregated posterior q(z) of the training set (nats)"
    table = display.estimates_table(title, marginal.inputs)
    inputs = dict(num_inputs=surgery.num_inputs, bound=math.log(surgery.num_inputs))
    for key, (name, meaning) in _SURGERY.items():
        if key != "dimension_wise_kl" or marginal.factorises:
            _add(table, name, getattr(surgery, key), meaning.format(**inputs))
    for size, value in marginal.subsampled_marginal_kl.items():
        if int(size) < surgery.num_inputs:
            _add(table, "marginal KL, biased", value, f"q(z) of {size} inputs only")
    _add(table, "KL(prior ‖ q(z))", holes.prior_to_aggregated, "")
    _add(
        table, "hole mass", holes.hole_mass,
        f"share of the prior where log q(z) < {holes.level:.1f}, the lowest 1 % of q(z)",
    )  # fmt: skip
    return table


def _annealed_table(comparison: Annealed) -> Table:
    table = display.estimates_table("log p(x) by two estimators (nats)")
    annealed, plain = comparison.annealed, comparison.plain
    _add(
        table, "test log p(x), annealed", Estimate(annealed.mean, annealed.standard_error),
        f"{annealed.num_chains} chains of {annealed.num_temperatures} temperatures on "
        f"{comparison.num_test} examples, effective {annealed.effective_sample_size:.0f}",
    )  # fmt: skip
    _add(
        table, "test log p(x)", Estimate(plain.mean, plain.standard_error),
        f"{plain.num_samples} samples on the same examples, effective "
        f"{plain.effective_sample_size:.0f}",
    )  # fmt: skip
    looser = "both are lower bounds on average; a bound with an effective size near 1 may be loose"
    _add(table, "annealed − plain", comparison.difference, looser)
    return table


def _add(table: Table, name: str, value: Estimate, meaning: str) -> None:
    table.add_row(name, f"{value.mean:.3f}", f"{value.standard_error:.3f}", meaning)

"""Makes the report of a run."""

from __future__ import annotations

import math

from etils import epath

from vaelab import evaluation
from vaelab.evaluation import Estimate, LevelRate, Proposal, distortion, elbo, rate
from vaelab.evaluation.proposals import AMORTISED
from vaelab.runs import display
from vaelab.runs.constraint_report import report_constraints
from vaelab.runs.experiment import Experiment
from vaelab.runs.files import damaged, read_typed
from vaelab.runs.history import History
from vaelab.runs.report import LikelihoodReport, Report
from vaelab.runs.run import Run
from vaelab.runs.trained import Trained
from vaelab.types import Splits


def make_report(
    run: Run,
    trained: Trained,
    history: History,
    last_step: int,
    num_samples: int | None = None,
    proposal: Proposal = AMORTISED,
) -> Report:
    """Evaluates trained parameters on the test set.

    Args:
      run: the experiment with its data.
      trained: the parameters to evaluate.
      history: the logged metrics.
      last_step: number of training steps made, from which epochs are counted.
      num_samples: importance samples per test example. None takes the experiment's.
      proposal: what these samples are drawn from.
    """
    experiment, test = run.experiment, run.splits.test
    num_levels = experiment.model.depth
    by_level = {f"rate/{level}": LevelRate(level) for level in range(num_levels)}
    by_example = evaluation.expectations_by_example(
        run.precise_subject(trained.params, test),
        run.key("bounds"),
        {"elbo": elbo, "rate": rate, "distortion": distortion}
        | (by_level if num_levels > 1 else {})
        | dict(experiment.objective.constraints),
        num_samples=experiment.posterior_samples,
        progress=display.track("ELBO"),
    )
    estimates = {name: evaluation.mean_and_error(each) for name, each in by_example.items()}
    rows = run.test_rows(experiment.num_test)
    subset = run.subject(trained.params, test.take(rows))
    likelihood = evaluation.log_likelihood(
        subset,
        run.key("likelihood"),
        num_samples=experiment.num_samples if num_samples is None else num_samples,
        proposal=proposal,
        progress=display.track("log p(x)"),
    )
    stationarity, constraints = report_constraints(run, trained, estimates, history)
    units = evaluation.active_units(
        subset, run.key("units"), progress=display.track("active units")
    )
    return Report(
        experiment=run.name,
        step=trained.step,
        num_steps=last_step,
        epochs_trained=last_step * experiment.batch_size / run.num_train,
        num_test=len(test.x),
        posterior_samples=experiment.posterior_samples,
        prior_samples=None if experiment.model.exact else experiment.prior_samples,
        log_likelihood=LikelihoodReport(
            likelihood.mean,
            likelihood.standard_error,
            likelihood.num_samples,
            likelihood.effective_sample_size,
            len(likelihood.log_prob),
            experiment.model.prior_samples,
            likelihood.proposal,
        ),
        elbo=estimates["elbo"],
        rate=estimates["rate"],
        distortion=estimates["distortion"],
        active_units=tuple(units),
        latent_dims=tuple(experiment.model.latent_dims),
        learned=experiment.model.learned(trained.params),
        stationarity=stationarity,
        constraints=constraints,
        multipliers=dict(trained.multipliers),
        bound=_bound_sentence(experiment, trained),
        bits_per_dim=_bits_per_dim(run, likelihood.mean, likelihood.standard_error),
        data_units=_data_units(run.splits),
        nonfinite_steps=int(sum(row.get("nonfinite", 0) for row in history.rows)),
        level_rates=tuple(estimates[name] for name in by_level if num_levels > 1),
        log_likelihood_of_all=None
        if len(rows) == len(test.x)
        else evaluation.difference_estimate(
            likelihood.log_prob, by_example["elbo"][rows], by_example["elbo"]
        ),
    )


def read_report(path: epath.Path) -> Report:
    """The report of a file.

    Raises:
      DamagedFileError: the file is damaged, or its levels do not fit together.
    """
    report = read_typed(Report, path)
    if len(report.active_units) != len(report.latent_dims):
        raise damaged(path, "active_units and latent_dims are of different numbers of levels")
    return report


def is_current(report: Report, run: Run, step: int, last_step: int) -> bool:
    """True if `make_report` would make this report again: same parameters, same settings."""
    experiment = run.experiment
    num_test = len(run.test_examples(experiment.num_test).x)
    prior_samples = None if experiment.model.exact else experiment.prior_samples
    likelihood = report.log_likelihood
    settings = (
        (report.step, step),
        (report.num_steps, last_step),
        (report.posterior_samples, experiment.posterior_samples),
        (report.prior_samples, prior_samples),
        (likelihood.num_samples, experiment.num_samples),
        (likelihood.num_test, num_test),
        (likelihood.prior_samples, experiment.model.prior_samples),
    )
    return all(made == wanted for made, wanted in settings)


def _bits_per_dim(run: Run, mean: float, standard_error: float) -> Estimate | None:
    """Bits per dimension of the levels, also of data that were dequantised and then standardised."""
    decoder, log_prob = run.experiment.model.decoder, mean + (_data_units(run.splits) or 0.0)
    bits = decoder.bits_per_dim(log_prob, bin_width=run.experiment.data.bin_width)
    if bits is None:
        return None
    return Estimate(bits, standard_error / (math.log(2) * math.prod(run.event_shape)))


def _data_units(splits: Splits) -> float | None:
    if splits.scaling is None:
        return None
    return splits.scaling.log_determinant(splits.train.x.shape[1:])


def _bound_sentence(experiment: Experiment, trained: Trained) -> str:
    prior = ""
    if not experiment.model.exact:
        prior = (
            f" The prior is estimated from {experiment.prior_samples} inner samples, which lowers the "
            "bound further."
        )
    return (
        f"The ELBO is a lower bound on log p(x) of the test examples ({experiment.data.describe()}) under "
        f"the {experiment.model.decoder.label} likelihood.{prior} At this step training minimised "
        f"{experiment.objective.describe(trained.multipliers, trained.step)}."
    )

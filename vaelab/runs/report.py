"""The report of a run: its numbers on the test set, each with what makes it true."""

from __future__ import annotations

from typing import NamedTuple

from rich.table import Table

from vaelab.checks import counted
from vaelab.evaluation import Amortised, Estimate
from vaelab.runs import display


class LikelihoodReport(NamedTuple):
    """log p(x) by importance sampling, nats."""

    mean: float
    standard_error: float  # over examples
    num_samples: int
    effective_sample_size: float
    num_test: int
    prior_samples: int | None  # inner samples of the prior; None if log p(z) is exact
    proposal: str = Amortised().label  # what the samples were drawn from


class ConstraintReport(NamedTuple):
    """One constraint at the reported step. Values, best and κ are in κ's units.

    Violation and complementarity are in units of C / divisor, that is relative to the threshold.
    """

    value: float  # on the test set
    kappa: float
    divisor: float  # makes C relative to its threshold
    satisfied: bool  # on the test set
    train_value: float  # moving average during training
    train_satisfied: bool
    best: float  # best logged moving average
    multiplier: float  # λ
    infeasible: bool  # violated to the end, with λ at its limit
    outcome: str  # one sentence
    violation: float  # max(0, E[C] / divisor)
    complementarity: float  # λ · max(0, −E[C] / divisor)


class Report(NamedTuple):
    """The numbers of a run, on the test set. Estimates are in nats per example."""

    experiment: str
    step: int  # of the reported parameters
    num_steps: int  # training steps made
    epochs_trained: float
    num_test: int  # test examples of ELBO, rate and distortion
    posterior_samples: int  # per test example, of ELBO, rate and distortion
    prior_samples: int | None  # inner samples of the prior there; None if log p(z) is exact
    log_likelihood: LikelihoodReport
    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    active_units: tuple[
        int, ...
    ]  # latent coordinates in use on the log-likelihood's examples, of each level
    latent_dims: tuple[int, ...]
    learned: dict[str, float]  # a decoder's σ, a mixture's effective number of components
    stationarity: (
        float | None
    )  # KKT residual; None without constraints, or if the gradient is noise
    constraints: dict[str, ConstraintReport]
    multipliers: dict[str, float]
    bound: str  # what the ELBO is a bound on, and what training minimised
    bits_per_dim: Estimate | None = None  # −log p(x) in bits per dimension; None for densities
    level_rates: tuple[Estimate, ...] = ()  # of several levels, top first; they add up to the rate
    data_units: float | None = None  # nats to add for the log density in the data's own units
    log_likelihood_of_all: Estimate | None = None  # log p(x) of all test examples; see the table
    nonfinite_steps: int = 0  # training steps that were skipped: their gradient was not finite

    def __repr__(self) -> str:
        return display.as_text(self.table())

    def _repr_html_(self) -> str:
        return display.as_html(self.table())

    @property
    def _step(self) -> str:
        if self.step == self.num_steps:
            return f"step {self.step}"
        return f"step {self.step} of {self.num_steps}, the best validation"

    def table(self) -> Table:
        """The numbers of a report, and the sentences that make them true."""
        likelihood = self.log_likelihood
        sentences = [self.bound]
        if self.nonfinite_steps:
            sentences.append(
                f"{counted(self.nonfinite_steps, 'training step')} of {self.num_steps} had no finite gradient "
                "and changed nothing."
            )
        if self.data_units is not None:
            sentences.append(
                "The data are standardised: add "
                f"{self.data_units:.2f} nats for log p(x) in the data's own units."
            )
        if likelihood.effective_sample_size < 5:
            sentences.append(
                f"log p(x) is a loose lower bound: {likelihood.effective_sample_size:.1f} of "
                f"{likelihood.num_samples} importance samples carry the weight. Increase num_samples, or "
                "compare with annealed importance sampling (vaelab evaluate)."
            )
        if likelihood.mean < self.elbo.mean and likelihood.num_test != self.num_test:
            sentences.append(
                f"log p(x) is below the ELBO because it is that of {likelihood.num_test} of the "
                f"{self.num_test} examples: increase num_test."
            )
        table = display.estimates_table(
            f"{self.experiment}, {self._step}, test set (nats)", " ".join(sentences)
        )
        add = table.add_row
        inner = f", {likelihood.prior_samples} inner" if likelihood.prior_samples else ""
        drawn = "" if likelihood.proposal == Amortised().label else f", {likelihood.proposal}"
        add(
            "log p(x)", f"{likelihood.mean:.2f}", f"{likelihood.standard_error:.2f}",
            f"{likelihood.num_samples} samples on {likelihood.num_test} examples, effective "
            f"{likelihood.effective_sample_size:.0f}{inner}{drawn}",
        )  # fmt: skip
        if self.log_likelihood_of_all is not None:
            add(
                f"  of all {self.num_test}",
                *(f"{value:.2f}" for value in self.log_likelihood_of_all),
                f"ELBO of all, plus log p(x) − ELBO of the {likelihood.num_test}",
            )
        if self.bits_per_dim is not None:
            add(
                "bits per dimension",
                *(f"{value:.4f}" for value in self.bits_per_dim),
                "−log₂ p(x) / D",
            )
        samples = f"{self.posterior_samples} samples on {self.num_test} examples"
        for name in ("elbo", "rate", "distortion"):
            estimate = getattr(self, name)
            add(name, f"{estimate.mean:.2f}", f"{estimate.standard_error:.2f}", samples)
        units = [f"{n} of {d}" for n, d in zip(self.active_units, self.latent_dims, strict=True)]
        if not self.level_rates:
            add("active units", units[0], "", "")
        for level, rate in enumerate(self.level_rates):
            name = f"  rate of level {level}" + (" (top)" if level == 0 else "")
            add(
                name,
                f"{rate.mean:.2f}",
                f"{rate.standard_error:.2f}",
                f"active units: {units[level]}",
            )
        for name, value in self.learned.items():
            add(name.replace("_", " "), f"{value:.4g}", "", "learned")
        for name, constraint in self.constraints.items():
            side = "within" if constraint.satisfied else "beyond"
            add(
                f"constraint {name}",
                f"{constraint.value:.4f}",
                "",
                f"κ = {constraint.kappa:g}, test set {side} κ",
            )
            best = f"; best {constraint.best:.4f}" if constraint.infeasible else ""
            add("  moving average", f"{constraint.train_value:.4f}", "", constraint.outcome + best)
            add(
                "  multiplier λ", f"{constraint.multiplier:.4g}", "",
                f"violation {constraint.violation:.2g}, λ · slack {constraint.complementarity:.2g}, both "
                f"divided by {constraint.divisor:.4g}",
            )  # fmt: skip
        if self.constraints:
            stationarity = "noise" if self.stationarity is None else f"{self.stationarity:.2g}"
            add("stationarity", stationarity, "", "‖∇ Lagrangian‖ / Σ ‖∇ of its parts‖")
        return table

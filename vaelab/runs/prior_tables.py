"""Tables of an evaluation: the prior beside the aggregated posterior, and annealing."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from vaelab.evaluation import Estimate
from vaelab.runs.display import estimates_table, with_error
from vaelab.runs.prior_report import Annealed, Evaluation, Marginal

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


def evaluation_tables(evaluation: Evaluation) -> list[Any]:
    """Every table and sentence of an evaluation beyond its report."""
    parts: list[Any] = [_marginal_table(marginal) for marginal in evaluation.marginals]
    for kl in evaluation.marginal_kls:
        parts.append(f"marginal KL {with_error(kl.mean, kl.standard_error, 3)} nats. {kl.inputs}")
    if evaluation.annealed is not None:
        parts.append(_annealed_table(evaluation.annealed))
    parts += [f"left out: {reason}" for reason in evaluation.undefined]
    return parts


def _marginal_table(marginal: Marginal) -> Table:
    surgery, holes = marginal.surgery, marginal.holes
    title = "prior and aggregated posterior q(z) of the training set (nats)"
    table = estimates_table(title, marginal.inputs)
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
    table = estimates_table("log p(x) by two estimators (nats)")
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

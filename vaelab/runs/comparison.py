"""Several results in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from vaelab.checks import UsageError
from vaelab.evaluation import Estimate
from vaelab.runs import display
from vaelab.runs.result import Result


class Compared(NamedTuple):
    """One result of a comparison, nats per example on the test set."""

    name: str
    step: int
    log_likelihood: Estimate
    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    multipliers: dict[str, float]


class Comparison(NamedTuple):
    """Results side by side. In a notebook it is a table."""

    rows: tuple[Compared, ...]

    def __repr__(self) -> str:
        return display.as_text(self._table())

    def _repr_html_(self) -> str:
        return display.as_html(self._table())

    def _table(self) -> Table:
        table = Table(
            title="test set, nats per example ± standard error over examples",
            caption="Standard errors of a difference are smaller, because the test examples are the same.",
        )
        for column in ("experiment", "step", "log p(x)", "ELBO", "rate", "distortion", "λ"):
            table.add_column(column, justify="left" if column == "experiment" else "right")
        for row in self.rows:
            estimates = (row.log_likelihood, row.elbo, row.rate, row.distortion)
            multipliers = ", ".join(f"{value:.3g}" for value in row.multipliers.values())
            table.add_row(
                row.name, str(row.step), *(f"{e.mean:.2f} ± {e.standard_error:.2f}" for e in estimates),
                multipliers,
            )  # fmt: skip
        return table


def compare(results: Mapping[str, Result] | Sequence[Result]) -> Comparison:
    """The reports of several results in one table.

    Args:
      results: results by their names, or results, which take the names of their experiments.

    Raises:
      UsageError: there are none, or their test examples differ.
    """
    named = (
        list(results.items())
        if isinstance(results, Mapping)
        else [(result.name, result) for result in results]
    )
    if not named:
        raise UsageError("results must hold at least one result.")
    sizes = {result.report().num_test for _, result in named}
    if len(sizes) > 1:
        raise UsageError(
            f"results are of test sets of {sorted(sizes)} examples: compare results on the same data."
        )
    rows = []
    for name, result in named:
        report = result.report()
        likelihood = Estimate(*report.log_likelihood[:2])
        rows.append(
            Compared(
                name,
                report.step,
                likelihood,
                report.elbo,
                report.rate,
                report.distortion,
                report.multipliers,
            )
        )
    return Comparison(tuple(rows))

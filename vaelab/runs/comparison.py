"""Several results in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from vaelab.checks import UsageError
from vaelab.runs import display
from vaelab.runs.identity import digest_of
from vaelab.runs.report import Report
from vaelab.runs.result import Result


class Comparison(NamedTuple):
    """Reports side by side. In a notebook it is a table."""

    reports: dict[str, Report]  # by the name of the result

    def __repr__(self) -> str:
        return display.as_text(self._table())

    def _repr_html_(self) -> str:
        return display.as_html(self._table())

    def _table(self) -> Table:
        rows = []
        for name, report in self.reports.items():
            estimates = (report.log_likelihood, report.elbo, report.rate, report.distortion)
            cells = [display.with_error(each.mean, each.standard_error) for each in estimates]
            multipliers = ", ".join(f"{value:.3g}" for value in report.multipliers.values())
            rows.append([name, str(report.step), *cells, multipliers])
        return display.table(
            "test set, nats per example ± standard error over examples",
            ("experiment", "step", "log p(x)", "ELBO", "rate", "distortion", "λ"),
            rows,
            "Standard errors of a difference are smaller, because the test examples are the same.",
        )


def compare(results: Mapping[str, Result] | Sequence[Result]) -> Comparison:
    """The reports of several results in one table.

    Args:
      results: results by their names, or results, which take the names of their experiments. Equal names
        are numbered.

    Raises:
      UsageError: there are none, or their test examples differ.
    """
    named: dict[str, Result] = {}
    if isinstance(results, Mapping):
        named = dict(results)
    else:
        for index, result in enumerate(results):
            name = f"{result.name} {index}" if result.name in named else result.name
            named[name] = result
    reports = {name: result.report() for name, result in named.items()}
    if not reports:
        raise UsageError("results must hold at least one result.")
    sizes = sorted({report.num_test for report in reports.values()})
    if len({digest_of(result.run.splits.test) for result in named.values()}) > 1:
        raise UsageError(
            f"results are of different test sets, of {sizes} examples: compare results on the same data."
        )
    return Comparison(reports)

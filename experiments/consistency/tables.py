"""The printed tables of the study."""

from __future__ import annotations

from typing import NamedTuple

from rich.table import Table

from experiments.consistency.chain import ChainNumbers
from experiments.consistency.four_gaussians import FourGaussians
from experiments.consistency.theorem import Consistent, Inconsistent
from vaelab.runs.display import table
from vaelab.types import Array


class Found(NamedTuple):
    """Everything that the study measures."""

    on: list[Consistent]
    off: list[Inconsistent]
    toys: list[FourGaussians]
    chains: ChainNumbers


def tables(found: Found) -> list[Table]:
    """One table for each part."""
    return [_on(found.on), _off(found.off), _joint(found.off), *map(_toy, found.toys), *_chains(found.chains)]  # fmt: skip


def _on(rows: list[Consistent]) -> Table:
    encoders = list(rows[0].gaps)
    return table(
        "On the consistent set: E KL(q ‖ p(z|x)) of each encoder, nats",
        ("x", *encoders, "free bits, uniform prior"),
        [
            (
                row.family,
                *(f"{abs(gap):.0e}" for gap in row.gaps.values()),
                f"{row.uniform_prior:.0e}",
            )
            for row in rows
        ],
    )


def _off(rows: list[Inconsistent]) -> Table:
    return table(
        "Off the set, decoder and prior fixed: E KL(q ‖ p(z|x)) of each encoder, nats",
        ("x", *rows[0].gaps),
        [(row.family, *(f"{abs(gap):.4f}" for gap in row.gaps.values())) for row in rows],
    )


def _joint(rows: list[Inconsistent]) -> Table:
    return table(
        "Joint ELBO training from the maximum of the likelihood: before → after",
        ("x", "encoder", "ELBO", "gap", "change of log p(x)", "distance from the set"),
        [
            (
                row.family, name, _change(each.elbo_before, each.elbo_after),
                _change(each.gap_before, each.gap_after), f"{each.likelihood_change:+.4f}",
                _change(row.residual.decoder, each.residual_after.decoder, 2),
            )
            for row in rows
            for name, each in row.joint.items()
        ],
    )  # fmt: skip


def _toy(toy: FourGaussians) -> Table:
    return table(
        f"Four Gaussians, σ = {toy.sigma:g}, log p(x) = {_nats(toy.log_likelihood)}: before → after",
        ("encoder", "ELBO", "change of log p(x)", "approximation gap", "amortisation gap", "residual"),
        [
            (
                name, _change(each.elbo_before, each.elbo_after), f"{each.likelihood_change:+.4f}",
                _change(each.approximation_before, each.approximation_after),
                _change(each.amortisation_before, each.amortisation_after),
                _change(toy.residual.sides, each.residual.sides, 2),
            )
            for name, each in toy.trained.items()
        ],
    )  # fmt: skip


def _chains(chains: ChainNumbers) -> list[Table]:
    starts = table(
        f"Binary chain: from each start, best possible {_nats(chains.entropy)}",
        ("start", "EM: log p(x)", "ELBO learning: log p(x)", "ELBO"),
        [
            (str(number), _nats(each.em), _nats(each.elbo_likelihood), _nats(each.elbo))
            for number, each in enumerate(chains.starts, start=1)
        ],
    )
    stages = {"data's own chain": chains.truth, "after joint training": chains.joint}
    names = [f"level {level}" for level in range(len(chains.joint.fits))]
    fits = table(
        "Share of log p(x|z_i) that ⟨a_i(x), z_i⟩ explains, in brackets the best affine function",
        ("model", "log p(x)", "ELBO", "free a_i", *names),
        [
            (
                name, _nats(stage.log_likelihood), _nats(stage.elbo), _nats(stage.free),
                *(f"{fit.learned:.3f} ({fit.best:.3f})" for fit in stage.fits),
            )
            for name, stage in stages.items()
        ],
        f"Level 0 is the top. The backward recursion differs from enumeration by {chains.recursion_error:.0e}.",
    )  # fmt: skip
    return [starts, fits]


def _nats(value: float) -> str:
    return f"{value:.4f}"


def _change(before: float | Array, after: float | Array, decimals: int = 3) -> str:
    return f"{before:.{decimals}f} → {after:.{decimals}f}".replace("-0.000", "0.000")

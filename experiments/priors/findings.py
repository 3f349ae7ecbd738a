"""What `experiments.priors` found, as tables, a caption and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.priors.measures import INNER_SAMPLES
from vaelab import plotting

NAMES = {
    "standard": "standard normal", "mixture": "mixture of 16", "vamp": "VampPrior, 16",
    "gtm": "GTM, 4×4", "gtm_vamp": "GTM-Vamp, 4×4", "flow": "RealNVP flow",
    "hierarchical": "hierarchical", "autoregressive": "autoregressive", "resampled": "resampled",
}  # fmt: skip
FILMED = "gtm"  # the prior of training.png

Report = dict[str, Any]
Arrays = Mapping[str, np.ndarray]


def summary(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; of one seed the value alone.

    >>> summary([1.0, 3.0])
    '2.00 ± 1.41'
    """
    mean = f"{np.mean(values):.{digits}f}"
    text = mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
    return text.replace("-", "−")


def tables(
    joint: Mapping[str, Report], alternating: Mapping[str, Report], period: int
) -> list[Table]:
    """Of all priors; of joint against alternating updates; of the rate by inner samples."""
    columns = ("prior", "NLL", "ELBO", "rate", "marginal KL", "holes, %")
    table = _table(*columns, title="Priors on the digits: nats per image, mean ± s.d. over seeds")
    for name, report in joint.items():
        shown = [summary(report[key], 1) for key in ("nll", "elbo")]
        shown += [summary(report[key]) for key in ("rate", "marginal_kl")]
        holes = summary([100 * share for share in report["hole_mass"]], 1)
        table.add_row(NAMES[name], *shown, holes)
    table.caption = (
        "NLL, ELBO and rate of the test images, marginal KL and holes of the training images; holes: "
        "share of the prior's mass where their q(z) is below the level that 99 % of its own samples "
        "exceed. Rate and marginal KL of the hierarchical and the resampled prior are upper bounds."
    )
    if "reference" in joint.get("standard", {}):
        best = joint["standard"]["reference"]
        table.add_section()
        elbo, rate = summary(best["elbo"], 1), summary(best["rate"])
        table.add_row("q(z) as prior*", "", elbo, rate, "", "")
        table.caption += (
            "\n* the models with the standard prior, in its place the test images' own aggregated "
            "posterior, which no prior can beat there: a reference, not a model of new images"
        )
    result = [table]
    if alternating:
        table = _table("prior", "joint", f"prior once in {period} steps", title="NLL by updates")
        for name, report in alternating.items():
            table.add_row(NAMES[name], summary(joint[name]["nll"]), summary(report["nll"]))
        table.caption = "as many updates of the rest of the model"
        result.append(table)
    if "inner_samples" in joint.get("hierarchical", {}):
        measured = joint["hierarchical"]["inner_samples"]
        title = "Rate of the hierarchical prior by inner samples"
        table = _table(
            "K",
            "rate",
            f"above K = {INNER_SAMPLES[-1]} (± s.e. over images, one seed)",
            title=title,
        )
        for k, count in enumerate(INNER_SAMPLES):
            rates, excess = ([run[k] for run in measured[key]] for key in ("rate", "excess"))
            error = np.mean([run[k] for run in measured["standard_error"]])
            above = f"{np.mean(excess):.3f} ± {error:.3f}" if error else ""
            table.add_row(str(count), summary(rates), above)
        result.append(table)
    return result


def _table(*columns: str, title: str) -> Table:
    # Narrow enough for 80 columns.
    return Table(*columns, title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def caption(joint: Mapping[str, Report]) -> str:
    """What the panels show, what the toy can show, and what it cannot, with the numbers that say so."""
    means = [np.mean(report["nll"]) for report in joint.values()]
    error = np.mean([report["standard_error"] for report in joint.values()])
    steps = [step for report in joint.values() for step in report["step"]]
    spread = f"the means span {max(means) - min(means):.1f} nats"
    if all(len(report["nll"]) > 1 for report in joint.values()):
        deviation = np.mean([np.std(report["nll"], ddof=1) for report in joint.values()])
        spread += f", a prior's seeds scatter by {deviation:.1f}"
    return (
        "Two latent dimensions, scikit-learn's 8×8 digits in 17 grey levels; NLL of the test images in "
        "nats, mean ± s.d. over seeds. Panels show the first seed, each at a scale of its own; dots are "
        "codes of training images; red, within the 95 % region, is where their aggregated posterior is "
        "below the level that 99 % of its own samples exceed.\n"
        "What this shows: which forms each prior takes, how it and the codes fit each other, and "
        "where it leaves holes.\n"
        f"What it cannot show: which prior is best. Here {spread}, other test images would move all "
        f"of them by {error:.1f} (s.e.), and the training set is small (best validation at step "
        f"{min(steps):,} to {max(steps):,}). In two dimensions an encoder "
        "can fill N(0, I) about as well as a learned prior can follow an encoder: a ranking needs "
        "more latent dimensions and more data, such as MNIST with 40."
    )


def plots(
    joint: Mapping[str, Report], arrays: Mapping[str, Arrays], text: str
) -> dict[str, Figure]:
    """The pictures by name; those of a prior that was not asked for are left out."""
    panels = [
        _panel(arrays[name], f"{NAMES[name]}\nNLL {summary(report['nll'], 1)} nats")
        for name, report in joint.items()
    ]
    title = "Priors, and the aggregated posteriors they were trained with"
    result = {"priors": plotting.prior_densities(panels, title=title, caption=text)}
    if FILMED in joint:
        film = arrays[FILMED]
        frames: list[plotting.Panel] = []
        while f"step_{len(frames)}" in film:
            number = len(frames)
            label = f"step {film[f'step_{number}']}\nKL {film[f'marginal_kl_{number}']:.2f} nats"
            frames.append(_panel(film, label, f"_{number}"))
        points = np.concatenate([np.asarray(frame.points) for frame in frames])
        centre, half = (points.max(0) + points.min(0)) / 2, 0.55 * np.ptp(points, axis=0).max()
        (left, bottom), (right, top) = centre - half, centre + half
        result["training"] = plotting.prior_densities(
            frames,
            window=(left, right, bottom, top),
            title=f"Prior ({NAMES[FILMED]}) and aggregated posterior during training",
            caption="KL is KL(q(z) ‖ p), of the aggregated posterior from the prior. The encoder spreads "
            "its codes to tell images apart, and pays for codes where the prior is low; the prior moves "
            "its mass to where the codes are.\nThe last panel is at the best validation ELBO of this seed.",
        )
    if "inner_samples" in joint.get("hierarchical", {}):
        measured = joint["hierarchical"]["inner_samples"]
        result["inner_samples"] = plotting.inner_samples(
            INNER_SAMPLES, measured["excess"], measured["standard_error"]
        )
    return result


def _panel(arrays: Arrays, title: str, suffix: str = "") -> plotting.Panel:
    left, right, bottom, top = arrays[f"extent{suffix}"]
    return plotting.Panel(
        title,
        arrays[f"log_prior{suffix}"],
        arrays[f"log_aggregated{suffix}"],
        float(arrays[f"hole_level{suffix}"]),
        arrays[f"points{suffix}"],
        (left, right, bottom, top),
    )

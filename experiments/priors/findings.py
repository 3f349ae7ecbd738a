"""What the study of priors found, as a table and a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich import box
from rich.table import Table

from experiments.priors.study import Seed

NAMES = {
    "standard": "standard normal", "mixture": "mixture of 16", "vamp": "VampPrior, 16",
    "gtm": "GTM, 4×4", "gtm_vamp": "GTM-Vamp, 4×4", "flow": "RealNVP flow",
    "hierarchical": "hierarchical", "autoregressive": "autoregressive", "resampled": "resampled",
}  # fmt: skip


def summary(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; of one seed the value alone.

    >>> summary([1.0, 3.0])
    '2.00 ± 1.41'
    """
    mean = f"{np.mean(values):.{digits}f}"
    text = mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
    return text.replace("-", "−")


def table(measured: Mapping[str, Sequence[Seed]]) -> Table:
    """A line for each prior. It is narrow enough for 80 columns."""
    table = Table(
        "prior", "NLL", "ELBO", "rate", "marginal KL", "holes, %", box=box.SIMPLE_HEAD, pad_edge=False,
        collapse_padding=True, title="Priors on the digits: nats per image, mean ± s.d. over seeds",
    )  # fmt: skip
    for name, seeds in measured.items():
        table.add_row(
            NAMES[name],
            summary([seed.nll for seed in seeds], 1),
            summary([seed.elbo for seed in seeds], 1),
            summary([seed.rate for seed in seeds]),
            summary([seed.marginal_kl for seed in seeds]),
            summary([100 * seed.hole_mass for seed in seeds], 1),
        )
    table.caption = (
        "NLL, ELBO and rate are those of test images, marginal KL and holes those of training images. Holes: "
        "share of the prior's mass where q(z) is below the level that 99 % of its own samples exceed. Rate "
        "and marginal KL of the hierarchical and the resampled prior are upper bounds."
    )
    if "standard" in measured:
        seeds = measured["standard"]
        elbo = summary([seed.best_elbo for seed in seeds], 1)
        table.add_section()
        table.add_row("q(z) as prior*", "", elbo, summary([seed.best_rate for seed in seeds]))
        table.caption += (
            "\n* The models of the standard prior, with q(z) of the test images in its place. No prior can "
            "beat it there. It is a reference, and no model of new images."
        )
    return table


def caption(measured: Mapping[str, Sequence[Seed]]) -> str:
    """What the panels show, what the study can show, and what it cannot, with the numbers."""
    means = [np.mean([seed.nll for seed in seeds]) for seeds in measured.values()]
    error = np.mean([[seed.standard_error for seed in seeds] for seeds in measured.values()])
    steps = [seed.step for seeds in measured.values() for seed in seeds]
    spread = f"the means span {max(means) - min(means):.1f} nats"
    if all(len(seeds) > 1 for seeds in measured.values()):
        deviations = [np.std([seed.nll for seed in seeds], ddof=1) for seeds in measured.values()]
        spread += f", the seeds of a prior scatter by {np.mean(deviations):.1f}"
    return (
        "Two latent dimensions, scikit-learn's 8×8 digits in 17 grey levels. NLL of the test images in nats, "
        "mean ± s.d. over seeds. Panels show the first seed. Dots are codes of training images. Red, within "
        "the 95 % region, is where their aggregated posterior is below the level that 99 % of its own samples "
        "exceed.\n"
        "The study shows which forms each prior takes, how prior and codes fit each other, and where holes "
        "remain.\n"
        f"It cannot show which prior is best. Here {spread}, other test images would move all of them by "
        f"{error:.1f} (s.e.), and the training set is small (best validation at step {min(steps):,} to "
        f"{max(steps):,}). In two dimensions an encoder can fill N(0, I) about as well as a learned prior can "
        "follow an encoder. A ranking needs more latent dimensions and more data, such as MNIST with 40."
    )

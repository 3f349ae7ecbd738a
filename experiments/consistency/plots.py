"""The plots of the study."""

from __future__ import annotations

from matplotlib.figure import Figure

from experiments.consistency import gap_plots, geometry_plot, learning_plot
from experiments.consistency.four_gaussians import FourGaussians
from experiments.consistency.problem import FREE
from experiments.consistency.tables import Found


def figures(found: Found) -> dict[str, Figure]:
    """One plot for each part, by the names of their files."""
    return {
        "encoder_gaps": _gaps(found),
        "joint_training": _joint(found),
        "decoder_geometry": geometry_plot.decoder_geometry(
            [_geometry(toy) for toy in found.toys],
            title="Joint ELBO training moves the means towards a rectangle",
            caption="Grey: density of the data. Lines join states that differ in one bit. The logits of the bits are the "
            "best ones for each x.",
        ),
        "chain": _chain(found),
    }  # fmt: skip


def _gaps(found: Found) -> Figure:
    return gap_plots.encoder_gaps(
        {row.family: row.gaps for row in found.on},
        {row.family: row.gaps for row in found.off},
        title="A deeper encoder does not enlarge the consistent set",
        caption="Two bits z. Left: harmoniums, so every gap is an error of training; dashed: 0.001 nats. Right: random "
        "decoders. Free bits have logits of their own for each x: their gap is the approximation gap, a limit "
        "for every encoder of independent bits.",
    )


def _joint(found: Found) -> Figure:
    return gap_plots.joint_training(
        [gap_plots.Drift(row.family, row.path.log_likelihood, row.path.elbo) for row in found.off],
        title="Joint ELBO training from the maximum of the likelihood",
        caption="Decoder and prior are trained with the best bits for each x, so the encoder is not the cause. The gap is "
        "then the distance from the consistent set.",
    )


def _geometry(toy: FourGaussians) -> geometry_plot.Geometry:
    free = toy.trained[FREE]
    title = (
        f"σ = {toy.sigma:g}: ELBO {free.elbo_before:.3f} → {free.elbo_after:.3f}\n"
        f"log p(x) {free.likelihood_change:+.2g}, residual {toy.residual.sides:.2f} → {free.residual.sides:.2f}"
    )
    return geometry_plot.Geometry(title.replace("-", "−"), toy.path, toy.sigma)


def _chain(found: Found) -> Figure:
    chains = found.chains
    names = [f"z_{level}" for level in range(len(chains.scatter))]
    names[0], names[-1] = f"{names[0]}, top", f"{names[-1]}, bottom"
    return learning_plot.chain_learning(
        [each.em for each in chains.starts],
        [each.elbo_likelihood for each in chains.starts],
        [each.elbo for each in chains.starts],
        [
            learning_plot.Level(f"{name}: {100 * fit.learned:.0f} %", *level)
            for name, level, fit in zip(names, chains.scatter, chains.joint.fits, strict=True)
        ],
        best=chains.entropy,
        title="A binary chain as a hidden Markov model: exact EM beside ELBO learning",
        caption="Left: ends from the same random starts. Right: after joint ELBO training from the data's own chain, all x and "
        "all states of a level, without the mean over the states; areas are p(x) p(z_i|x). Per cent: the explained share of the variance.",
    )

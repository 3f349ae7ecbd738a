"""Data on low-dimensional manifolds, for interpolation: human motion, a pendulum, faces.

Papers: Klushyn et al., 2019, Learning hierarchical priors in VAEs (hierarchical prior, REWO; graph-based
interpolation of human motion, of a pendulum, and of faces); Burda et al., 2016, Importance weighted
autoencoders (the baseline with a standard normal prior).

Each family has the same data, encoder, decoder and number of steps for all its experiments. Motion has joint angles
of five movements, and batches hold all movements equally often; its scale of the likelihood and the widths of its
networks had the best validation bound of those tried (see docs/decisions.md). The reported parameters are those of the best
validation.

Differences from the paper: subject 02 of the motion capture database, with five movements of its own; Frey Faces
instead of the Basel face model, which may not be redistributed; network sizes, which the paper's text does not give.
"""

from __future__ import annotations

from vaelab.constraints import NLL
from vaelab.data import DataSet, FreyFaces, MotionCapture, Pendulum
from vaelab.likelihoods import GaussianDecoder
from vaelab.likelihoods.base import Decoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import HierarchicalPrior, Prior, StandardNormal
from vaelab.runs.experiment import Experiment
from vaelab.training.duals import Dual, Rewo
from vaelab.training.objectives import ELBO, ImportanceWeighted, Lagrangian, Objective
from vaelab.training.optimisers import Adam
from vaelab.training.samplers import Balanced, Sampler, Uniform


def _family(
    data: DataSet,
    encoder: MLP,
    decoder: Decoder,
    *,
    latent_dim: int,
    kappa: float,
    num_steps: int,
    sampler: Sampler = Uniform(),  # noqa: B008  frozen
) -> dict[str, Experiment]:
    """IWAE and ELBO with a standard normal prior, ELBO and REWO with the hierarchical prior."""

    def experiment(prior: Prior, objective: Objective, dual: Dual | None = None) -> Experiment:
        return Experiment(
            data=data,
            model=VAE(ConditionalGaussian(encoder, dim=latent_dim), decoder, prior),
            objective=objective,
            optimiser=Adam(5e-4),
            dual=dual,
            sampler=sampler,
            num_steps=num_steps,
            log_every=250,
            evaluate_every=250,
            patience=20,
            num_samples=500,
        )

    standard = StandardNormal(latent_dim)
    hierarchical = HierarchicalPrior(latent_dim, num_samples=8, hidden=(128, 128))
    return {
        "iwae": experiment(standard, ImportanceWeighted(num_samples=8)),
        "vae_elbo": experiment(standard, ELBO()),
        "vhp_elbo": experiment(hierarchical, ELBO()),
        "vhp_rewo": experiment(
            hierarchical, Lagrangian({"nll": NLL(kappa=kappa)}), Rewo(step_size=0.1)
        ),
    }


TITLES = {"iwae": "IWAE", "vae_elbo": "VAE, ELBO", "vhp_elbo": "VHP, ELBO", "vhp_rewo": "VHP, REWO"}

FAMILIES: dict[str, dict[str, Experiment]] = {
    "motion": _family(
        MotionCapture(),
        MLP((128, 128)),
        GaussianDecoder(MLP((128, 128)), scale=0.8),
        latent_dim=2,
        kappa=1.1,
        num_steps=6_000,
        sampler=Balanced(),
    ),
    "pendulum": _family(
        Pendulum(flat=True),
        MLP((128, 128)),
        GaussianDecoder(MLP((128, 128)), scale=0.1),
        latent_dim=2,
        kappa=-1.2,
        num_steps=3_000,
    ),
    "faces": _family(
        FreyFaces(),
        MLP((256, 256), event_ndims=3),
        GaussianDecoder(MLP((256, 256)), scale=0.07),
        latent_dim=32,
        kappa=-1.2,
        num_steps=6_000,
    ),
}

EXPERIMENTS: dict[str, Experiment] = {
    f"{family}_{name}": row for family, rows in FAMILIES.items() for name, row in rows.items()
}

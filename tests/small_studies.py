"""Small experiments and made measures for the tests of the studies."""

from __future__ import annotations

import math

from vaelab.cli import parsing
from vaelab.evaluation import Estimate
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.runs import Experiment, training_run
from vaelab.runs.measures import ConstraintMeasures, Measures


def small(experiment: Experiment) -> Experiment:
    """The experiment of a dense VAE with 8 hidden units, 4 latent dimensions and 40 steps."""
    model = experiment.model.clone(
        encoder=ConditionalGaussian(MLP((8,), event_ndims=3), 4),
        decoder=experiment.model.decoder.clone(trunk=MLP((8,))),
        prior=StandardNormal(4),
    )
    return experiment.with_fields(
        model=model, num_steps=40, log_every=10, evaluate_every=20, num_test=50, batch_size=20
    )


def measures(
    rate: float,
    *,
    mse: float = 0.04,
    value: float | None = None,
    multiplier: float = 2.0,
    highest: float = 2.0,
    kappa: float = 0.15,
    met: bool = True,
    **fields,
) -> Measures:
    """Measures of a member, with the constraint `re` if `value` is given."""
    constraints = {}
    if value is not None:
        outcome = "met" if met else "not met yet: λ was still rising"
        constraints["re"] = ConstraintMeasures(
            kappa, value, value, multiplier, highest, outcome, met
        )
    defaults = dict(
        member=0, values={"seed": 0}, step=40, elbo=Estimate(-rate, 0.1), rate=Estimate(rate, 0.1),
        distortion=Estimate(0.0, 0.1), mse=Estimate(mse, 0.1), constraints=constraints, others={},
        squared_error_weight=None, sigma_star=math.sqrt(mse), nll_per_dim=None, marginal_kl=None,
        marginal_inputs=0,
    )  # fmt: skip
    return Measures(**defaults | fields)


def main_of(command: type[parsing.Command]):
    """The command as a function of its argv, which returns the exit code."""
    return lambda argv: parsing.run(command, [str(each) for each in argv], prog="study")


def forbid_training(monkeypatch) -> None:
    """Makes every further training step a failure."""

    def fit(*_, **__):
        raise AssertionError("a finished part is trained again")

    monkeypatch.setattr(training_run, "fit", fit)

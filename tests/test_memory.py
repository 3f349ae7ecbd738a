"""How many components fit: the estimate against compiled programs, and the sentence."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from experiments import command_line, memory
from experiments.run import Run
from vaelab.networks import MLP, ConditionalGaussian, ConvNet
from vaelab.priors import (
    GTM,
    GaussianMixture,
    GTMVampPrior,
    HierarchicalPrior,
    ResampledPrior,
    VampPrior,
)
from vaelab.training import train_step


def with_prior(prior) -> Run:
    experiment = command_line.load("digits_vae_elbo")
    model = experiment.model.clone(prior=prior)
    return Run.load(dataclasses.replace(experiment, model=model), None)


def digits(num_components: int) -> Run:
    return with_prior(GaussianMixture(2, num_components))


def test_components_that_do_not_fit_are_refused_with_the_number_that_would(monkeypatch):
    monkeypatch.setattr(memory, "_device_memory", lambda: 1e9)
    with pytest.raises(ValueError, match=r"at most about (\d+) components would fit") as error:
        digits(100_000_000)
    fitting = int(str(error.value).split("about ")[-1].split()[0])
    digits(fitting)
    with pytest.raises(ValueError, match="at most"):
        digits(int(1.01 * fitting))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("make", [GTM, partial(GTMVampPrior, shape=(8, 8, 1))])
def test_a_grid_that_does_not_fit_is_refused_with_the_size_that_would(monkeypatch, make, dim):
    monkeypatch.setattr(memory, "_device_memory", lambda: 1e9)
    load = lambda size: with_prior(make(latent_dim=2, grid_size=size, grid_dim=dim))  # noqa: E731
    with pytest.raises(ValueError, match=r"model.prior.grid_size = 10000000 needs about") as error:
        load(10_000_000)
    fitting = int(str(error.value).split("at most about ")[1].split()[0])
    assert 4 <= fitting < 1e6
    load(fitting)
    with pytest.raises(ValueError, match="would fit"):
        load(fitting + 1)


@pytest.mark.parametrize(
    ("prior", "place"),
    [
        (HierarchicalPrior(2, top=GaussianMixture(2, 10**9)), "top"),
        (ResampledPrior(2, proposal=GaussianMixture(2, 10**9)), "proposal"),
    ],
)
def test_a_mixture_within_a_prior_is_refused_too(prior, place):
    with pytest.raises(ValueError, match=f"model.prior.{place}.num_components = 1000000000 needs"):
        with_prior(prior)


DENSE = ConditionalGaussian(MLP((32,), event_ndims=3), dim=10)
CONVOLUTIONAL = ConditionalGaussian(ConvNet(channels=(8, 16)), dim=10)


@pytest.mark.parametrize(
    ("encoder", "prior", "field", "sizes", "within"),
    [
        (DENSE, GaussianMixture(10), "num_components", (1000, 2000), 1.5),
        (DENSE, VampPrior(10, (8, 8, 1)), "num_components", (1000, 2000), 1.5),
        # Convolutions have scratch memory of their own.
        (CONVOLUTIONAL, VampPrior(10, (8, 8, 1)), "num_components", (1000, 2000), 3.0),
        (DENSE, GTM(10), "grid_size", (30, 40), 1.5),
    ],
)
def test_the_estimate_is_near_what_the_compiled_step_takes(encoder, prior, field, sizes, within):
    experiment = command_line.load("digits_vae_elbo")
    splits = experiment.data.load(None)
    estimated, compiled = [], []
    for size in sizes:
        model = experiment.model.clone(encoder=encoder, prior=prior.clone(**{field: size}))
        run = Run(dataclasses.replace(experiment, model=model), splits)
        estimated.append(memory._needed(run, field, size, size)[0])
        state = jax.eval_shape(run.initial_state)
        step = partial(
            train_step, model=model, objective=experiment.objective, tx=run.transformation()
        )
        x = jax.ShapeDtypeStruct((experiment.batch_size, 8, 8, 1), "float32")
        analysis = jax.jit(step).lower(state, x, state.key).compile().memory_analysis()
        compiled.append(analysis.temp_size_in_bytes + analysis.argument_size_in_bytes)
    ratio = np.diff(compiled)[0] / np.diff(estimated)[0]
    assert 1 / within < ratio < within

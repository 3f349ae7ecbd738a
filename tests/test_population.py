"""Runs side by side are the runs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.constraints import RE
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal, VampPrior
from vaelab.training import population
from vaelab.training.duals import Geco
from vaelab.training.groups import transformation
from vaelab.training.objectives import ELBO, Lagrangian
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh
from vaelab.training.sources import in_memory
from vaelab.training.state import initial_state
from vaelab.training.step import compile_train_steps


@pytest.fixture
def hastily():
    """Compiling takes longer than running."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


SHAPE, NUM_STEPS = (2, 2, 1), 5
X = jax.random.uniform(jax.random.key(5), (7, *SHAPE))
SOURCE = in_memory(X, batch_size=3)  # the third and the fifth step start an epoch
SETTINGS = {
    "preprocess": lambda key, x: jax.random.bernoulli(key, x).astype(jnp.float32),
    "mesh": make_mesh(devices=jax.devices()[:1]),
}


def from_seeds(values):
    """Members that differ in their key alone, with an initialisation that looks at the data."""
    del values
    encoder = ConditionalGaussian(MLP((3,), event_ndims=3), dim=2)
    prior = VampPrior(2, encoder=encoder, shape=SHAPE, num_components=2, from_data=True)
    model = VAE(encoder=encoder, decoder=BernoulliDecoder(MLP((3,)), shape=SHAPE), prior=prior)
    return population.Setup(
        model,
        ELBO(),
        transformation(
            Adam(0.01), None, parameter_groups=model.parameter_groups, num_steps=100, scales={}
        ),
    )


def from_values(values):
    """Members with a κ, a learning rate and a λ of their own."""
    model = VAE(
        encoder=ConditionalGaussian(MLP((3,), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(MLP((3,)), shape=SHAPE),
        prior=StandardNormal(2),
    )
    constraint = RE(kappa=values["kappa"])
    tx = transformation(
        Adam(values["learning_rate"]),
        Geco(),
        parameter_groups=model.parameter_groups,
        num_steps=100,
        scales={"re": constraint.divisor(SHAPE)},
    )
    return population.Setup(model, Lagrangian({"re": constraint}), tx, values["multiplier"], 0.5)


MEMBERS = [
    {"kappa": 0.1, "learning_rate": 0.01, "multiplier": 1.0},
    {"kappa": 0.4, "learning_rate": 0.03, "multiplier": 5.0},
]


def values_of(members):
    """{name: [M]}."""
    return {name: jnp.array([member[name] for member in members]) for name in members[0]}


@pytest.mark.usefixtures("hastily")
@pytest.mark.parametrize(("members", "values"), [(from_seeds, [{}, {}]), (from_values, MEMBERS)])
def test_each_member_is_the_same_run_alone(members, values):
    keys = jax.random.split(jax.random.key(0), 2)
    together = population.initial_states(members, values_of(values), X, keys)
    run = population.compile_member_steps(members, **SETTINGS)
    together, metrics = run(together, values_of(values), SOURCE, num_steps=NUM_STEPS)
    assert metrics["loss"].shape == (2, NUM_STEPS)
    assert int(together.step) == NUM_STEPS
    for index, (key, value) in enumerate(zip(keys, values, strict=True)):
        model, objective, tx, multiplier, ema_decay = members(value)
        start = jax.jit(
            lambda key: initial_state(
                model, objective, tx, X, key, initial_multiplier=multiplier, ema_decay=ema_decay  # noqa: B023
            )
        )  # fmt: skip
        run_alone = compile_train_steps(model=model, objective=objective, tx=tx, **SETTINGS)
        alone, alone_metrics = run_alone(start(key), SOURCE, num_steps=NUM_STEPS)
        np.testing.assert_allclose(metrics["loss"][index], alone_metrics["loss"], rtol=1e-5)
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
            population.member((together.variables, together.opt_state, together.ema), index),
            (alone.variables, alone.opt_state, alone.ema),
        )

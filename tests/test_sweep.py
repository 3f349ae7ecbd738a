"""Runs side by side are the runs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.models import VAE
from vaelab.networks import MLP, BernoulliDecoder, ConditionalGaussian
from vaelab.priors.vamp import VampPrior
from vaelab.training import sweep
from vaelab.training.objectives import ELBO
from vaelab.training.optimisers import Adam, build
from vaelab.training.sharding import make_mesh
from vaelab.training.state import initial_state
from vaelab.training.step import compile_train_steps


@pytest.fixture
def hastily():
    """Compiling takes longer than running."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("hastily")
def test_each_member_is_the_run_with_its_key_alone():
    shape = (2, 2, 1)
    encoder = ConditionalGaussian(MLP((3,), event_ndims=3), dim=2)
    prior = VampPrior(2, encoder=encoder, shape=shape, num_components=2, from_data=True)
    model = VAE(encoder=encoder, decoder=BernoulliDecoder(MLP((3,)), shape=shape), prior=prior)
    tx, x = build(Adam(0.01), None, scales={}), jax.random.uniform(jax.random.key(5), (7, *shape))
    keys = jax.random.split(jax.random.key(0), 2)
    settings = {
        "batch_size": 3,  # the third and the fifth step start an epoch
        "model": model,
        "objective": ELBO(),
        "tx": tx,
        "preprocess": lambda key, x: jax.random.bernoulli(key, x).astype(jnp.float32),
        "mesh": make_mesh(devices=jax.devices()[:1]),
    }
    together = sweep.initial_states(model, ELBO(), tx, x, keys)
    together, metrics = sweep.compile_sweep_steps(**settings)(together, x, num_steps=5)
    assert metrics["loss"].shape == (2, 5)
    assert int(together.step) == 5
    run_alone = compile_train_steps(**settings)
    start_alone = jax.jit(lambda key: initial_state(model, ELBO(), tx, x, key))
    for index, key in enumerate(keys):
        alone, alone_metrics = run_alone(start_alone(key), x, num_steps=5)
        np.testing.assert_allclose(metrics["loss"][index], alone_metrics["loss"], rtol=1e-5)
        member = sweep.member(together.variables, index)
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
            (member, sweep.member(together.opt_state, index)),
            (alone.variables, alone.opt_state),
        )

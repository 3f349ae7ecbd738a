"""Training: a run is a function of its configuration and its data.

`checkpoint` and `metrics` need the extra `experiments` and are imported by their modules' names.

>>> import jax
>>> from vaelab import models, networks, priors
>>> from vaelab.data import bernoulli
>>> from vaelab.training.sharding import make_mesh, replicate
>>> model = models.VAE(
...     encoder=networks.ConditionalGaussian(networks.MLP((16,), event_ndims=3), dim=2),
...     decoder=networks.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
...     prior=priors.StandardNormal(2),
... )
>>> tx, x = transformation(Adam(1e-3), None, scales={}), jax.numpy.full((200, 8, 8, 1), 0.3)
>>> state = initial_state(model, ELBO(), tx, x, jax.random.key(0), initial_multiplier=1.0)
>>> mesh = make_mesh()
>>> run_steps = compile_train_steps(
...     model=model, objective=ELBO(), tx=tx, preprocess=bernoulli, mesh=mesh
... )
>>> state, source = replicate((state, in_memory(x, batch_size=50)), mesh)
>>> state, metrics = run_steps(state, source, num_steps=20)
>>> int(state.step), metrics["elbo"].shape  # of each step, nats
(20, (20,))
"""

from vaelab.training.loop import NonFiniteLossError, Schedule, fit
from vaelab.training.objectives import (
    ELBO,
    AnnealedVariance,
    DoublyReparameterised,
    ImportanceWeighted,
    Lagrangian,
    Objective,
    StickingTheLanding,
)
from vaelab.training.optimisers import Adam, Geco, NormalisedAdam, Rewo, transformation
from vaelab.training.samplers import Balanced, Sampler, Uniform
from vaelab.training.sources import InMemory, Source, in_memory
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import compile_train_steps, train_step, train_steps

__all__ = [
    "ELBO",
    "Adam",
    "AnnealedVariance",
    "Balanced",
    "DoublyReparameterised",
    "Geco",
    "ImportanceWeighted",
    "InMemory",
    "Lagrangian",
    "NonFiniteLossError",
    "NormalisedAdam",
    "Objective",
    "Rewo",
    "Sampler",
    "Schedule",
    "Source",
    "StickingTheLanding",
    "TrainState",
    "Uniform",
    "compile_train_steps",
    "fit",
    "in_memory",
    "initial_state",
    "train_step",
    "train_steps",
    "transformation",
]

"""Training steps, the loop, objectives, optimisers and duals.

Import `training.checkpoint` and `training.metrics` by their own names: they need the extra `runs`.

>>> import jax
>>> from vaelab import likelihoods, models, networks, priors
>>> from vaelab.data import bernoulli
>>> from vaelab.training.sharding import make_mesh, replicate
>>> model = models.VAE(
...     encoder=networks.ConditionalGaussian(networks.MLP((16,), event_ndims=3), dim=2),
...     decoder=likelihoods.BernoulliDecoder(networks.MLP((16,)), shape=(8, 8, 1)),
...     prior=priors.StandardNormal(2),
... )
>>> groups = model.parameter_groups
>>> tx = transformation(Adam(1e-3), None, parameter_groups=groups, num_steps=20, scales={})
>>> x = jax.numpy.full((200, 8, 8, 1), 0.3)
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

from vaelab.training.averaging import ParameterAverage, start_average, update_average
from vaelab.training.duals import Dual, Geco, NuPi, PiGeco, Projected, Rewo
from vaelab.training.groups import transformation
from vaelab.training.loop import fit
from vaelab.training.nonfinite import NonFiniteLossError
from vaelab.training.objectives import (
    ELBO,
    AnnealedVariance,
    DisARM,
    DoublyReparameterised,
    ImportanceWeighted,
    InfoVAE,
    Lagrangian,
    Objective,
    StickingTheLanding,
    SymmetricLearning,
)
from vaelab.training.optimisers import Adam, AdamW, NormalisedAdam, Optimiser
from vaelab.training.samplers import Balanced, Sampler, Uniform
from vaelab.training.schedules import Constant, Cosine, Schedule, Steps, WarmUp
from vaelab.training.sources import InMemory, Source, in_memory
from vaelab.training.state import TrainState, initial_state
from vaelab.training.step import compile_train_steps, train_step, train_steps
from vaelab.training.timetable import Timetable

__all__ = [
    "ELBO",
    "Adam",
    "AdamW",
    "AnnealedVariance",
    "Balanced",
    "Constant",
    "Cosine",
    "DisARM",
    "DoublyReparameterised",
    "Dual",
    "Geco",
    "ImportanceWeighted",
    "InMemory",
    "InfoVAE",
    "Lagrangian",
    "NonFiniteLossError",
    "NormalisedAdam",
    "NuPi",
    "Objective",
    "Optimiser",
    "ParameterAverage",
    "PiGeco",
    "Projected",
    "Rewo",
    "Sampler",
    "Schedule",
    "Source",
    "Steps",
    "StickingTheLanding",
    "SymmetricLearning",
    "Timetable",
    "TrainState",
    "Uniform",
    "WarmUp",
    "compile_train_steps",
    "fit",
    "in_memory",
    "initial_state",
    "start_average",
    "train_step",
    "train_steps",
    "transformation",
    "update_average",
]

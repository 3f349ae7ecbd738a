"""Every prior with each kind of gradient, the smallest and the largest latent space: one training step each.

Run as a program it takes the steps of `SEEDS` mapped over seeds, with the batch split over devices.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from test_priors import PRIORS, SHAPE, encoder

from vaelab.constraints import NLL
from vaelab.likelihoods import (
    BernoulliDecoder,
    CategoricalDecoder,
    DiscretisedLogisticDecoder,
    GaussianDecoder,
    LaplaceDecoder,
)
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.training import (
    ELBO,
    DoublyReparameterised,
    Geco,
    Lagrangian,
    Rewo,
    TrainState,
    train_step,
)
from vaelab.training.groups import transformation
from vaelab.training.optimisers import Adam
from vaelab.training.sharding import make_mesh, replicate
from vaelab.types import Saddle

NUM_DEVICES, BATCH_SIZE = 2, 4


@dataclasses.dataclass(frozen=True)
class Descent(Adam):
    """Gradient descent, of which a step is a continuous function of the gradient."""

    def build(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate)


LATENT_DIMS = (1, 512)  # test_priors has sizes between
DECODERS = {
    "bernoulli": BernoulliDecoder,
    "categorical": partial(CategoricalDecoder, levels=2),
    "gaussian": GaussianDecoder,
    "laplace, a scale a pixel": partial(LaplaceDecoder, per_pixel=True),
    "discretised logistic": partial(DiscretisedLogisticDecoder, levels=2),
}
# No batch meets these constraints, so that REWO holds the prior.
OBJECTIVES = {
    "elbo": (ELBO(), None),
    "dreg": (DoublyReparameterised(2), None),
    "geco": (Lagrangian({"nll": NLL(-1000.0)}), Geco()),
    "rewo": (Lagrangian({"nll": NLL(-1000.0)}), Rewo(initial_multiplier=2.0)),
}
FACTORS = (tuple(PRIORS), LATENT_DIMS, tuple(DECODERS), tuple(OBJECTIVES))


class Case(NamedTuple):
    prior: str
    latent_dim: int
    decoder: str
    objective: str

    @property
    def kind(self) -> str:
        """A prior's gradient is doubly reparameterised, or that of its rate, with and without λ."""
        return "dreg" if self.objective == "dreg" else "rate"

    @property
    def pairs(self) -> set:
        """The values that some code sees together. Each prior meets two of the decoders only."""
        of_the_prior = {(self.prior, self.latent_dim), (self.prior, self.kind)}
        return of_the_prior | {self[1::2], self[2:]}


def pairwise_cover(factors) -> list[Case]:
    """Cases that show every pair of `Case.pairs`. Each case is the one with most new pairs.

    Among equals it is the one whose prior has met its objective and its decoder least often.
    """
    candidates = [Case(*values) for values in itertools.product(*factors)]
    unseen, cover = set().union(*(case.pairs for case in candidates)), []

    def gain(case):
        same = [sum(case[i] == other[i] for other in cover) for i in (2, 3)]
        return len(case.pairs & unseen), -sum(same)

    while unseen:
        cover.append(max(candidates, key=gain))
        unseen -= cover[-1].pairs
    return cover


CASES = pairwise_cover(FACTORS)
MAPPED = {case.prior: case._replace(objective="geco") for case in CASES if case.kind == "rate"}
SEEDS = (0, 1)


def make(case: Case):
    """seed -> random variables, and the step (variables, x, key) -> (variables, metrics)."""
    objective, dual = OBJECTIVES[case.objective]
    model = VAE(
        encoder=encoder(case.latent_dim),
        decoder=DECODERS[case.decoder](MLP((4,), activation=jnp.tanh), shape=SHAPE),
        prior=PRIORS[case.prior](case.latent_dim),
    )
    scales = {name: constraint.divisor(SHAPE) for name, constraint in objective.constraints.items()}
    tx = transformation(
        Descent(1e-3), dual, parameter_groups=model.parameter_groups, num_steps=100, scales=scales
    )
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: model.init(key, batch(0), key))["params"]

    def variables(seed: int) -> Saddle:
        rng = np.random.default_rng(seed)
        draw = lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
        return Saddle(jax.tree.map(draw, shapes), {name: jnp.array(2.0) for name in scales})

    def step(variables, x, key):
        state = TrainState(jnp.array(0), key, variables, tx.init(variables), best=None)
        state, metrics = train_step(state, x, key, model=model, objective=objective, tx=tx)
        return state.variables, metrics

    return variables, step


def batch(seed: int) -> jax.Array:
    rng = np.random.default_rng(100 + seed)
    return jnp.asarray(rng.integers(0, 2, size=(BATCH_SIZE, *SHAPE)), jnp.float32)


@functools.cache
def steps(case: Case):
    """For each of `SEEDS` (variables before the step, variables after it, metrics)."""
    variables, step = make(case)
    step = jax.jit(step)
    return [
        (variables(seed), *step(variables(seed), batch(seed), jax.random.key(seed)))
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def stepped() -> dict:
    """The steps of all cases. Two threads compile them, each on a core."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(steps, CASES), strict=True))


def test_the_cases_show_every_pair_of_values():
    shown = [(case.prior, case.latent_dim) for case in CASES]
    assert sorted(shown) == sorted(itertools.product(PRIORS, LATENT_DIMS))
    shown = [(case.prior, case.kind) for case in CASES]
    assert sorted(shown) == sorted(itertools.product(PRIORS, ("dreg", "rate")))
    assert {case[2:] for case in CASES} == set(itertools.product(DECODERS, OBJECTIVES))
    assert {case[1::2] for case in CASES} == set(itertools.product(LATENT_DIMS, OBJECTIVES))
    assert all(sum(case.objective == name for case in CASES) >= 4 for name in OBJECTIVES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_is_finite_and_moves_what_it_should(case, stepped):
    for before, after, metrics in stepped[case]:
        for leaf in jax.tree.leaves((after, metrics)):
            assert np.all(np.isfinite(leaf))
        assert moved(before, after, "encoder") == moved(before, after, "decoder") == {True}
        if case.prior != "standard normal":
            frozen = case.objective == "rewo"
            assert (True in moved(before, after, "prior")) != frozen
        assert set(before.multipliers) == set(OBJECTIVES[case.objective][0].constraints)


def moved(before: Saddle, after: Saddle, part: str) -> set[bool]:
    """Whether the tensors of this part of the model have changed."""
    pairs = zip(*(jax.tree.leaves(v.params[part]) for v in (before, after)), strict=True)
    return {not np.array_equal(a, b) for a, b in pairs}


@pytest.mark.slow  # tests/test_sweep.py maps whole runs
def test_seeds_mapped_and_batches_split_change_nothing(command, tmp_path):
    path = tmp_path / "steps.npz"
    result = command(__file__, path, devices=NUM_DEVICES)
    assert result.returncode == 0, result.stderr
    mapped = np.load(path)
    for name, case in MAPPED.items():
        for index, (_, *alone) in enumerate(steps(case)):
            for number, leaf in enumerate(jax.tree.leaves(alone)):
                got = mapped[f"{name} {number}"][index]
                np.testing.assert_allclose(got, leaf, rtol=1e-4, atol=1e-5, err_msg=str(case))


def main(path: str) -> None:
    """Writes the leaves of the mapped steps of `MAPPED`, by the name of the prior and a number."""
    mesh = make_mesh()
    assert mesh.shape == {"sweep": 1, "data": NUM_DEVICES}
    batches = jnp.stack([batch(seed) for seed in SEEDS])
    batches = jax.device_put(batches, NamedSharding(mesh, PartitionSpec(None, "data")))
    keys = jnp.stack([jax.random.key(seed) for seed in SEEDS])

    def leaves(name):
        make_variables, step = make(MAPPED[name])
        variables = jax.tree.map(lambda *v: jnp.stack(v), *map(make_variables, SEEDS))
        mapped = jax.jit(jax.vmap(step))(replicate(variables, mesh), batches, replicate(keys, mesh))
        return {f"{name} {number}": leaf for number, leaf in enumerate(jax.tree.leaves(mapped))}

    with ThreadPoolExecutor(2) as pool:
        np.savez(path, **{k: v for part in pool.map(leaves, MAPPED) for k, v in part.items()})


if __name__ == "__main__":
    main(sys.argv[1])

"""A small experiment, whose programs compile quickly, and what tells its states apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data
from vaelab.constraints import NLL
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import VAE
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.priors import StandardNormal
from vaelab.runs import Experiment
from vaelab.training import ELBO, Adam, Lagrangian
from vaelab.training.duals import Geco

SHAPE = (4, 4, 1)
_RNG = np.random.default_rng(0)
# Pixels that are nearly constant, so that a few steps learn them.
X = (_RNG.uniform(size=(70, *SHAPE)) < _RNG.choice([0.1, 0.9], size=SHAPE)).astype(np.float32)
TRAIN, VALIDATION, TEST = X[:50], X[50:60], X[60:]


def source(x=TRAIN) -> data.Arrays:
    """Three parts of the images."""
    return data.Arrays(x, validation=VALIDATION, test=TEST)


def small_model(**changes) -> VAE:
    parts = dict(
        encoder=ConditionalGaussian(MLP((4,), event_ndims=3), dim=2),
        decoder=BernoulliDecoder(MLP((4,)), shape=SHAPE),
        prior=StandardNormal(2),
    )
    return VAE(**parts | changes)


def elbo(**changes) -> Experiment:
    """The ELBO, without early stopping."""
    fields = dict(
        data=source(), model=small_model(), objective=ELBO(), optimiser=Adam(0.02), batch_size=10,
        num_steps=20, log_every=5, evaluate_every=10, num_samples=5, num_test=4, posterior_samples=2,
        prior_samples=2,
    )  # fmt: skip
    return Experiment(**fields | changes)


def constrained(**changes) -> Experiment:
    """The rate under one constraint, by GECO."""
    fields = dict(objective=Lagrangian({"nll": NLL(0.5)}), dual=Geco())
    return dataclasses.replace(elbo(), **fields | changes)


def bits(tree: Any) -> dict[str, tuple]:
    """{path: type, shape and bytes} of every array of a tree, its keys' data among them."""

    def raw(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        return str(array.dtype), array.shape, array.tobytes()

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): raw(leaf) for path, leaf in leaves}


def assert_close(ours: Any, theirs: Any, **tolerance) -> None:
    """Every array of two trees, to a tolerance."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)

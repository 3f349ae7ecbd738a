"""What tells one run from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vaelab.data.arrays import digest
from vaelab.runs.experiment import EVALUATION_FIELDS
from vaelab.types import PyTree


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that must be equal for a run to continue.

    All but its length, its evaluation, and how many bad steps end it.
    """
    free = ("num_steps", "nonfinite_limit", *EVALUATION_FIELDS)
    return {name: value for name, value in plain(record).items() if name not in free}


def plain(record: Any) -> Any:
    """A record as a file holds it: lists, no tuples."""
    return json.loads(json.dumps(record))


def digest_of(tree: PyTree) -> str:
    """A digest of the arrays of a tree: their places, shapes, types and values."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    parts = [(jax.tree_util.keystr(path), digest(np.asarray(leaf))) for path, leaf in leaves]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def generator() -> str:
    """JAX's random number generator, which numbers depend on."""
    return str(jax.random.key_impl(jax.random.key(0)))

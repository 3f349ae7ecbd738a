"""What tells one run from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vaelab.runs.experiment import EVALUATION_FIELDS
from vaelab.types import PyTree


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the one it is: neither its length nor how it is evaluated."""
    free = ("num_steps", *EVALUATION_FIELDS)
    return {name: value for name, value in plain(record).items() if name not in free}


def plain(record: Any) -> Any:
    """A record as a file holds it: lists, no tuples."""
    return json.loads(json.dumps(record))


def digest_of(tree: PyTree) -> str:
    """What tells arrays from others."""
    content = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        content.update(np.ascontiguousarray(leaf).data.cast("B"))
    return content.hexdigest()[:16]


def generator() -> str:
    """JAX's random number generator, which numbers depend on."""
    return str(jax.random.key_impl(jax.random.key(0)))

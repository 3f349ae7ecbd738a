"""Which types and functions a record may name: those that hold numbers or compute, and none that acts."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np

# Packages that vaelab itself has imported; their functions serve as activations and the like.
TRUSTED = ("vaelab", "jax", "flax")
# Some of vaelab's other packages write files. Of these two the types are configurations, the functions are not.
_OF_TYPES = {"data", "training"}
_OF_PARTS = {"constraints", "likelihoods", "models", "networks", "priors", "saddle"}
_EXPERIMENT = "vaelab.runs.experiment"
_WRITING = "vaelab.networks.frozen"  # its types read, its functions write
# Modules of functions that compute. They hold some functions that read, or that call any function.
_COMPUTING = (
    "jax.nn", "jax.nn.initializers", "jax.numpy", "jax.scipy.special", "jax.lax", "flax.linen",
    "flax.linen.initializers",
)  # fmt: skip
_READING = {
    "load", "save", "savez", "savez_compressed", "fromfile", "fromfunction", "fromiter", "fromstring",
    "frombuffer", "from_dlpack", "frompyfunc", "vectorize", "piecewise", "apply_along_axis",
    "apply_over_axes", "printoptions", "set_printoptions", "get_printoptions",
}  # fmt: skip


def module_of(found: Any) -> str:
    """The module that defines a type or function. Empty if it does not say."""
    module = getattr(found, "__module__", None)
    return module if isinstance(module, str) else ""


def is_part(found: Any) -> bool:
    """True for a type whose construction only holds its fields, and for a function that only computes.

    Types and functions of other packages are those of modules that the user named.

    >>> from vaelab.networks import MLP
    >>> is_part(MLP), is_part(jnp.tanh), is_part(jnp.load)
    (True, True, False)
    """
    module = module_of(found)
    package, _, rest = module.partition(".")
    if package not in TRUSTED:
        return True
    if package == "vaelab":
        part = rest.partition(".")[0]
        if isinstance(found, type):
            known = part in _OF_PARTS | _OF_TYPES or module == _EXPERIMENT
            return known and _holds_fields(found)
        return part in _OF_PARTS and module != _WRITING
    if isinstance(found, type):
        return module.startswith("flax.linen") and _holds_fields(found)
    modules = [sys.modules[name] for name in _COMPUTING if name in sys.modules]
    return getattr(found, "__name__", "") not in _READING and any(
        found is value for computing in modules for value in vars(computing).values()
    )


def is_number_type(found: type) -> bool:
    """True for a type of numbers of JAX, such as `jnp.float32`.

    >>> is_number_type(jnp.bfloat16), is_number_type(jnp.ufunc)
    (True, False)
    """
    return isinstance(found, type(jnp.float32)) or issubclass(found, np.generic)


def _holds_fields(found: type) -> bool:
    return dataclasses.is_dataclass(found) or hasattr(found, "_fields")

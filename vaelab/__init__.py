"""Variational autoencoders with learned priors, trained under constraints, in JAX.

`import vaelab` imports nothing. `vaelab.train`, `vaelab.load`, `vaelab.losses`, `vaelab.priors` and the
other parts are imported when they are first used. `from vaelab import losses, saddle` loads neither Flax
nor distrax.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as that of `typing`, which is not imported
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.2.0"

_PACKAGES = (
    "constraints", "data", "evaluation", "geometry", "likelihoods", "losses", "models", "natural",
    "networks", "plotting", "priors", "runs", "saddle", "theory", "training", "types",
)  # fmt: skip
_NAMES = {
    "Experiment": "runs",
    "load": "runs",
    "train": "runs",
    "DamagedFileError": "checks",
    "MissingFileError": "checks",
    "MissingPackageError": "checks",
    "UndefinedError": "checks",
    "UsageError": "checks",
}
__all__ = [*_PACKAGES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(_import(_NAMES[name]), name)
    if name in _PACKAGES:
        return _import(name)
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _import(name: str) -> Any:
    try:
        return importlib.import_module(f"vaelab.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "vaelab":
            raise
        raise _import("checks").MissingPackageError.of(error, f"vaelab.{name}") from error

"""Models have parameters and no other state: a check of the networks inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn

from vaelab.checks import UsageError


@contextlib.contextmanager
def only_parameters(module: nn.Module) -> Iterator[None]:
    """Raises one sentence if a network inside keeps state or draws noise of its own.

    Checks while the parameters of `module` are initialised, and costs nothing otherwise.

    Raises:
      UsageError: nn.BatchNorm, nn.Dropout or the like.
    """
    if not module.is_initializing():
        yield
        return
    with nn.intercept_methods(_refuse_dropout):
        yield
    state = sorted(set(module.variables) - {"params"})
    if state:
        raise UsageError(
            f"a network inside {type(module).__name__} keeps the state {', '.join(state)} beside its "
            "parameters: use nn.LayerNorm or nn.GroupNorm in the place of nn.BatchNorm."
        )


def _refuse_dropout(
    call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    module = context.module
    if isinstance(module, nn.Dropout) and module.rate and not module.deterministic:
        raise UsageError(
            f"the network {'/'.join(module.path)} is nn.Dropout, whose noise would change the "
            "model's densities: leave it out, or set deterministic = True."
        )
    return call(*args, **kwargs)

"""Whether a training step fits into the device's memory, before anything is allocated."""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Sharding

from vaelab.checks import UsageError, out_of_memory
from vaelab.untrusted import host_memory


def placed(tree: Any, shardings: Sharding | Any) -> Any:
    """The shapes of a tree of arrays or shapes, as they lie on the devices: in one way, or each in its own."""
    shapes = jax.eval_shape(lambda tree: tree, tree)
    if isinstance(shardings, Sharding):
        shardings = jax.tree.map(lambda _: shardings, shapes)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding, weak_type=leaf.weak_type
        ),
        shapes,
        shardings,
    )


def check_fits(run_steps: Any, *arguments: Any, num_steps: int) -> Callable[[], None]:
    """Compiles `run_steps(*arguments, num_steps=num_steps)` in a thread. The result waits for it.

    The arguments are trees of shapes, made by `placed`. The answer is the compiler's, and JAX keeps the
    program for the first call with such arguments. Mistakes in the program show here, while it is traced.

    Raises:
      UsageError: the program does not fit, here or when the result is called: one sentence.
    """
    limit = device_memory()
    needed = sum(map(_bytes, jax.tree.leaves(arguments)))
    if needed > limit:  # a program whose arguments do not fit is not compiled
        raise _too_large(needed, limit)
    lowered = run_steps.lower(*arguments, num_steps=num_steps)
    thread = concurrent.futures.ThreadPoolExecutor(1, "compile")
    compiled = thread.submit(lowered.compile)
    thread.shutdown(wait=False)

    def wait() -> None:
        try:
            needed = _needed(compiled.result().memory_analysis())
        except jax.errors.JaxRuntimeError as error:
            if not out_of_memory(error):
                raise
            needed = math.inf  # some compilers refuse by themselves
        if needed > limit:
            raise _too_large(needed, limit)

    return wait


def _too_large(needed: float, limit: float) -> UsageError:
    size = f"about {needed / 2**30:.3g}" if math.isfinite(needed) else "more"
    return UsageError(
        f"a training step needs {size} GiB of memory, and the device has {limit / 2**30:.3g}: "
        "choose a smaller model (for a mixture prior fewer components), a smaller batch_size, "
        "fewer samples, or in a sweep fewer members."
    )


def _needed(analysis: Any) -> float:
    """Bytes of one device while the program runs; 0 where the compiler does not know."""
    if analysis is None:
        return 0.0
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes  # outputs that lie where arguments were
        + analysis.temp_size_in_bytes
    )


def _bytes(leaf: jax.ShapeDtypeStruct) -> float:
    """Bytes of an array's part on one device."""
    assert leaf.sharding is not None
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def device_memory() -> float:
    """Bytes of one device; a CPU has the machine's."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return host_memory()

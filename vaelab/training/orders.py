"""The order of a streamed training set: the rows of each step, known ahead of the step."""

from __future__ import annotations

import concurrent.futures
import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.streams import Stream
from vaelab.training.samplers import Sampler
from vaelab.training.state import ORDER
from vaelab.types import Array, PRNGKey, PyTree

_BLOCK = 1024  # steps whose rows are drawn at once


class Order:
    """The rows that a sampler draws for any step, as a training step in memory draws them.

    They are drawn on the CPU, a block of steps ahead, by a thread of its own: a program that is called while
    a training step runs on the CPU waits for that step.
    """

    def __init__(self, sampler: Sampler, stream: Stream, seeds: np.ndarray, batch_size: int):
        self._sizes = {"num_examples": stream.num_examples, "batch_size": batch_size}
        self._sampler, self._seeds = sampler, seeds
        self._plan = sampler.plan(stream, batch_size)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "order")
        self._blocks: dict[int, concurrent.futures.Future] = {}
        self._carry: tuple[int, PyTree] = (-1, None)  # and the block that it is carried into
        self._lock = threading.Lock()

    def rows(self, step: int) -> np.ndarray:
        """The rows of this step, [S, B], for each of S seeds. Safe in several threads."""
        index = step // _BLOCK
        with self._lock:
            for each in (index, index + 1):
                if each not in self._blocks:
                    self._blocks[each] = self._thread.submit(self._draw, each)
            block = self._blocks[index]
            for old in [each for each in self._blocks if each < index - 1]:
                del self._blocks[old]
        return block.result()[:, step % _BLOCK]

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _draw(self, index: int) -> np.ndarray:
        with jax.default_device(_cpu()):
            keys = jax.vmap(jax.random.key)(jnp.asarray(self._seeds, jnp.int32))
            step = jnp.asarray(index * _BLOCK, jnp.int32)
            at, carry = self._carry
            if at != index:
                carry = self._start(self._plan, keys, step)
            rows, carry = self._steps(self._plan, carry, keys, step)
            self._carry = (index + 1, carry)
            return np.asarray(rows)

    @functools.cached_property
    def _start(self):
        def start(plan: PyTree, key: PRNGKey, step: Array) -> PyTree:
            key = jax.random.fold_in(key, ORDER)
            return self._sampler.start(plan, key, step, **self._sizes)

        return jax.jit(jax.vmap(start, in_axes=(None, 0, None)))

    @functools.cached_property
    def _steps(self):
        def steps(plan: PyTree, carry: PyTree, key: PRNGKey, step: Array):
            key = jax.random.fold_in(key, ORDER)

            def body(carry, step):
                rows, carry = self._sampler.rows(plan, carry, key, step, **self._sizes)
                return carry, rows

            carry, rows = jax.lax.scan(body, carry, step + jnp.arange(_BLOCK, dtype=jnp.int32))
            return rows, carry

        return jax.jit(jax.vmap(steps, in_axes=(None, 0, 0, None)))


def _cpu() -> jax.Device:
    """A CPU of this process, or what there is in its place."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS may leave the CPU out
        return jax.local_devices()[0]

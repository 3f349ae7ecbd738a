"""The processes of one training, one for each host. Every process does the same work in the same order.

Only the primary process writes files, draws and prints. A single process is the primary.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from vaelab.checks import UsageError

HEARTBEAT_SECONDS = 30
"""Seconds without a heartbeat after which a process counts as dead. Then the other processes end."""
_TEXT_BYTES = 2048


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the processes of one training. To be called once in each, before JAX computes anything.

    A TPU pod, Slurm and MPI know all three. Elsewhere they are given here, or by the variables
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Args:
      coordinator: host:port of process 0.
      num_processes: number of processes.
      process_id: number of this process, from 0.

    Raises:
      UsageError: numbers are missing or wrong, or the others cannot be reached.
    """
    environment = os.environ.get
    coordinator = coordinator or environment("JAX_COORDINATOR_ADDRESS")
    num_processes = _number("JAX_NUM_PROCESSES", num_processes)
    process_id = _number("JAX_PROCESS_ID", process_id)
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UsageError(f"coordinator must be HOST:PORT, got {coordinator!r}.")
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise UsageError(
            f"process_id must be from 0 to {num_processes - 1}, got {process_id}: there are "
            f"{num_processes} processes."
        )
    if coordinator is not None:
        print(
            f"waiting for {num_processes or 'all'} processes at {coordinator}; after five minutes this "
            "process ends.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    # Collectives of CPUs. Preemption is handled by the training itself.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(
            f"the processes could not be joined ({reason}): name coordinator (HOST:PORT of process 0), "
            "num_processes and process_id, and start all processes."
        ) from error


def count() -> int:
    """Number of processes."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_primary() -> bool:
    """True in the process that writes files, draws and prints."""
    return count() == 1 or jax.process_index() == 0


def gather(values: np.ndarray) -> np.ndarray:
    """The array of each process, [number of processes, ...]. All have the same shape."""
    if count() == 1:
        return np.asarray(values)[None]
    return np.asarray(multihost_utils.process_allgather(np.asarray(values)))


def any_of(flag: bool) -> bool:
    """True if the flag is true in any process. No process returns before all have called it."""
    return bool(gather(np.asarray(flag)).any())


def barrier() -> None:
    """Returns when every process has called it. Files that were read before may be overwritten afterwards."""
    any_of(False)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """If one process raises in the block, all processes raise. The block must not communicate.

    Raises:
      UsageError: the sentence of another process.
    """
    if count() == 1:
        yield
        return
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    raise_together(own)


def raise_together(own: Exception | None) -> None:
    """Raises the error of this process. Without one, raises the first sentence of another process.

    Raises:
      UsageError: the sentence of another process.
    """
    text = "" if own is None else (str(own) or type(own).__name__)
    encoded = np.frombuffer(text.encode()[:_TEXT_BYTES].ljust(_TEXT_BYTES, b"\0"), np.uint8)
    if count() > 1:
        texts = [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in gather(encoded)]
    if own is not None:
        raise own
    if count() > 1 and any(texts):
        raise UsageError(next(filter(None, texts)))


def check_equal(step: int, place: str) -> None:
    """Raises in all processes if they found different steps in a folder.

    Raises:
      UsageError: the processes see different folders.
    """
    steps = gather(np.asarray(step)).tolist()
    if len(set(steps)) > 1:
        raise UsageError(
            f"workdir {place} holds different checkpoints in different processes (steps {steps}): choose "
            "a folder that all hosts share."
        )


@contextlib.contextmanager
def in_primary(context: contextlib.AbstractContextManager) -> Iterator[None]:
    """Enters a context in the primary process. If it is refused there, all processes refuse."""
    with contextlib.ExitStack() as stack:
        with together():
            if is_primary():
                stack.enter_context(context)
        yield


class Agreement:
    """What the processes agree on between two dispatches, without waiting for the devices.

    A call returns what the call before it agreed on. So the devices never wait, and every process
    decides the same.
    """

    def __init__(self) -> None:
        self._pending: jax.Array | None = None

    def __call__(self, *numbers: int) -> list[int]:
        """The largest of each number in any process at the call before, 0 at the first call.

        In a single process the numbers themselves.
        """
        if count() == 1:
            return list(numbers)
        before, self._pending = self._pending, _gathered(numbers)
        return [0] * len(numbers) if before is None else np.asarray(before).max(axis=0).tolist()


def _gathered(numbers: tuple[int, ...]) -> jax.Array:
    """The numbers of all processes, as an array that may not be computed yet."""
    devices = [
        next(d for d in jax.devices() if d.process_index == p) for p in range(jax.process_count())
    ]
    mesh = jax.sharding.Mesh(np.array(devices), ("process",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("process"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shape = (len(devices), len(numbers))
    own = jax.make_array_from_callback(shape, split, lambda _: np.array([numbers], np.int32))
    return jax.jit(_same, out_shardings=whole)(own)


def _same(numbers: jax.Array) -> jax.Array:
    return numbers


def sentence_of_loss(error: Exception) -> str | None:
    """The sentence if an error means that another process has ended. None for other errors."""
    text = str(error)
    signs = (
        "Gloo",
        "Connection closed",
        "heartbeat",
        "coordination service",
        "UNAVAILABLE",
        "barrier",
    )
    if count() == 1 or isinstance(error, UsageError) or not any(sign in text for sign in signs):
        return None
    return (
        "another process of this training has ended or cannot be reached: its own last message says "
        "why, and the same command in all processes continues from the last checkpoint."
    )


def end_without_the_others(code: int) -> None:
    """Ends this process at once if there are others. Python's exit would wait for them."""
    if count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _number(variable: str, given: int | None) -> int | None:
    if given is not None:
        return given
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{variable} must be a whole number, got {text!r}.") from None

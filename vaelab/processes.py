"""The processes of one training, one for each host. Every process does the same work in the same order.

Only the primary process writes files, draws and prints. A single process is the primary.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from vaelab.checks import UsageError
from vaelab.untrusted import reason_of

HEARTBEAT_SECONDS = 30
"""Seconds without a heartbeat after which a process counts as dead. Then the other processes end."""
JOIN_SECONDS = 120
"""Seconds after which a process that waits for the others at the start ends."""
_TEXT_BYTES = 2048

T = TypeVar("T")


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the processes of one training. To be called once in each, before JAX computes anything.

    A TPU pod, Slurm and MPI know all three. If the others do not come within `JOIN_SECONDS`, this process
    ends with a sentence and exit code 2.

    Args:
      coordinator: host:port of process 0. None takes $JAX_COORDINATOR_ADDRESS.
      num_processes: number of processes.
      process_id: number of this process, from 0.

    Raises:
      UsageError: numbers are missing or wrong.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UsageError(f"coordinator must be HOST:PORT, got {coordinator!r}.")
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise UsageError(
            f"process_id must be from 0 to {num_processes - 1}, got {process_id}: there are "
            f"{num_processes} processes."
        )
    # Collectives of CPUs. Preemption is handled by the training itself.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)
    everyone = "all processes" if num_processes is None else f"{num_processes} processes"
    where = "" if coordinator is None else f" at {coordinator}"
    own = "" if process_id is None else f" (this is process {process_id})"
    print(f"waiting for {everyone}{where}{own}", file=sys.stderr, flush=True)
    try:
        with _ending_after(JOIN_SECONDS, f"{everyone} did not come{where}"):
            jax.distributed.initialize(
                coordinator,
                num_processes,
                process_id,
                initialization_timeout=10 * JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            )
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"the processes could not be joined ({reason_of(error)}): name coordinator "
            "(HOST:PORT of process 0), num_processes and process_id, and start all processes."
        ) from error


@contextlib.contextmanager
def _ending_after(seconds: float, what: str) -> Iterator[None]:
    """Ends the process if the block takes longer. JAX would abort it without a sentence."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            print(
                f"error: {what} within {seconds:g} s: start the same command on each host, or correct "
                "--coordinator.",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            os._exit(2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


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
def agreeing_on_errors() -> Iterator[None]:
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
    raise_in_all(own)


def raise_in_all(own: Exception | None) -> None:
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


def check_same_step(step: int, place: str) -> None:
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


def check_same_start(checksum: int) -> None:
    """Raises in all processes if their first states differ. No process returns before all have called it.

    Raises:
      UsageError: the checksums of the states are not equal.
    """
    if len(set(gather(np.asarray(checksum, np.uint32)).tolist())) > 1:
        raise UsageError(
            "the first states of the processes differ, as hosts of different kinds may round differently: "
            "use hosts of one kind, or start from the parameters of a run (start=, or --start-from)."
        )


@contextlib.contextmanager
def in_primary(context: contextlib.AbstractContextManager[T]) -> Iterator[T | None]:
    """Enters a context in the primary process; others get None. If it is refused there, all processes refuse."""
    value = None
    with contextlib.ExitStack() as stack:
        with agreeing_on_errors():
            if is_primary():
                value = stack.enter_context(context)
        yield value


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

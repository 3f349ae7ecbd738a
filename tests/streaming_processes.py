"""What one process does in tests/test_streaming_processes.py: it trains and sweeps, streamed.

Arguments: the number of the process, of the processes and of the coordinator's port.
"""

from __future__ import annotations

import dataclasses
import json
import sys

import jax
import numpy as np
import small

from vaelab import processes, runs
from vaelab.runs.programs import Program
from vaelab.runs.run import Run
from vaelab.streams import ArrayStream

MEMBERS = runs.grid({"seed": [0, 1]})


def experiment():
    return small.elbo(data=small.source(), batch_size=16, num_steps=12, log_every=4)


def histories(streaming: bool) -> list:
    """The metrics of a run, and of two members."""
    settings = dict(streaming=streaming, progress=False)
    members = runs.train(experiment(), members=MEMBERS, **settings)
    return [each.history.rows for each in (runs.train(experiment(), **settings), *members)]


class Counted(ArrayStream):
    """Counts the rows of each batch that this process reads."""

    counts: list[int] = []  # noqa: RUF012  of all instances

    def rows(self, rows):
        self.counts.append(len(rows))
        return super().rows(rows)


def windows_hold_the_batches() -> bool:
    """True if the parts of the first window that lie here are those of the whole batches."""
    run = Run.load(experiment(), streaming=True)
    program = Program(dataclasses.replace(run, stream=Counted(run.splits.train)))
    with program.feed(program.mesh()) as feed:
        window, steps = next(feed.parts(0, 4))
        rows = np.stack([feed._order.rows(step)[0] for step in range(steps)])
        whole = run.splits.train.x[rows]
        return all(
            np.array_equal(np.asarray(shard.data)[0, :steps], whole[shard.index[1:]])
            for shard in window.examples.x.addressable_shards
        )


def main(process: str, num_processes: str, port: str) -> None:
    if num_processes != "1":
        processes.initialize(f"localhost:{port}", int(num_processes), int(process))
    found = {
        "histories": histories(streaming=True),
        "hold": windows_hold_the_batches(),
        "read": max(Counted.counts),
        "devices": jax.device_count(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

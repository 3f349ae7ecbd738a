"""Machines, and the time that a step needs on them at least."""

from __future__ import annotations

import math
from typing import NamedTuple

from experiments.scaling.work import Work


class Chip(NamedTuple):
    """One accelerator, with its published numbers."""

    name: str
    flops: float
    """Highest FLOP/s of float32 products at the default precision of JAX."""
    memory: float
    """Bytes of its memory."""
    bandwidth: float
    """Bytes per second of its memory."""

    def seconds(self, work: Work) -> float:
        """Time of the work, if computing and moving overlap."""
        return max(work.flops / self.flops, work.moved / self.bandwidth)


class Machine(NamedTuple):
    """Chips that are connected as a torus, or all with all."""

    name: str
    chip: Chip
    shape: tuple[int, ...]
    """Number of chips along each axis of the connections."""
    link: float
    """Bytes per second that a chip sends to its neighbours along one axis."""
    latency: float
    """Seconds of one hop."""

    @property
    def num_chips(self) -> int:
        return math.prod(self.shape)

    def all_reduce(self, num_bytes: float) -> float:
        """Seconds of a ring all-reduce: 2 (n − 1)/n · bytes/link, and 2 (n − 1) hops along each axis in turn.

        After the first axis of n chips each chip holds 1/n of the sums, which the next axis reduces.
        """
        seconds, part = 0.0, num_bytes
        for n in self.shape:
            seconds += 2 * (n - 1) * (part / n / self.link + self.latency)
            part /= n
        return seconds


# Cloud TPU documentation, "TPU v5e" and "TPU v5p"; NVIDIA H200 data sheet (without sparsity). Float32
# products at the default precision are bfloat16 products on a TPU, and TF32 products on an H200.
V5E = Chip("TPU v5e", flops=197e12, memory=16e9, bandwidth=819e9)
V5P = Chip("TPU v5p", flops=459e12, memory=95e9, bandwidth=2765e9)
H200 = Chip("H200", flops=494e12, memory=141e9, bandwidth=4.8e12)

# 400 GB/s over 4 ports and 1,200 GB/s over 6 ports are both directions: a link sends half of its port's. A
# ring uses the two ports of an axis. "v5p-256" counts two cores a chip. The latencies are assumptions: about
# a microsecond for a hop between TPUs, and two between GPUs through a switch.
MACHINES = (
    Machine("v5e-8", V5E, (2, 4), link=2 * 50e9, latency=1e-6),
    Machine("v5p-256", V5P, (4, 4, 8), link=2 * 100e9, latency=1e-6),
    Machine("8×H200", H200, (8,), link=450e9, latency=2e-6),
)

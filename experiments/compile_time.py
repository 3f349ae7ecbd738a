"""Time to compile a training step of the deep hierarchy: scanned levels beside unrolled ones.

Time is that of the CPU, summed over its cores: other programs on the machine hardly change it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from etils import epath
from jax.experimental.compilation_cache import compilation_cache

from experiments.study import main
from vaelab import plotting
from vaelab.checks import UsageError, check_at_least_one, check_sizes
from vaelab.cli import parsing
from vaelab.likelihoods import BernoulliDecoder
from vaelab.models import DeepHierarchy
from vaelab.networks import Identity
from vaelab.priors import StandardNormal
from vaelab.runs.files import write_figure, write_json

_X = jnp.zeros((100, 28, 28, 1))


@dataclasses.dataclass(frozen=True)
class CompileTime(parsing.Command):
    """Compiles training steps of several depths. Leaves compile_time.json and compile_time.png."""

    levels: tuple[int, ...] = (5, 10, 20, 40)
    """Numbers of levels below the vector on top. Half of them are 7×7 maps."""
    rounds: int = 3
    """Number of rounds; the plot shows their medians."""
    unrolled: bool = True
    """True also compiles each level as a program of its own."""
    workdir: str = "runs/compile_time"
    """Folder of the results."""

    def __post_init__(self) -> None:
        check_sizes(levels=self.levels)
        check_at_least_one(rounds=self.rounds)
        smallest = min(self.levels, default=0)
        if smallest < 2:
            raise UsageError(f"levels must be at least 2, got {smallest}.")

    def run(self) -> None:
        programs = {"scanned": False} | ({"unrolled": True} if self.unrolled else {})
        seconds = {name: {num: list[float]() for num in self.levels} for name in programs}
        folder = epath.Path(self.workdir).expanduser()
        with no_program_cache():
            for _, (name, unroll), num in itertools.product(
                range(self.rounds), programs.items(), self.levels
            ):
                seconds[name][num].append(compile_seconds(num, unroll=unroll))
                print(f"{name}, {num} levels: {seconds[name][num][-1]:.1f} s", file=sys.stderr)
        machine = {
            "device": jax.devices()[0].device_kind,
            "cpus": os.cpu_count(),
            "jax": jax.__version__,
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "compile_time.json", {"machine": machine, "seconds": seconds})
        figure = plotting.growth(
            seconds, size="levels", cost="CPU seconds", title="Time to compile a training step",
            note=f"{machine['device']}, jax {jax.__version__}, rounds: {self.rounds}",
        )  # fmt: skip
        write_figure(folder / "compile_time.png", figure)
        print(f"the plot is {folder / 'compile_time.png'}")


@contextlib.contextmanager
def no_program_cache() -> Iterator[None]:
    """Programs are compiled and not read from a folder: a second round would measure the reading."""
    config: Any = jax.config
    enabled = config.jax_enable_compilation_cache
    try:
        config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()  # JAX asks once whether there is a cache
        yield
    finally:
        config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()


def compile_seconds(num_levels: int, *, unroll: bool) -> float:
    """CPU seconds from the model to the compiled training step."""
    upper = num_levels // 2
    model = DeepHierarchy(
        BernoulliDecoder(Identity(), shape=_X.shape[1:]),
        StandardNormal(latent_dim=40),
        num_levels=(upper, num_levels - upper),
        unroll=unroll,
    )
    tx, key = optax.adam(1e-3), jax.random.key(0)
    params = jax.eval_shape(model.init, key, _X, key)["params"]

    def step(params, state, x, key):
        loss = lambda params: -jnp.mean(model.at(params)(x, key).log_weights)  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state = jax.eval_shape(tx.init, params)
    jax.clear_caches()
    start = time.process_time()
    jax.jit(step).lower(params, state, _X, key).compile()
    return time.process_time() - start


if __name__ == "__main__":
    main(CompileTime)

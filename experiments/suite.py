"""Runs a list of experiments and keeps their table: `python -m experiments.suite SUITE`.

Each run has a folder of its own below `--workdir`; the same command goes on where it was
interrupted, and leaves finished runs alone. A finished run is a row of the table in
experiments/README.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from etils import epath

from experiments import command_line, results, train
from vaelab.checks import UsageError, check_at_least_one
from vaelab.runs import workdir


@dataclasses.dataclass(frozen=True)
class Suite:
    """Experiments that belong together."""

    description: str
    published: Mapping[str, str]
    """per experiment, what the literature reports; empty where it reports nothing comparable"""


SUITES = {
    "mnist_priors": Suite(
        "priors under the protocol of the VampPrior line, one level, z = 40",
        {
            "dynamic_mnist_standard": "−84.45 ± .12",
            "dynamic_mnist_mixture": "",
            "dynamic_mnist_vamp": "−82.43 ± .06",
            "dynamic_mnist_flow": "",
            "dynamic_mnist_vhp_rewo": "",
            "static_mnist_standard": "",
            "static_mnist_mixture": "",
            "static_mnist_vamp": "−85.57",
            "static_mnist_flow": "",
            "static_mnist_vhp_rewo": "",
        },
    )
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains and evaluates a suite's experiments one after the other; the same command resumes."""

    suite: tyro.conf.Positional[str]
    """name of the suite"""
    only: tuple[str, ...] = ()
    """experiments to run; default all of the suite"""
    seeds: int = 1
    """runs of each experiment, with the seeds 0, 1, ..."""
    num_steps: int | None = None
    """shortens every run; its row says so, and carries no comparison"""
    num_test: int | None = None
    """test images for log p(x); default all"""
    workdir: str | None = None
    """folder for the runs; default runs/<suite>"""
    data_dir: str | None = None
    """folder of the data files; default $VAELAB_DATA, else ~/.cache/vaelab"""
    table: str = str(Path(__file__).with_name("README.md"))
    """file with the table of results"""

    def __post_init__(self) -> None:
        _check_name("suite", self.suite, SUITES)
        for name in self.only:
            _check_name("only", name, SUITES[self.suite].published)
        check_at_least_one(seeds=self.seeds, num_steps=self.num_steps)


def main(arguments: Arguments) -> None:
    suite = SUITES[arguments.suite]
    root = epath.Path(arguments.workdir or f"runs/{arguments.suite}")
    overrides = []
    for field in ("num_steps", "num_test", "data_dir"):
        value = getattr(arguments, field)
        if value is not None:
            overrides += [f"--{field.replace('_', '-')}", str(value)]
    for name in arguments.only or suite.published:
        folders = []
        for seed in range(arguments.seeds):
            folders.append(root / f"{name}-{seed}")
            train.main([name, *overrides, "--seed", str(seed), "--workdir", str(folders[-1])])
        comparable = arguments.num_steps is None and arguments.num_test is None
        published = suite.published[name] if comparable else ""
        row = results.row(name, [_read(folder) for folder in folders], published)
        results.write(Path(arguments.table), arguments.suite, row)
        print(results.as_line(row))


def _read(folder: epath.Path) -> dict[str, Any]:
    """What a finished run says of itself."""
    return {
        "report": json.loads((folder / "report.json").read_text()),
        "config": workdir.read_config(folder),
        "seconds": workdir.Stopwatch(folder).seconds,
    }


def _check_name(field: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        nearest = difflib.get_close_matches(name, names, 1, cutoff=0.0)[0]
        raise UsageError(f"{field} = {name!r} is not known; the nearest name is {nearest!r}.")


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments of a command line; a mistake ends the program with one sentence."""
    try:
        return tyro.cli(Arguments, prog="python -m experiments.suite", args=argv)
    except ValueError as error:
        command_line.fail(str(error))


if __name__ == "__main__":
    main(parse(sys.argv[1:]))

"""The command line: `python -m vaelab COMMAND`, or `vaelab COMMAND`.

Each command is a frozen dataclass in a file of its own. Its fields are the options, and its docstring is
the help. `parsing.parse` reads all of them in the same way.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from vaelab.checks import MissingPackageError, UsageError
from vaelab.cli.errors import end_without_the_others, plain_errors

# {command: (module, class, one line)}: a module is imported when its command is used.
COMMANDS = {
    "train": ("vaelab.cli.train_command", "Train", "train an experiment"),
    "evaluate": ("vaelab.cli.evaluate_command", "Evaluate", "evaluate a run, also on other data"),
    "sweep": ("vaelab.cli.sweep_command", "Sweep", "train one experiment at many values at once"),
    "calibrate": ("vaelab.cli.calibrate_command", "Calibrate", "propose κ from an unconstrained run"),
    "suite": ("vaelab.cli.suite_command", "Suite", "train several experiments, and keep their results"),
    "sample": ("vaelab.cli.sample_command", "Sample", "draw samples from a trained model"),
    "encode": ("vaelab.cli.encode_command", "Encode", "encode data with a trained model"),
}  # fmt: skip

_HELP = """usage: vaelab COMMAND [ARGUMENTS]

Variational autoencoders with learned priors, trained under constraints.

commands:
{commands}

`vaelab COMMAND --help` explains a command. Experiments are looked up in experiments/*.py below the
current folder; `vaelab train --help` lists them."""


def main(argv: Sequence[str]) -> int:
    """Runs a command, and returns its exit code: 0, 2 after a mistake, 130 after Ctrl-C."""
    with plain_errors() as outcome:
        outcome.code = _run(argv)
    return outcome.code


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        lines = [f"  {name:<10} {summary}" for name, (_, _, summary) in COMMANDS.items()]
        print(_HELP.format(commands="\n".join(lines)))
        return 0 if argv else 2
    name, *rest = argv
    if name == "--version":
        import vaelab

        print(vaelab.__version__)
        return 0
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}: choose one of {', '.join(COMMANDS)}.")
    module, class_name, _ = COMMANDS[name]
    try:
        from vaelab.cli import parsing

        command = getattr(importlib.import_module(module), class_name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "vaelab":
            raise
        raise MissingPackageError.of(error, f"vaelab {name}") from error
    parsing.keep_programs()
    parsing.execute(parsing.parse(command, rest, prog=f"vaelab {name}"))
    return 0


def entry() -> None:
    """The console script."""
    if os.getcwd() not in sys.path:  # as `python -m` has it: experiments import their siblings
        sys.path.insert(0, os.getcwd())
    code = main(sys.argv[1:])
    if code:
        end_without_the_others(code)
    raise SystemExit(code)

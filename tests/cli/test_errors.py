"""How a command ends: sentences, tracebacks, exit codes, and a process that is as it was."""

from __future__ import annotations

import errno
import logging
import signal
import subprocess
import sys
import threading
import warnings

import pytest
from conftest import ROOT

from vaelab import cli
from vaelab.checks import DamagedFileError, UsageError
from vaelab.cli.errors import plain_errors


def ending(error: BaseException) -> int:
    with plain_errors() as outcome:
        raise error
    return outcome.code


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UsageError("field = 1 is wrong: choose 2."), 2, "error: field = 1 is wrong: choose 2.\n"),
        (DamagedFileError("f is damaged."), 2, "error: f is damaged.\n"),
        (
            OSError(errno.ENOSPC, "No space left", "file.txt"),
            2,
            "error: the disk is full (file.txt): free space, and run the same command again.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "file.txt"),
            2,
            "error: file.txt: Permission denied. Correct the path or the rights, and run the command again.\n",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted.\n"),
        (BrokenPipeError(), 141, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_every_kind_of_ending_has_its_code_and_its_words(error, code, sentence, capsys):
    assert ending(error) == code
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("error", [ValueError("too many values"), KeyError("x"), OSError("odd")])
def test_a_bug_shows_its_traceback(error, capsys):
    """A plain ValueError is a bug, too."""
    assert ending(error) == 1
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith(f"{type(error).__name__}: {error}\nThis is a bug of vaelab or of your own code.\n")  # fmt: skip


@pytest.mark.parametrize("error", [UsageError("a sentence."), ValueError("a bug")])
def test_a_variable_raises_every_error(error, monkeypatch):
    monkeypatch.setenv("VAELAB_TRACEBACK", "1")
    with pytest.raises(type(error)) as raised:
        ending(error)
    assert raised.value is error


def test_warnings_are_sentences(capsys):
    with plain_errors():
        warnings.warn("a plot failed.", stacklevel=1)
    assert capsys.readouterr().err == "warning: a plot failed.\n"


def process():
    loggers = [logging.getLogger(), *map(logging.getLogger, ("absl", "asyncio", "jax"))]
    return (
        list(warnings.filters), warnings.showwarning, threading.excepthook, sys.excepthook,
        sys.unraisablehook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
        [logger.level for logger in loggers], [list(logger.handlers) for logger in loggers],
        sys.stdout, sys.stdout.errors, sys.stderr, sys.stderr.errors, list(sys.path),
    )  # fmt: skip


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "nothing"],
        ["train", "digits_vae_elbo", "--help"],
        ["nothing"],
        ["sample", "nowhere"],
    ],
    ids=" ".join,
)
def test_a_command_changes_nothing_of_the_process(argv, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(argv)  # imports what it needs
    before = process()
    cli.main(argv)
    assert process() == before


def test_an_exception_within_changes_nothing_of_the_process(monkeypatch, capsys):
    before = process()
    ending(ValueError("a bug"))
    monkeypatch.setenv("VAELAB_TRACEBACK", "1")
    with pytest.raises(ValueError, match="a bug"):
        ending(ValueError("a bug"))
    assert process() == before


# In processes of their own.


def test_a_broken_pipe_ends_quietly(command):
    """`vaelab train --help | head -1`, and a reader that is gone from the start."""
    shell = f"{sys.executable} -m vaelab train --help | head -1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.startswith("usage: vaelab train NAME")
    assert not result.stderr
    assert result.returncode in (0, 141)
    shell = f"{sys.executable} -m vaelab --help | true"
    result = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert not result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_that_cannot_show_a_character_replaces_it(command, encoding):
    """κ and λ are in the help of all commands, and in an error."""
    code = (
        "from vaelab import cli\n"
        "codes = [cli.main(argv) for argv in (['--help'], ['train', '--help'],"
        " ['sweep', 'digits_vhp_geco', '--help'],"
        " ['train', 'digits_vhp_rewo', '--objective.constraints.nll.kappa', '-1'], ['trænλ'])]\n"
        "print(codes)"
    )
    result = command("-c", code, PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[0, 0, 0, 2, 2]"
    assert "propose ? from an unconstrained run" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_command_ends_with_its_code(command):
    result = command("-m", "vaelab", "train", "nothing_of_that_name")
    assert result.returncode == 2
    assert result.stderr.startswith(
        "error: there is no experiment 'nothing_of_that_name'; the nearest"
    )
    assert result.stderr.count("\n") == 1

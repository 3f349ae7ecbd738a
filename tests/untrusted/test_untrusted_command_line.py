"""Malformed command lines, in this process."""

from __future__ import annotations

import contextlib
import importlib
import io

import pytest
from conftest import ROOT
from hypothesis import strategies as st
from malformed import for_all, num_inputs

from vaelab import cli

VALUES = [
    "", " ", "-", "--", "-1", "0", "1", "2.5", "1e999", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "None", "True",
    "a", "²", "\x00", "a\x00b", "\ud800", "\x1b[31m", "a\nb", "x" * 5000, "1 2", "1,2", "()", "[]", "{}", "=", "%s", "{x}",
    ".", "..", "/", "/dev/null", "~", "~nobody/x", "x.npy", "x.png", "x.npz", "/nowhere/x.npz", "-h=", "--x", "--x=1",
]  # fmt: skip
OPTIONS = {
    "train": [
        "--workdir", "--num-steps", "--batch-size", "--seed", "--data-dir", "--modules", "--pilot-fraction",
        "--optimiser.learning-rate", "--optimiser.b1", "--model.prior.num-samples", "--model.encoder.trunk.hidden",
        "--objective.constraints.re.kappa", "--patience", "--ema-decay", "--start-from", "--skip-limit",
    ],
    "sweep": ["--kappas", "--betas", "--learning-rates", "--seeds", "--trajectory", "--beside", "--constraint"],
    "calibrate": ["--fraction", "--pilot-steps", "--workdir"],
    "suite": ["--only", "--seeds", "--num-steps", "--num-samples", "--workdir"],
    "evaluate": ["--data", "--num-samples", "--num-points", "--annealed-points", "--modules", "--data-dir"],
    "sample": ["--num-samples", "--out", "--draw", "--no-draw", "--seed", "--modules"],
    "encode": ["--out", "--sampled", "--no-sampled", "--seed", "--modules"],
}  # fmt: skip
ON_FOLDERS = ("suite", "evaluate", "sample", "encode")


def words(name: str):
    """The words after a command: options that exist or do not, in any order, with any values."""
    word = st.sampled_from(VALUES) | st.sampled_from(OPTIONS[name]) | st.text(max_size=6)
    option = st.tuples(st.sampled_from(OPTIONS[name]), st.sampled_from(VALUES)).map(list)
    joined = option.map(lambda pair: ["=".join(pair)])
    groups = st.lists(option | joined | word.map(lambda one: [one]), max_size=4)
    return groups.map(lambda found: [each for group in found for each in group])


def ends_clearly(argv: list[str]) -> bool:
    """Exit code 0 (True), or 2 with words on standard error alone that show nothing of Python's insides."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(argv)
    if code == 0 or any(word in ("-h", "--help") for word in argv):
        return True
    assert code == 2, (argv, err.getvalue())
    text = err.getvalue()
    assert text, argv
    assert "Traceback" not in text, text
    assert " at 0x" not in text, text
    assert not out.getvalue() or len(argv) <= 1, out.getvalue()
    if text.startswith("error: "):
        assert text.count("\n") == 1, text
    return False


@pytest.fixture
def idle(monkeypatch):
    """Commands that are parsed and do nothing."""
    for module, class_name, _ in cli.COMMANDS.values():
        command = getattr(importlib.import_module(module), class_name)
        monkeypatch.setattr(command, "run", lambda command: None)


@num_inputs
@pytest.mark.parametrize("name", ["train", "sweep", "calibrate"])
def test_commands_on_experiments_are_parsed_or_refused(num_inputs, name, idle, monkeypatch):
    monkeypatch.chdir(ROOT)
    targets = ["digits_vhp_rewo", "digits_vae_elbo"]

    def check(target, options):
        return ends_clearly([name, target, *options])

    whole = st.sampled_from(targets)
    for_all(num_inputs // 3, check, st.one_of(whole, whole, st.sampled_from(VALUES)), words(name))


@num_inputs
@pytest.mark.parametrize("name", ON_FOLDERS)
def test_commands_on_folders_are_parsed_or_refused(num_inputs, name, idle):
    def check(options, first):
        return ends_clearly([first, *options])

    first = st.sampled_from([name] * 9 + ["", "trane", "--help", "--version", "\x00", "a\nb"])
    for_all(num_inputs, check, words(name), first)


@num_inputs
def test_targets_that_are_nowhere_are_refused(num_inputs, tmp_path, monkeypatch):
    """The whole commands, on folders and files of any names."""
    monkeypatch.chdir(tmp_path)
    contents = [b"\0\0", b"(" * 5000, b"EXPERIMENTS = 3", b"x = ", "EXPERIMENTS = {1: 2}".encode("utf-16"), b"\xff"]  # fmt: skip

    def check(name, target, content):
        (tmp_path / "file.py").write_bytes(content)
        extra = ["x.npy"] if name == "encode" else []
        ended = ends_clearly([name, target, *extra])
        assert [path.name for path in tmp_path.iterdir()] == ["file.py"]
        return ended

    targets = st.sampled_from(
        [*VALUES[:-3], "file.py", "file.py:x", "file.py:\x00", "nowhere.py:a"]
    )
    names = st.sampled_from([*ON_FOLDERS, "train"])
    contents = st.sampled_from(contents)
    for_all(num_inputs, check, names, targets, contents, some_are_read=False)

"""The command line: help, overrides, and one sentence for every mistake."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, SMALL, files

from experiments import command_line, evaluate
from vaelab.runs.record import differing_fields, to_dict
from vaelab.training import Adam, AdamW, Cosine, Steps, WarmUp

NAME = "digits_vhp_rewo"


def evaluate_main(argv):
    evaluate.main(evaluate.Arguments(workdir=argv[0], num_samples=int(argv[1])))


def test_help_lists_every_experiment(capsys):
    with pytest.raises(SystemExit) as exit_:
        command_line.parse(["--help"], program="train")
    assert exit_.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    configs = {path.stem for path in (ROOT / "experiments" / "configs").glob("[a-z]*.py")}
    assert set(command_line.names()) == configs
    for name in configs:
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert len(line.split()) > 3, f"{name} has no line of its own"


def test_help_lists_an_experiment_without_docstring(capsys, monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text("experiment = None\n")
    monkeypatch.setattr(command_line.configs, "__path__", [str(tmp_path)])
    monkeypatch.setattr(command_line, "names", lambda: ["mine"])
    with pytest.raises(SystemExit) as exit_:
        command_line.parse(["--help"], program="train")
    assert exit_.value.code == 0
    assert "  mine" in capsys.readouterr().out


def test_without_arguments_it_shows_the_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        command_line.parse([], program="train")
    assert exit_.value.code == 2
    assert NAME in capsys.readouterr().out


def leaves(value, path=""):
    """(option, default) of every number, switch, name and tuple below a configuration."""
    for field in dataclasses.fields(value):
        inner, option = getattr(value, field.name), f"{path}{field.name.replace('_', '-')}"
        if field.name in ("parent", "name"):
            continue  # Flax's own
        if option in ("dual", "prior-optimiser") and inner is None:
            continue  # what an experiment does not have, it has no fields of
        if isinstance(inner, dict):
            for name, item in inner.items():
                yield from leaves(item, f"{option}.{name}.")
        elif dataclasses.is_dataclass(inner):
            yield from leaves(inner, f"{option}.")
        elif not callable(inner):
            yield f"--{option}", inner


@pytest.mark.parametrize("name", [NAME, "mnist_vae_iwae", "digits_vhp_geco"])
def test_help_of_an_experiment_lists_every_field(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        command_line.parse([name, "--help"], program="train")
    assert exit_.value.code == 0
    lines = [line.strip(" │") for line in capsys.readouterr().out.splitlines()]
    expected = list(leaves(command_line.load(name)))
    assert len(expected) > 20
    for option, default in expected:
        at = [i for i, line in enumerate(lines) if option in line.replace(",", " ").split()]
        assert at, f"{option} is missing"
        entry = " ".join(lines[at[0] : at[0] + 9]).removeprefix(option)
        meaning, _, shown = entry.partition("(default: ")
        default = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        assert shown.partition(")")[0] == default, option
        if default in ("True", "False"):
            group, _, field = option.rpartition(".")
            meaning = meaning.removeprefix(f", {group}.no-{field}")
        else:
            assert re.match(r" *\[?(INT|FLOAT|STR|\{)", meaning), f"{option} has no type"
        assert "--" not in meaning, f"{option} shows no default"
        assert len(re.findall(r"\w{3,}", meaning)) >= 3, f"{option} has no meaning"


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        (
            "--objective.constraints.nll.kappa",
            "0.2",
            lambda e: e.objective.constraints["nll"].kappa,
        ),
        ("--dual.step-size", "0.7", lambda e: e.dual.step_size),
        ("--optimiser.learning-rate", "0.01", lambda e: e.optimiser.learning_rate),
        ("--num-steps", "17", lambda e: e.num_steps),
        ("--ema-decay", "0.9", lambda e: e.ema_decay),
        ("--clip-norm", "2.5", lambda e: e.clip_norm),
        ("--dual.initial-multiplier", "500.0", lambda e: e.dual.initial_multiplier),
        ("--data.binarisation", "fixed", lambda e: e.data.binarisation),
        ("--patience", "None", lambda e: e.patience),
        ("--num-test", "9", lambda e: e.num_test),
    ],
)
def test_overrides_reach_the_experiment(option, value, read):
    before = command_line.load(NAME)
    after = command_line.override(NAME, [option, value]).experiment
    assert str(read(after)) == value
    assert read(before) != read(after)
    (difference,) = differing_fields(to_dict(after), to_dict(before))
    assert difference.startswith(option.removeprefix("--").replace("-", "_") + " (")


@pytest.mark.parametrize(
    ("name", "starts"), [(NAME, {"nll": 20.0}), ("grey_mnist_mlp_re_cla", {"re": 2.0, "cla": 50.0})]
)
def test_each_multiplier_may_start_at_its_own_number(name, starts):
    words = [str(word) for pair in starts.items() for word in pair]
    flags = ["--dual.initial-multiplier", *words]
    assert command_line.override(name, flags).experiment.initial_multiplier == starts


def test_fields_of_a_schedule_reach_the_experiment(monkeypatch):
    """A type may be abstract in the experiment: the options are those of the default's class."""
    scheduled = dataclasses.replace(
        command_line.load(NAME),
        optimiser=AdamW(schedule=WarmUp(100, then=Cosine())),
        prior_optimiser=Adam(schedule=Steps((50, 90))),
    )
    monkeypatch.setattr(command_line, "load", lambda name: scheduled)
    overrides = [
        "--optimiser.weight-decay", "0.5", "--optimiser.schedule.steps", "7",
        "--optimiser.schedule.then.final", "0.25", "--prior-optimiser.schedule.boundaries", "3",
    ]  # fmt: skip
    after = command_line.override(NAME, overrides).experiment
    assert after.optimiser == AdamW(schedule=WarmUp(7, then=Cosine(0.25)), weight_decay=0.5)
    assert after.prior_optimiser == Adam(schedule=Steps((3,)))


def test_overridden_networks_stay_hashable():
    """JAX compiles evaluations once per model, which it recognises by its hash."""
    overrides = ["--model.encoder.trunk.hidden", "8", "9", "--model.decoder.shape", "8", "8", "1"]
    model = command_line.override(NAME, overrides).experiment.model
    assert model.encoder.trunk.hidden == (8, 9)
    assert model.decoder.shape == (8, 8, 1)
    hash(model)


def test_an_unknown_field_is_refused_with_the_nearest(refusal):
    sentence = refusal(NAME, "--objective.constraints.nll.kapa", "0.2")
    assert "--objective.constraints.nll.kapa" in sentence
    assert "Perhaps you meant: --objective.constraints.nll.kappa FLOAT" in sentence


def test_an_unknown_experiment_is_refused_with_the_nearest(refusal):
    assert refusal("digits_vhp_rewoo") == (
        "there is no experiment 'digits_vhp_rewoo'; the nearest name is 'digits_vhp_rewo' "
        "(see --help)."
    )


def test_the_experiment_comes_first(refusal):
    assert "the experiment's name comes first, got '--num-steps'" in refusal("--num-steps", "3")


MISTAKES = [
    (["--num-steps", "many"], ["--num-steps", "'many'"]),
    (["--optimiser.learning-rate", "fast"], ["--optimiser.learning-rate", "'fast'"]),
    (["--data.binarisation", "twice"], ["--data.binarisation", "twice", "dynamic"]),
    (["--batch-size", "0"], ["batch_size must be at least 1, got 0."]),
    (["--evaluate-every", "-5"], ["evaluate_every must be at least 1, got -5."]),
    (["--num-test", "1"], ["num_test must be at least 2 or None, got 1."]),
    (["--num-samples", "0"], ["num_samples must be at least 1, got 0."]),
    (["--batch-size", "5000"], ["batch_size = 5000 is larger", "choose at most 1297."]),
    (
        ["--model.decoder.shape", "28", "28", "1"],
        ["events of shape (8, 8, 1), and model.decoder.shape is (28, 28, 1): make them the same."],
    ),
    (
        ["--model.encoder.dim", "3"],
        ["encoder.dim = 3 and prior.latent_dim = 2 must be the same number."],
    ),
    (
        ["--objective.constraints.nll.kappa", "0"],
        ["objective.constraints.nll: kappa = 0.0 can never be met", "choose a kappa above 0."],
    ),
    (
        ["--objective.constraints.nll.kappa", "0.7"],
        ["objective.constraints.nll: kappa = 0.7 constrains nothing", "log 2 = 0.693"],
    ),
    (
        ["--num-test", "301"],
        ["num_test = 301 is more than the 300 test images: choose at most 300."],
    ),
    (["--objective.constraints.nll.kappa", "nan"], ["kappa", "must be finite, got nan."]),
    (["--optimiser.learning-rate", "-1"], ["learning_rate must be positive and finite, got -1.0."]),
    (["--dual.step-size", "-1"], ["step_size must be positive and finite, got -1.0."]),
    (["--dual.decay", "1.5"], ["decay must lie in [0, 1), got 1.5."]),
    (
        ["--dual.multiplier-limit", "10"],
        ["multiplier_limit must be above initial_multiplier = 1000.0"],
    ),
    (["--optimiser.b1", "1.5"], ["b1 must lie in [0, 1), got 1.5."]),
    (["--clip-norm", "0"], ["clip_norm must be positive and finite, got 0.0."]),
    (["--ema-decay", "1"], ["ema_decay must lie in [0, 1), got 1.0."]),
    (
        ["--dual.initial-multiplier", "re", "2"],
        ["initial_multiplier has the names ['re'] and the constraints are ['nll']"],
    ),
    (["--pilot-fraction", "0"], ["pilot_fraction must be positive and finite, got 0.0."]),
    (["--dual.initial-multiplier", "0.5"], ["initial_multiplier must be well above 1"]),
]


def test_a_mistake_that_only_tracing_shows_leaves_nothing_either(refusal, tmp_path):
    argv = ("digits_vhp_elbo", "--objective.free-nats", "0.5", "--workdir", tmp_path / "run")
    assert "free" in refusal(*argv)
    assert not (tmp_path / "run").exists()


def test_a_traceback_is_there_for_the_asking(monkeypatch, tmp_path):
    monkeypatch.setenv("VAELAB_TRACEBACK", "1")
    with pytest.raises(ValueError, match="too many"):  # noqa: SIM117
        with command_line.plain_errors(tmp_path, interrupted=""):
            raise ValueError("too many values to unpack")


@pytest.mark.parametrize(("overrides", "parts"), MISTAKES, ids=lambda value: value[0])
def test_a_mistake_is_one_sentence_and_leaves_nothing(refusal, tmp_path, overrides, parts):
    sentence = refusal(NAME, *overrides, "--workdir", tmp_path / "run")
    for part in parts:
        assert part in sentence
    assert not (tmp_path / "run").exists()


def test_a_missing_data_file_is_named(refusal, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    sentence = refusal("mnist_vae_elbo", "--data-dir", tmp_path, "--workdir", tmp_path / "run")
    assert sentence.startswith(f"mnist/train-images-idx3-ubyte.gz was not found in {tmp_path}: put")
    assert "--data-dir" in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["below a file", "in /proc", "in a read-only folder"])
def test_an_unwritable_workdir_is_named(refusal, tmp_path, place):
    folder = pathlib.Path("/proc/vaelab") if place == "in /proc" else tmp_path / "folder"
    if place == "below a file":
        folder.write_text("a file")
    elif place == "in a read-only folder":
        folder.mkdir(mode=0o555)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write to any folder")
    elif not pathlib.Path("/proc").exists():
        pytest.skip("there is no /proc here")
    path = folder / "run"
    sentence = refusal(NAME, "--workdir", path)
    assert sentence.startswith(f"workdir {path} cannot be written (")
    assert "choose another --workdir" in sentence


def test_the_workdir_of_another_run_is_left_alone(refusal, finished):
    before = files(finished)
    overrides = [*SMALL, "--seed", "3", "--objective.constraints.nll.kappa", "0.2"]
    sentence = refusal(NAME, *overrides, "--workdir", finished)
    assert sentence == (
        f"workdir {finished} holds a run of another configuration, which differs in "
        "objective.constraints.nll.kappa (0.345, now 0.2), seed (0, now 3); "
        "choose another --workdir."
    )
    assert refusal("digits_vae_elbo", "--workdir", finished) == (
        f"workdir {finished} holds a run of digits_vhp_rewo, not of digits_vae_elbo; choose another "
        "--workdir."
    )
    assert files(finished) == before


def test_a_damaged_config_is_named(refusal, tmp_path):
    (tmp_path / "config.json").write_text('{"experiment": ')
    sentence = refusal(NAME, *SMALL, "--workdir", tmp_path)
    assert sentence.startswith(f"{tmp_path}/config.json is damaged (")
    assert "choose another --workdir" in sentence


def test_evaluate_refuses_an_empty_workdir(refusal, tmp_path):
    sentence = refusal(tmp_path, 50, main=evaluate_main)
    assert sentence == (
        f"workdir {tmp_path} holds no run: there is no config.json in it; train one there first."
    )
    assert not list(tmp_path.iterdir())


def test_evaluate_refuses_a_run_without_checkpoints(refusal, finished, tmp_path):
    shutil.copy(finished / "config.json", tmp_path)
    sentence = refusal(tmp_path, 50, main=evaluate_main)
    assert sentence == f"workdir {tmp_path} holds no checkpoint yet: train it first."


def test_evaluate_refuses_no_samples(refusal, finished):
    before = files(finished)
    sentence = refusal(finished, 0, main=evaluate_main)
    assert sentence == "num_samples must be at least 1, got 0."
    assert files(finished) == before


def test_a_non_finite_loss_keeps_the_checkpoints(refusal, tmp_path):
    """Adam's first step of 10³⁰ makes the second loss infinite."""
    run = tmp_path / "run"
    overrides = [*SMALL, "--optimiser.learning-rate", "1e30"]
    sentence = refusal(NAME, *overrides, "--workdir", run)
    assert sentence.startswith("the loss became non-finite at step 2, and training stopped; ")
    assert "the last finite metrics were: average/nll 2" in sentence
    assert f"The checkpoints in {run}/checkpoints are kept; lower optimiser.learning_rate" in (
        sentence
    )
    assert not (run / "report.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk_and_train(command, disk):
    """A run that finds room for its first checkpoint, not for its second; (workdir, filler)."""
    run, filler = disk / "run", disk / "filler"
    filler.write_bytes(bytes(1450 * 1024))
    result = command.train(run)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: workdir {run} cannot be written ({os.strerror(errno.ENOSPC)}); free space or "
        "choose another --workdir, and run the same command again.\n"
    )
    assert not (run / "report.json").exists()
    return run, filler


def test_a_full_disk_is_one_sentence(command, finished, small_disk):
    run, _ = fill_disk_and_train(command, small_disk)
    assert (run / "checkpoints" / "20").is_dir()


@pytest.mark.slow
def test_a_full_disk_can_be_mended(command, finished, small_disk):
    run, filler = fill_disk_and_train(command, small_disk)
    filler.unlink()
    result = command.train(run)
    assert result.returncode == 0, result.stderr
    for name in ("report.json", "metrics.jsonl"):
        assert (run / name).read_text() == (finished / name).read_text()

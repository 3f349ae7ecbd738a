"""Parsing: help of every command, options of an experiment, and one sentence for every mistake."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
import re

import pytest
from conftest import ROOT, SMALL, files

from experiments import digits, taming
from vaelab import cli
from vaelab.cli import lookup, parsing
from vaelab.cli.train_command import Train
from vaelab.runs.record import differing_fields, to_record
from vaelab.training import Adam, AdamW, Cosine, Steps, WarmUp

NAME = "digits_vhp_rewo"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def parse(name, *options):
    return parsing.parse(Train, [name, *map(str, options)], prog="vaelab train")


def test_help_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, _, summary) in cli.COMMANDS.items():
        assert [line for line in lines if line.split() == [name, *summary.split()]]
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0
    assert re.match(r"\d+\.\d+", capsys.readouterr().out.splitlines()[-1])


def test_an_unknown_command_is_refused(refusal):
    assert refusal("trane", main=cli.main).startswith(
        "there is no command 'trane': choose one of train,"
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_every_command_explains_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    module, class_name, _ = cli.COMMANDS[name]
    command = getattr(importlib.import_module(module), class_name)
    on_experiment = issubclass(command, parsing.ExperimentCommand)
    assert cli.main([name, *([NAME] if on_experiment else []), "--help"]) == 0
    text = " ".join(capsys.readouterr().out.translate(str.maketrans("│╭╮╰╯─", "      ")).split())
    hidden = {"experiment", "name", "source"} if on_experiment else set()
    fields = {field.name: field for field in dataclasses.fields(command)}
    if fields.pop("hosts", None) is not None:  # whose fields are options without a prefix
        fields |= {field.name: field for field in dataclasses.fields(parsing.Distributed)}
    for field in fields.values():
        if field.name in hidden:
            continue
        option = f"--{field.name.replace('_', '-')}"
        positional = field.default is dataclasses.MISSING
        place = text.find("positional arguments" if positional else option)
        assert place >= 0, field.name
        words = re.findall(r"[a-z]{3,}", text[place : place + 250])
        assert len(words) >= 3, f"{option} has no meaning"


def test_help_lists_every_experiment_with_its_file(capsys):
    assert cli.main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    everything = lookup.find_all()
    assert len(everything) > 70
    for name in everything:
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert len(line.split()) > 3, f"{name} has no line of its own"
    for file in ("bits", "digits", "mnist", "vampprior", "taming", "top_down", "vlae"):
        assert f"experiments in experiments/{file}.py:" in lines


def test_without_arguments_it_shows_the_help(capsys):
    assert cli.main(["train"]) == 2
    assert NAME in capsys.readouterr().out


def leaves(value, path=""):
    """(option, default) of every number, switch, name and tuple below a configuration."""
    for field in dataclasses.fields(value):
        inner, option = getattr(value, field.name), f"{path}{field.name.replace('_', '-')}"
        if field.name in ("parent", "name"):
            continue  # Flax's own
        if isinstance(inner, dict):
            for name, item in inner.items():
                yield from leaves(item, f"{option}.{name}.")
        elif dataclasses.is_dataclass(inner):
            yield from leaves(inner, f"{option}.")
        elif inner is None and option in ("dual", "prior-optimiser"):
            continue  # the fields of a part that the experiment does not have
        elif not callable(inner):
            yield f"--{option}", inner


@pytest.mark.parametrize("name", [NAME, "mnist_vae_iwae", "grey_digits_mlp_re"])
def test_help_of_an_experiment_shows_the_default_of_every_field(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["train", name, "--help"]) == 0
    out = capsys.readouterr().out
    lines = [line.strip(" │") for line in out.splitlines()]
    expected = list(leaves(lookup.find(name).experiment))
    assert len(expected) > 20
    for option, default in expected:
        at = [i for i, line in enumerate(lines) if line.replace(",", " ").split()[:1] == [option]]
        assert at, f"{option} is missing"
        entry = " ".join(lines[at[0] : at[0] + 12]).removeprefix(option)
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
    assert f"values of {name} in experiments/" in " ".join(out.split())


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        ("--objective.constraints.nll.kappa", "0.2", lambda e: e.objective.constraints["nll"].kappa),
        ("--dual.step-size", "0.7", lambda e: e.dual.step_size),
        ("--optimiser.learning-rate", "0.01", lambda e: e.optimiser.learning_rate),
        ("--num-steps", "17", lambda e: e.num_steps),
        ("--ema-decay", "0.9", lambda e: e.ema_decay),
        ("--clip-norm", "2.5", lambda e: e.clip_norm),
        ("--skip-norm", "200.0", lambda e: e.skip_norm),
        ("--skip-limit", "5", lambda e: e.skip_limit),
        ("--dual.initial-multiplier", "500.0", lambda e: e.dual.initial_multiplier),
        ("--data.binarisation", "fixed", lambda e: e.data.binarisation),
        ("--patience", "None", lambda e: e.patience),
        ("--num-test", "9", lambda e: e.num_test),
    ],
)  # fmt: skip
def test_options_reach_the_experiment(option, value, read):
    before, after = digits.EXPERIMENTS[NAME], parse(NAME, option, value).experiment
    assert str(read(after)) == value
    assert read(before) != read(after)
    (difference,) = differing_fields(to_record(after), to_record(before))
    assert difference.startswith(option.removeprefix("--").replace("-", "_") + " (")


def test_the_size_of_a_level_is_one_option():
    model = parse("digits_ladder_elbo", "--model.units.1.dim", "5").experiment.model
    assert model.latent_dims == (2, 5, 16)
    options = "--model.units.0.dim", "3", "--model.prior.latent-dim", "3"
    assert parse("digits_ladder_elbo", *options).experiment.model.latent_dims == (3, 8, 16)


def test_without_options_the_experiment_is_that_of_the_file():
    for name, experiment in {**digits.EXPERIMENTS, "grey_mnist_mlp_fre": taming.EXPERIMENTS["grey_mnist_mlp_fre"]}.items():  # fmt: skip
        assert to_record(parse(name).experiment) == to_record(experiment)


@pytest.mark.parametrize(
    ("name", "starts"), [(NAME, {"nll": 20.0}), ("grey_mnist_mlp_re_cla", {"re": 2.0, "cla": 50.0})]
)
def test_each_multiplier_may_start_at_its_own_number(name, starts):
    words = [word for pair in starts.items() for word in pair]
    experiment = parse(name, "--dual.initial-multiplier", *words).experiment
    assert experiment.initial_multiplier == starts


def test_fields_of_a_schedule_reach_the_experiment(monkeypatch):
    """A type may be abstract in the experiment: the options are those of the default's class."""
    scheduled = dataclasses.replace(
        digits.EXPERIMENTS[NAME],
        optimiser=AdamW(schedule=WarmUp(100, then=Cosine())),
        prior_optimiser=Adam(schedule=Steps((50, 90))),
    )
    monkeypatch.setattr(lookup, "find", lambda name: lookup.Found(name, scheduled, "mine.py"))
    after = parse(
        NAME, "--optimiser.weight-decay", "0.5", "--optimiser.schedule.steps", "7",
        "--optimiser.schedule.then.final", "0.25", "--prior-optimiser.schedule.boundaries", "3",
    ).experiment  # fmt: skip
    assert after.optimiser == AdamW(schedule=WarmUp(7, then=Cosine(0.25)), weight_decay=0.5)
    assert after.prior_optimiser == Adam(schedule=Steps((3,)))


def test_parsed_networks_stay_hashable():
    """JAX compiles evaluations once per model, which it recognises by its hash."""
    options = ["--model.encoder.trunk.hidden", "8", "9", "--model.decoder.shape", "8", "8", "1"]
    model = parse(NAME, *options).experiment.model
    assert model.encoder.trunk.hidden == (8, 9)
    assert tuple(model.decoder.shape) == (8, 8, 1)
    hash(model)


def test_an_unknown_field_is_refused_with_the_nearest(refusal):
    sentence = refusal(NAME, "--objective.constraints.nll.kapa", "0.2")
    assert "--objective.constraints.nll.kapa" in sentence
    assert "Perhaps you meant: --objective.constraints.nll.kappa FLOAT" in sentence


def test_the_experiment_comes_first(refusal):
    sentence = refusal("--num-steps", "3")
    assert sentence == "the name of the experiment comes first, got '--num-steps' (see --help)."


MISTAKES = [
    (["--num-steps", "many"], ["--num-steps", "'many'"]),
    (["--optimiser.learning-rate", "fast"], ["--optimiser.learning-rate", "'fast'"]),
    (["--data.binarisation", "twice"], ["--data.binarisation", "twice", "dynamic"]),
    (["--batch-size", "0"], ["batch_size must be at least 1, got 0."]),
    (["--evaluate-every", "-5"], ["evaluate_every must be at least 1, got -5."]),
    (["--num-test", "1"], ["num_test must be at least 2 or None, got 1."]),
    (["--num-samples", "0"], ["num_samples must be at least 1, got 0."]),
    (["--batch-size", "5000"], ["batch_size = 5000 is larger", "choose at most 1297."]),
    (["--model.encoder.dim", "3"], ["dim = 3", "latent_dim = 2"]),
    (
        ["--objective.constraints.nll.kappa", "0"],
        ["objective.constraints.nll: kappa = 0.0 can never be met", "choose a kappa above 0."],
    ),
    (
        ["--objective.constraints.nll.kappa", "0.7"],
        ["objective.constraints.nll: kappa = 0.7 constrains nothing", "log 2 = 0.693"],
    ),
    (["--num-test", "301"], ["num_test = 301 is more than the 300 test examples: choose at most 300."]),
    (["--objective.constraints.nll.kappa", "nan"], ["kappa", "must be finite, got nan."]),
    (["--optimiser.learning-rate", "-1"], ["learning_rate must be positive and finite, got -1.0."]),
    (["--dual.step-size", "-1"], ["step_size must be positive and finite, got -1.0."]),
    (["--dual.decay", "1.5"], ["decay must lie in [0, 1), got 1.5."]),
    (["--dual.multiplier-limit", "10"], ["multiplier_limit must be above initial_multiplier = 1000.0"]),
    (["--optimiser.b1", "1.5"], ["b1 must lie in [0, 1), got 1.5."]),
    (["--clip-norm", "0"], ["clip_norm must be positive and finite, got 0.0."]),
    (["--skip-norm", "0"], ["skip_norm must be positive and finite, got 0.0."]),
    (["--skip-limit", "0"], ["skip_limit must be at least 1, got 0."]),
    (["--ema-decay", "1"], ["ema_decay must lie in [0, 1), got 1.0."]),
    (
        ["--dual.initial-multiplier", "re", "2"],
        ["initial_multiplier has the names ['re'] and the constraints are ['nll']"],
    ),
    (["--pilot-fraction", "0"], ["pilot_fraction must be positive and finite, got 0.0."]),
    (["--dual.initial-multiplier", "0.5"], ["initial_multiplier must be well above 1"]),
    (["--seed", "4294967297"], ["seed must be a whole number from 0 to 2147483647, got 4294967297."]),
    (["--seed", "99999999999999999999"], ["seed must be a whole number from 0 to 2147483647"]),
    (["--seed", "-1"], ["seed must be a whole number"]),
    (["--start-from", "/nowhere/x"], ["/nowhere/x holds no run"]),
    (["--modules", "no_such_module_here"], ["modules: there is no module 'no_such_module_here'"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "parts"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_is_one_sentence_and_leaves_nothing(refusal, tmp_path, options, parts):
    sentence = refusal(NAME, *options, "--workdir", tmp_path / "a" / "run")
    for part in parts:
        assert part in sentence
    assert not list(tmp_path.iterdir())


def test_large_seeds_of_a_sweep_are_refused(refusal, tmp_path):
    def sweep(*options):
        argv = ["sweep", "digits_vhp_geco", "--workdir", tmp_path / "run", *options]
        return refusal(*argv, main=cli.main)

    sentence = "seed must be a whole number from 0 to 2147483647, got"
    assert sweep("--seed", "10000000000") == f"{sentence} 10000000000."
    assert sweep("--seed", "2147483647", "--seeds", "2") == f"{sentence} 2147483648."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--num-steps", "--log-every", "--num-samples", "--batch-size"])
def test_other_large_numbers_are_no_traceback(refusal, tmp_path, option):
    """Case 5."""
    number = "99999999999999999999"
    sentence = refusal(NAME, *SMALL, option, number, "--workdir", tmp_path / "run")
    assert option.removeprefix("--").replace("-", "_") in sentence
    assert number in sentence
    assert not list(tmp_path.iterdir())


def test_a_mistake_that_only_tracing_shows_leaves_nothing_either(refusal, tmp_path):
    argv = ("digits_vhp_elbo", "--objective.free-nats", "0.5", "--workdir", tmp_path / "run")
    assert "free" in refusal(*argv)
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
    sentence = refusal(NAME, *SMALL, "--workdir", path)
    assert sentence.startswith(f"workdir {path} cannot be written (")
    assert "choose another workdir" in sentence


def test_the_workdir_of_another_run_is_left_alone(refusal, finished):
    before = files(finished)
    options = [*SMALL, "--seed", "3", "--objective.constraints.nll.kappa", "0.2"]
    assert refusal(NAME, *options, "--workdir", finished) == (
        f"workdir {finished} holds a run of another configuration, which differs in "
        "objective.constraints.nll.kappa (0.345, now 0.2), seed (0, now 3): choose another workdir."
    )
    sentence = refusal("digits_vae_elbo", "--workdir", finished)
    assert "holds a run of another configuration, which differs in model.encoder" in sentence
    assert files(finished) == before

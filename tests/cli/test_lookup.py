"""Where experiments are found: a folder `experiments`, a file, a key of a file."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest
from conftest import ROOT

from vaelab import cli
from vaelab.checks import UsageError
from vaelab.cli.lookup import find, find_all, find_file, import_modules

ONE = """
from vaelab import data, likelihoods, models, networks, priors, training
from vaelab.runs import Experiment

def model(dim):
    return models.VAE(
        encoder=networks.ConditionalGaussian(networks.MLP((4,), event_ndims=3), dim=dim),
        decoder=likelihoods.BernoulliDecoder(networks.MLP((4,)), shape=(8, 8, 1)),
        prior=priors.StandardNormal(dim),
    )

EXPERIMENTS = {
    name: Experiment(data.Digits(), model(dim), training.ELBO(), num_steps=3)
    for name, dim in [("narrow", 2), ("wide", 5)]
}
"""
SINGLE = ONE.replace("EXPERIMENTS", "_TABLE") + 'only = _TABLE["wide"]\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder as the current one; modules that are imported from it are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_names_are_looked_up_in_the_folder(project):
    write(project / "experiments" / "mine.py", ONE)
    write(project / "experiments" / "other.py", "raise RuntimeError('not imported')")
    assert set(find_all()) == {"narrow", "wide"}
    found = find("wide")
    assert (found.name, found.source) == ("wide", "experiments/mine.py")
    assert found.experiment.model.latent_dims == (5,)
    with pytest.raises(UsageError, match=r"no experiment 'wid'; the nearest name is 'wide' \(see"):
        find("wid")
    assert set(find_file("mine")) == set(find_file("experiments/mine.py")) == {"narrow", "wide"}


def test_the_projects_own_names_are_found(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {"digits_vhp_rewo", "mnist_vae_elbo", "dynamic_mnist_vamp", "grey_digits_mlp_re"}
    assert names <= find_all().keys()


def test_a_file_and_a_key_name_an_experiment(project):
    write(project / "own_table.py", ONE)
    write(project / "own_single.py", SINGLE)
    assert find("own_table.py:narrow").experiment.model.latent_dims == (2,)
    assert find(f"{project}/own_table.py:wide").name == "wide"
    assert find("./own_single.py").name == "only"
    sentence = (
        r"^own_table\.py has several experiments: name one of them, such as own_table\.py:narrow"
    )
    with pytest.raises(UsageError, match=sentence):
        find("own_table.py")
    with pytest.raises(UsageError, match=r"^own_table\.py has no experiment 'x'.*\(narrow, wide\)"):
        find("own_table.py:x")


def test_home_is_expanded(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    write(project / "own_home.py", ONE)
    assert find("~/own_home.py:wide").name == "wide"


def test_an_own_project_has_its_own_package(command, tmp_path):
    """`experiments` is the project's, although another package of the name can be imported."""
    write(tmp_path / "experiments" / "__init__.py", "")
    write(tmp_path / "experiments" / "parts.py", ONE.replace("EXPERIMENTS", "TABLE"))
    write(tmp_path / "experiments" / "mine.py", "from experiments.parts import TABLE\nEXPERIMENTS = TABLE\n")  # fmt: skip
    write(tmp_path / "sibling.py", ONE.replace("EXPERIMENTS", "TABLE"))
    write(
        tmp_path / "flat.py", "from sibling import TABLE\nEXPERIMENTS = {'flat': TABLE['wide']}\n"
    )
    result = command("-m", "vaelab", "train", "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert "experiments in experiments/mine.py:\n  narrow" in result.stdout
    assert "digits_vhp_rewo" not in result.stdout
    result = command(
        "-m", "vaelab", "train", "flat.py", "--help", cwd=tmp_path, PYTHONPATH=str(ROOT)
    )
    assert result.returncode == 0, result.stderr
    assert "values of flat in flat.py" in " ".join(result.stdout.replace("│", " ").split())


def test_two_files_with_one_name_are_refused(project):
    for name in ("first", "second"):
        write(project / "experiments" / f"{name}.py", ONE)
    sentence = (
        r"^experiments/first\.py and experiments/second\.py both define the experiment 'narrow'"
    )
    with pytest.raises(UsageError, match=sentence):
        find_all()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", r"bad_file\.py defines no experiments: give it EXPERIMENTS = "),
        ("EXPERIMENTS = {}\n", r"bad_file\.py defines no experiments"),
        ("EXPERIMENTS = 3\n", r"bad_file\.py defines no experiments"),
        ("EXPERIMENTS = {'a': 3}\n", r"EXPERIMENTS\['a'\] is of type int: make it an Experiment"),
        ("EXPERIMENTS = {\n", r"bad_file\.py, line 1: '\{' was never closed\.$"),
        ("import broken_sibling\n", r"broken_sibling\.py, line 2: invalid syntax\.$"),
        ("EXPERIMENTS = {'a': 1 / 0}", r""),
    ],
)
def test_a_file_of_another_kind_is_one_sentence(project, text, sentence):
    write(project / "bad_file.py", text)
    write(project / "broken_sibling.py", "x = 1\ny = = 2\n")
    if not sentence:  # a mistake of another kind is a bug of the file, and shows its traceback
        with pytest.raises(ZeroDivisionError):
            find("bad_file.py")
        return
    with pytest.raises(UsageError, match=sentence):
        find("bad_file.py")


@pytest.mark.parametrize("content", [b"EXPERIMENTS = {\n", b"\0\0", "é = 1".encode("latin-1")])
def test_a_syntax_error_in_the_folder_is_one_sentence(project, content, refusal):
    write(project / "experiments" / "broken.py", "")
    (project / "experiments" / "broken.py").write_bytes(content)
    assert refusal("narrow").startswith("experiments/broken.py")


def test_missing_files_and_empty_folders_are_named(project, refusal):
    assert refusal("nowhere.py:a") == "there is no file nowhere.py: correct the path."
    assert refusal("digits_vhp_rewo") == (
        "there is no experiment 'digits_vhp_rewo', because no file experiments/*.py below the current "
        "folder has EXPERIMENTS: change to the project's folder, or name a file, such as mine.py:NAME."
    )
    with pytest.raises(UsageError, match="there is no file"):
        find_file("nothing")


def test_help_without_experiments_says_so(project, capsys):
    assert cli.main(["train", "--help"]) == 0
    assert "There are no experiments in experiments/*.py" in capsys.readouterr().out


def test_a_file_does_not_take_the_place_of_an_installed_module(project):
    write(project / "json.py", ONE)
    module = sys.modules["json"]
    with pytest.raises(
        UsageError, match=r"^json\.py has the name of the module json, which is in use"
    ):
        find("json.py:wide")
    assert sys.modules["json"] is module


def test_modules_are_names_and_files(project):
    write(project / "own_kinds.py", "KIND = 1\n")
    by_file, by_name = import_modules(("own_kinds.py", "vaelab.networks"))
    assert by_file.KIND == 1
    assert by_name.__name__ == "vaelab.networks"
    assert import_modules(("own_kinds.py",)) == [by_file]
    with pytest.raises(UsageError, match=re.escape("there is no module 'no_module_of_that_name'")):
        import_modules(("no_module_of_that_name",))

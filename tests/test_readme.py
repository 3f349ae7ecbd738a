"""The documents: the README's snippets run, its commands parse, and what documents name exists."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import vaelab
from vaelab import cli
from vaelab.cli import lookup, parsing
from vaelab.priors import Given

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "experiments" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in DOCUMENTS}
PUBLISHED = re.compile(
    r"https://(?:github\.com/vaelab/vaelab/blob|raw\.githubusercontent\.com/vaelab/vaelab)/main/(.+)"
)


def commands(text: str) -> list[str]:
    """Every `python -m ...` of a document: lines of blocks without comments, and code in a line."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    parts = [part for line in lines for part in line.split("&&")] + re.findall(r"`([^`]+)`", rest)
    return [part.strip() for part in parts if part.strip().startswith("python -m ")]


EVERY_COMMAND = sorted(
    {
        command
        for document, text in TEXTS.items()
        if document != "CHANGELOG.md"  # which names commands of the past
        for command in commands(text)
    }
)
OURS = [
    command
    for command in EVERY_COMMAND
    if command.startswith("python -m vaelab ") and "COMMAND" not in command
]


@pytest.fixture(scope="module")
def namespace(tmp_path_factory) -> dict:
    """What the snippets define, run in order in an empty folder."""
    names: dict = {"__name__": "my_experiments"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        for snippet in SNIPPETS:
            exec(compile(snippet, "README.md", "exec", dont_inherit=True), names)
    return names


def test_the_code_about_hierarchies_runs():
    names: dict = {"__name__": "hierarchies"}
    for snippet in re.findall(r"```python\n(.*?)```", TEXTS["docs/hierarchies.md"], re.DOTALL):
        exec(compile(snippet, "hierarchies.md", "exec", dont_inherit=True), names)
    assert [code.shape[1:] for code in names["codes"]] == [(2,), (8,)]
    assert [level.kind for level in names["means"]] == ["mean of q", "mean of 16 samples of q"]
    assert all(rate.mean > 0.05 for rate in names["rates"])  # both levels are in use
    np.testing.assert_array_equal(names["others"][0], names["codes"][0])
    assert names["images"].shape == (len(names["x"]), 8, 8, 1)
    exact = names["exact"]
    assert exact.mean >= np.mean(exact.elbo)


def test_bound_and_constraint_have_the_sizes_that_comments_say(namespace):
    assert namespace["bound"].shape == (100,)
    assert namespace["codes"].shape == (5, 2)
    assert namespace["images"].shape == (16, 8, 8, 1)
    assert namespace["result"].last_step == 1000
    assert set(namespace["result"].multipliers) == {"nll"}


def test_saddle_point_reaches_the_solution_in_closed_form(namespace):
    variables = namespace["variables"]  # θ = 1/2 on the boundary; 2θ + 2λ(θ − 1) = 0 gives λ = 1
    assert float(variables.params) == pytest.approx(0.5, abs=1e-2)
    assert float(variables.multipliers["error"]) == pytest.approx(1.0, abs=1e-2)


def test_standardised_vectors_and_files_load(namespace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = namespace["vectors"].load()
    assert [len(part.x) for part in vectors.parts.values()] == [400, 50, 50]
    np.testing.assert_allclose(vectors.train.x.std(axis=0), 1, rtol=1e-5)
    rows = "".join(f"{i}.5,{2 * i},{i % 3}\n" for i in range(30))
    (tmp_path / "measurements.csv").write_text("length,width,kind\n" + rows)
    table = namespace["table"].load()
    assert table.train.x.shape == (24, 2)
    assert set(table.train.labels) == {0, 1, 2}
    for name in ("anna", "bert"):
        (tmp_path / "my_faces" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (40, 40), (i, i, i)).save(tmp_path / "my_faces" / name / f"{i}.png")
    faces = namespace["faces"].load()
    assert faces.train.x.shape == (16, 32, 32, 3)
    assert set(faces.train.labels) == {0, 1}


def test_own_prior_is_a_density_and_its_samples_have_its_variance(namespace):
    prior = namespace["StudentT"](1)
    z = np.linspace(-200, 200, 400_001)[:, None]
    density = np.exp(prior.apply({}, z, method="log_prob"))
    assert np.trapezoid(density, dx=1e-3) == pytest.approx(1, abs=1e-4)
    samples = prior.apply({}, jax.random.key(0), 100_000, Given(), method="sample")
    assert float(samples.var()) == pytest.approx(5 / 3, rel=0.05)  # ν/(ν − 2)


@pytest.mark.parametrize("name", ["capacity", "similar"])
def test_own_parts_train_from_a_file(name, tmp_path, monkeypatch):
    my_experiments(tmp_path, monkeypatch)
    found = lookup.find(f"my_experiments.py:{name}")
    result = vaelab.train(found.experiment, progress=False, num_steps=20, log_every=10)
    assert np.all(np.isfinite(result.history["loss"]))
    if name == "similar":
        ((constraint, c),) = result.average.items()
        reached = found.experiment.objective.constraints[constraint].achieved(c, (8, 8, 1))
        assert 0 < reached < 0.8  # of grey images in [0, 1], and κ is not reached in 20 steps
        assert result.multipliers[constraint] > 100
    else:
        result.save(tmp_path / "run")
        trained = vaelab.load(tmp_path / "run", modules=["my_experiments"])
        x = np.full((3, 8, 8, 1), 0.5, np.float32)
        np.testing.assert_array_equal(trained.encode(x), result.encode(x))


def test_readme_has_fewer_than_150_lines():
    assert len(README.splitlines()) < 150


def my_experiments(folder: Path, monkeypatch) -> None:
    """A user's folder: the project's experiments, and a file with the README's last snippet."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_experiments", raising=False)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    (folder / "my_experiments.py").write_text(SNIPPETS[-1], "utf-8")


def parsed(command: str) -> None:
    _, _, _, name, *argv = shlex.split(command)
    module, class_name, _ = cli.COMMANDS[name]
    parse = (getattr(importlib.import_module(module), class_name), argv)
    if "--help" not in argv:
        parsing.parse(*parse, prog=f"vaelab {name}")
        return
    with pytest.raises(SystemExit) as exit_:
        parsing.parse(*parse, prog=f"vaelab {name}")
    assert exit_.value.code == 0


@pytest.mark.parametrize("command", OURS)
def test_command_of_a_document_parses(command, tmp_path, monkeypatch):
    my_experiments(tmp_path, monkeypatch)
    monkeypatch.setattr("vaelab.processes.initialize", lambda *numbers: None)
    parsed(command)


def test_an_unknown_option_does_not_parse(tmp_path, monkeypatch):
    my_experiments(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as exit_:
        parsed("python -m vaelab sample runs/digits --num-draws 3")
    assert exit_.value.code == 2


def test_readme_shows_every_main_command():
    shown = {shlex.split(command)[3] for command in commands(README) if command in OURS}
    assert {"train", "evaluate", "sample", "encode", "calibrate", "sweep"} <= shown


@pytest.mark.parametrize(
    "module", sorted({shlex.split(command)[2] for command in EVERY_COMMAND} - {"pip"})
)
def test_module_of_a_document_exists(module):
    assert importlib.util.find_spec(module) is not None


def test_extras_of_documents_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r'"(?:vaelab|\.)\[([\w,]+)\]"', "".join(TEXTS.values()))
    assert named
    assert {extra for names in named for extra in names.split(",")} <= set(
        project["optional-dependencies"]
    )


@pytest.mark.parametrize(
    ("document", "target"),
    [
        (document, target)
        for document, text in TEXTS.items()
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    ],
)
def test_link_leads_to_a_file_of_the_project(document, target):
    published = PUBLISHED.fullmatch(target)
    if published is not None:
        assert (ROOT / published[1]).exists()
    else:
        assert document != "README.md", "the wheel shows README elsewhere: make the link absolute"
        assert ((ROOT / document).parent / target).exists()


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "README.md", "experiments/README.md"])
def test_path_that_a_document_names_exists(document):
    paths = re.findall(r"`((?:vaelab|tests|docs|experiments)/[\w./]+)`", TEXTS[document])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_experiments_that_documents_name_exist(monkeypatch):
    monkeypatch.chdir(ROOT)
    for document in ("README.md", "experiments/README.md"):
        named = re.findall(r"`(\w*(?:digits|mnist|cifar10|celeba)\w*_\w+)`", TEXTS[document])
        assert named
        assert set(named) <= {*lookup.find_all(), "vampprior"}


@pytest.mark.parametrize("extra", ["runs", "test"])
def test_ci_runs_the_readmes_commands(extra):
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    install, use = re.search(
        rf'(python -m pip install -c constraints.txt -e "\.\[{extra}\]") && (.*)\n', README
    ).groups()
    assert install.replace("pip install", "pip install --quiet") in ci
    assert use in ci


def test_constraints_are_plain_pins():
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    assert lines
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+]+", line) for line in lines)

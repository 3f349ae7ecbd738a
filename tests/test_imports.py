"""Who may import whom: every import in the syntax trees, and what importing costs."""

from __future__ import annotations

import ast
import pathlib
import statistics
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A file imports only from rows above its own, or from its own package.
LAYERS = [
    {"types", "checks", "untrusted"},
    {"npy"},
    {"processes"},
    {"storage", "signals"},
    {"losses", "constraints"},
    {"saddle"},
    {"natural"},
    {"theory"},
    {"separate", "events", "stateless", "streams", "one_off"},
    {"likelihoods", "networks"},
    {"priors"},
    {"models"},
    {"training", "evaluation", "geometry"},
    {"data"},
    {"plotting"},
    {"runs"},
    {"cli"},
    {"__main__"},
    {"experiments"},
]
RANK = {package: rank for rank, packages in enumerate(LAYERS) for package in packages}

# Where a third-party package may be imported, at whatever depth of a file.
MODULES = {"separate", "events", "stateless", "likelihoods", "networks", "priors", "models"}
CONFINED = {
    "flax": MODULES,
    "distrax": MODULES,
    "optax": {"saddle", "training", "experiments"},
    "tensorflow_datasets": {"data"},
    "tensorflow": {"data"},
    "equinox": set(),
    "rustworkx": {"geometry"},
    "gudhi": {"geometry"},
    "matplotlib": {"plotting", "runs", "experiments"},
    "rich": {"runs", "cli", "experiments"},
    "imageio": {"runs"},
    "grain": {"training"},
    "tyro": {"cli", "experiments"},
}
# Within vaelab/runs: the files that may import a package. Tables are values of some results.
_TABLES = {"display", "report", "comparison", "measures", "prior_report"}
RUNS = {
    "matplotlib": {"pictures"},
    "rich.table": _TABLES,
    "rich": {"display"},
    "imageio": {"files"},
}
# Scripts whose model is written in another library than Linen.
EXAMPLES = {"experiments/with_equinox.py": "equinox", "experiments/with_nnx.py": "flax"}


def package_of(parts: tuple[str, ...]) -> str:
    """The layer of a dotted name: ("vaelab", "priors", "vamp") -> "priors"."""
    if parts[0] == "experiments":
        return "experiments"
    return parts[1] if len(parts) > 1 else ""


def imported_names(source: str, module: tuple[str, ...], is_package: bool):
    """Every absolute dotted name a source imports, as (line number, parts).

    `from a import b` counts as a.b, as b may be a module. `import_module("a.b")` counts too.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = module[: len(module) - node.level + is_package] + base
            for alias in node.names:
                yield node.lineno, (*base, alias.name)
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", None))
            target = getattr(node.args[0], "value", None)
            if name in ("import_module", "__import__") and isinstance(target, str):
                yield node.lineno, tuple(target.split("."))


def lines_for_types(source: str) -> set[int]:
    """The lines below `if TYPE_CHECKING:`, which never run."""
    blocks = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {line for block in blocks for line in range(block.lineno, block.end_lineno + 1)}


def allowed_in_runs(name: tuple[str, ...], module: tuple[str, ...]) -> bool:
    """True if this file of vaelab/runs may import the name."""
    for length in (2, 1):  # the longest name first
        files = RUNS.get(".".join(name[:length]))
        if files is not None:
            return module[-1] in files
    return True


def violations(source: str, path: str) -> list[str]:
    """The imports of one file that its place does not allow. `path` is relative to the root."""
    parts = pathlib.PurePosixPath(path).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    module = parts[:-1] if is_package else parts
    here = package_of(module)
    if here and here not in RANK:
        return [f"{path}: {here} has no place in the layering"]
    found, types = [], lines_for_types(source)
    for line, name in imported_names(source, module, is_package):
        if name[0] in ("vaelab", "experiments"):
            there = package_of(name)
            # `vaelab/__init__.py` (here is "") imports nothing; `import vaelab` reaches nothing.
            if there in RANK and there != here and RANK[there] >= RANK.get(here, 0):
                found.append(f"{path}:{line}: {here or 'vaelab'} may not import {there}")
        elif (
            name[0] in CONFINED and name[0] != EXAMPLES.get(path) and here not in CONFINED[name[0]]
        ):
            found.append(f"{path}:{line}: {here or 'vaelab'} may not import {name[0]}")
        elif here == "runs" and line not in types and not allowed_in_runs(name, module):
            found.append(f"{path}:{line}: {module[-1]} may not import {'.'.join(name[:2])}")
    return found


def sources():
    return sorted(p for top in ("vaelab", "experiments") for p in (ROOT / top).rglob("*.py"))


def test_every_file_imports_only_what_its_layer_may():
    files = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sources()}
    assert {"vaelab/losses.py", "vaelab/saddle/geco_rule.py"} <= set(files)
    assert [found for path, text in files.items() for found in violations(text, path)] == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("vaelab/losses.py", "from vaelab import saddle", "losses may not import saddle"),
        ("vaelab/losses.py", "from vaelab.constraints import RE", "losses may not import constr"),
        ("vaelab/types.py", "import vaelab.losses", "types may not import losses"),
        ("vaelab/priors/vamp.py", "from vaelab.models import vae", "priors may not import models"),
        ("vaelab/priors/vamp.py", "from ..models.vae import VAE", "priors may not import models"),
        ("vaelab/priors/__init__.py", "from .. import models", "priors may not import models"),
        ("vaelab/training/loop.py", "from vaelab import evaluation", "may not import evaluation"),
        ("vaelab/networks/mlp.py", "from vaelab import likelihoods", "may not import likelihoods"),
        ("vaelab/likelihoods/base.py", "import vaelab.networks", "may not import networks"),
        ("vaelab/geometry/paths.py", "from vaelab import evaluation", "may not import evaluation"),
        (
            "vaelab/geometry/paths.py",
            "from vaelab.data import mnist",
            "geometry may not import data",
        ),
        ("vaelab/plotting/a.py", "import rustworkx", "plotting may not import rustworkx"),
        ("vaelab/natural.py", "import distrax", "natural may not import distrax"),
        ("vaelab/theory/a.py", "from vaelab import models", "theory may not import models"),
        ("vaelab/data/images.py", "import experiments.configs", "may not import experiments"),
        ("vaelab/__init__.py", "from vaelab import losses", "vaelab may not import losses"),
        ("vaelab/__init__.py", "import optax", "vaelab may not import optax"),
        ("vaelab/utils.py", "", "utils has no place in the layering"),
        ("vaelab/saddle/point.py", "import flax.linen as nn", "saddle may not import flax"),
        ("vaelab/losses.py", "import distrax", "losses may not import distrax"),
        ("vaelab/evaluation/gap.py", "from optax import adam", "may not import optax"),
        (
            "vaelab/models/vae.py",
            "def load():\n    import tensorflow_datasets as tfds",
            "models may not import tensorflow_datasets",
        ),
        (
            "experiments/train.py",
            "try:\n    import tensorflow.io\nexcept ImportError:\n    pass",
            "experiments may not import tensorflow",
        ),
        ("vaelab/data/images.py", "from vaelab import plotting", "data may not import plotting"),
        ("vaelab/plotting/a.py", "from vaelab.runs import Result", "plotting may not import runs"),
        ("vaelab/runs/train.py", "from vaelab.cli import parsing", "runs may not import cli"),
        ("vaelab/cli/main.py", "from experiments import digits", "cli may not import experiments"),
        ("vaelab/runs/train.py", "import tyro", "runs may not import tyro"),
        ("vaelab/plotting/a.py", "import rich", "plotting may not import rich"),
        ("vaelab/runs/workdir.py", "import matplotlib.pyplot", "may not import matplotlib.pyplot"),
        (
            "vaelab/runs/result.py",
            "def f():\n    import matplotlib",
            "result may not import matplotlib",
        ),
        (
            "vaelab/runs/workdir.py",
            "from rich.table import Table",
            "workdir may not import rich.table",
        ),
        (
            "vaelab/runs/report.py",
            "from rich.console import Console",
            "report may not import rich.console",
        ),
        (
            "vaelab/training/loop.py",
            "import importlib\nflax = importlib.import_module('flax.linen')",
            "training may not import flax",
        ),
    ],
)
def test_the_checker_finds(path, source, found):
    (violation,) = violations(source, path)
    assert found in violation


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("vaelab/losses.py", "import chex\nimport jax\nfrom vaelab.types import Array"),
        ("vaelab/saddle/point.py", "import optax\nfrom vaelab import losses, types"),
        ("vaelab/priors/vamp.py", "import distrax, flax\nfrom .base import Prior"),
        ("vaelab/priors/__init__.py", "from vaelab.priors.vamp import VampPrior"),
        (
            "vaelab/data/images.py",
            "def f():\n    import tensorflow_datasets\n    import tensorflow",
        ),
        ("vaelab/plotting/curves.py", "from vaelab import data, theory\nimport matplotlib"),
        ("experiments/a.py", "import optax, vaelab, tyro\nfrom experiments import digits"),
        ("vaelab/runs/report.py", "from rich.table import Table"),
        ("vaelab/runs/display.py", "from rich.console import Console"),
        ("vaelab/runs/pictures.py", "from matplotlib.figure import Figure"),
        (
            "vaelab/runs/result.py",
            "if TYPE_CHECKING:\n    from matplotlib.figure import Figure\nimport numpy",
        ),
        ("vaelab/cli/train.py", "import tyro, rich.table\nfrom vaelab import runs"),
        ("vaelab/losses.py", "import flaxen, optax_extra, tensorflow_probability"),
    ],
)
def test_the_checker_allows(path, source):
    assert violations(source, path) == []


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_losses_and_saddle_need_no_neural_network_library():
    code = """
import sys
from vaelab import losses, saddle
heavy = {"flax", "distrax", "orbax", "tensorflow", "tensorflow_probability", "tensorflow_datasets"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("statement", ["from vaelab import losses", "import vaelab; vaelab.losses"])
def test_losses_load_neither_flax_nor_distrax(statement):
    code = (
        f"import sys; {statement}; print(sorted({{'flax', 'distrax', 'optax'}} & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


def test_training_in_memory_loads_no_matplotlib():
    """Nor does loading a run, or tyro: plots are imported when they are drawn."""
    code = """
import sys
import vaelab
vaelab.train, vaelab.load, vaelab.Experiment
from vaelab import runs
print(sorted({"matplotlib", "tyro", "tensorflow", "tensorflow_datasets", "grain"} & set(sys.modules)))
"""
    assert run(code).strip() == "[]"


def test_every_public_name_is_there_and_a_wrong_one_is_refused():
    code = """
import vaelab
for name in vaelab.__all__:
    getattr(vaelab, name)
assert set(vaelab.__all__) <= set(dir(vaelab))
try:
    vaelab.loses
except AttributeError as error:
    print(error)
"""
    assert run(code).strip() == "module 'vaelab' has no attribute 'loses'"


def test_a_missing_package_is_named_with_its_extra():
    code = """
import sys
sys.modules["orbax"] = sys.modules["orbax.checkpoint"] = None
import vaelab
try:
    vaelab.train
except vaelab.UsageError as error:
    print(error)
"""
    assert run(code).startswith("vaelab.runs needs the package orbax")


def test_importing_vaelab_imports_nothing():
    code = """
import sys
before = set(sys.modules)
import vaelab
print(sorted(set(sys.modules) - before))
"""
    assert run(code).strip() == "['vaelab']"


def test_losses_and_saddle_add_little_to_importing_jax_and_optax():
    """Less than 0.3 s beside jax and optax, chex included: the median of three processes."""
    code = """
import time
import jax, optax
start = time.perf_counter()
from vaelab import losses, saddle
print(time.perf_counter() - start)
"""
    assert statistics.median(float(run(code)) for _ in range(3)) < 0.3

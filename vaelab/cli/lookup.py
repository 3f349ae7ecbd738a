"""Where experiments are found: in experiments/*.py below the current folder, or in a file that is named."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from vaelab.checks import MissingFileError, UsageError
from vaelab.runs import Experiment
from vaelab.runs.functions import is_installed

FOLDER = "experiments"


class Found(NamedTuple):
    """An experiment, its name, and the file that defines it."""

    name: str
    experiment: Experiment
    source: str


def find(target: str) -> Found:
    """The experiment of a name, or of FILE.py or FILE.py:KEY.

    Raises:
      UsageError: there is no such experiment, or its file is not as expected.
    """
    path, _, key = target.partition(":")
    if path.endswith(".py"):
        return _in_file(Path(path).expanduser(), key)
    everything = find_all()
    if target in everything:
        return everything[target]
    if not everything:
        raise UsageError(
            f"there is no experiment {target!r}, because no file {FOLDER}/*.py below the current folder has "
            "EXPERIMENTS: change to the project's folder, or name a file, such as mine.py:NAME."
        )
    nearest = difflib.get_close_matches(target, everything, 1, cutoff=0.0)[0]
    raise UsageError(
        f"there is no experiment {target!r}; the nearest name is {nearest!r} (see --help)."
    )


def find_all() -> dict[str, Found]:
    """Every experiment in experiments/*.py, by name.

    Raises:
      UsageError: two files define the same name.
    """
    found: dict[str, Found] = {}
    for path in sorted(Path(FOLDER).glob("*.py")):
        if _defines_experiments(path):
            for name, experiment in _experiments(path).items():
                if name in found:
                    raise UsageError(
                        f"{found[name].source} and {path} both define the experiment {name!r}: rename one."
                    )
                found[name] = Found(name, experiment, str(path))
    return found


def find_file(name: str) -> dict[str, Found]:
    """Every experiment of one file: its path, or its name in the folder."""
    path = Path(name) if name.endswith(".py") else Path(FOLDER) / f"{name}.py"
    if not path.exists():
        raise MissingFileError(f"there is no file {path}: name a file with EXPERIMENTS.")
    return {key: Found(key, value, str(path)) for key, value in _experiments(path).items()}


def import_modules(names: tuple[str, ...]) -> list[ModuleType]:
    """Modules that define types of the user's own, by their names or files."""
    modules = []
    for name in names:
        if name.endswith(".py"):
            modules.append(_import(Path(name).expanduser()))
            continue
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            raise UsageError(f"modules: there is no module {name!r} ({error}).") from None
    return modules


def _in_file(path: Path, key: str) -> Found:
    experiments = _experiments(path)
    if not key and len(experiments) == 1:
        key = next(iter(experiments))
    if key not in experiments:
        names = ", ".join(experiments)
        what = f"has no experiment {key!r}" if key else "has several experiments"
        raise UsageError(f"{path} {what}: name one of them, such as {path}:{next(iter(experiments))} ({names}).")  # fmt: skip
    return Found(key, experiments[key], str(path))


def _experiments(path: Path) -> Mapping[str, Experiment]:
    """EXPERIMENTS of a file; else every experiment that a variable of the file holds."""
    module = _import(path)
    contents = vars(module)
    experiments = contents.get("EXPERIMENTS")
    if experiments is None:
        experiments = {name: value for name, value in contents.items() if type(value) is Experiment}
    if not isinstance(experiments, Mapping) or not experiments:
        raise UsageError(
            f"{path} defines no experiments: give it EXPERIMENTS = {{'name': Experiment(...)}}."
        )
    for name, value in experiments.items():
        if type(value) is not Experiment:
            raise UsageError(
                f"{path}: EXPERIMENTS[{name!r}] is of type {type(value).__name__}: make it an Experiment."
            )
    return experiments


def _import(path: Path) -> ModuleType:
    """The module of a file. A file of the folder `experiments` is a module of that package."""
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}: correct the path.")
    inside = path.parent == Path(FOLDER)
    name = f"{FOLDER}.{path.stem}" if inside else path.stem
    known = sys.modules.get(name)
    if known is not None:
        if Path(known.__file__ or "").resolve() == path.resolve():
            return known
        if is_installed(known):
            raise UsageError(
                f"{path} has the name of the module {name}, which is in use: rename the file."
            )
    folder = str((Path.cwd() if inside else path.parent).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # for imports of its siblings
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it is a .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise _syntax(path, error) from None
    except ModuleNotFoundError as error:
        del sys.modules[name]
        raise UsageError(
            f"{path} imports {error.name}, which is not found: install it, or correct the import."
        ) from None
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _syntax(path: Path, error: SyntaxError) -> UsageError:
    """The error of a file that is no Python, or that imports one."""
    return UsageError(f"{error.filename or path}, line {error.lineno}: {error.msg}.")


def _defines_experiments(path: Path) -> bool:
    """True if a file assigns EXPERIMENTS: other files of the folder are not imported."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        raise _syntax(path, error) from None
    except ValueError as error:  # null bytes
        raise UsageError(f"{path} is no Python file: {error}.") from None
    targets = [
        target
        for node in tree.body
        for target in (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
    ]  # fmt: skip
    return any(isinstance(target, ast.Name) and target.id == "EXPERIMENTS" for target in targets)

"""The README: its snippets run, and what it names exists."""

import re
from pathlib import Path

import pytest

from experiments import command_line

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_snippets_run_in_order():
    namespace: dict = {}
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), namespace)
    assert namespace["bound"].shape == (100,)
    assert float(namespace["variables"].multipliers["nll"]) == 1000.0  # held until first met
    assert namespace["estimate"].num_samples == 500


def test_there_are_seven_snippets():
    assert len(SNIPPETS) == 7


def test_every_experiment_is_listed_and_every_listed_one_exists():
    listed = re.findall(r"`(\w*(?:digits|mnist|cifar10|celeba)\w*_\w+)`", README)
    assert set(listed) == set(command_line.names())


@pytest.mark.parametrize("extra", ["experiments", "test"])
def test_ci_runs_the_readmes_commands(extra):
    commands = (ROOT / ".ci" / "run").read_text()
    install, use = re.search(
        rf'```bash\n(python -m pip install -c constraints.txt -e "\.\[{extra}\]") && (.*)\n```',
        README,
    ).groups()
    assert install.replace("pip install", "pip install --quiet") in commands
    assert use in commands


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_linked_files_exist(target):
    assert (ROOT / target).exists()


def test_constraints_are_plain_pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    assert lines
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+]+", line) for line in lines)

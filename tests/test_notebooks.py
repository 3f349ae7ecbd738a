"""The notebooks run from the first cell to the last, and hold their outputs."""

from __future__ import annotations

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

COLABS = pathlib.Path(__file__).parents[1] / "colabs"
NOTEBOOKS = sorted(COLABS.glob("*.ipynb"))
# The same cells with fewer steps: the outputs that a notebook holds are of its own numbers.
SHORTER = {"num_steps=1500": "num_steps=150", "jax.random.key(2), 2000": "jax.random.key(2), 200"}


def code_lines(notebook) -> int:
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    lines = (line.strip() for source in cells for line in source.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for number, fewer in SHORTER.items():
            cell.source = cell.source.replace(number, fewer)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    streams = [o for cell in notebook.cells for o in cell.get("outputs", []) if "name" in o]
    assert [output.text for output in streams if output.name == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_holds_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    assert code_lines(notebook) < 60
    assert path.stat().st_size < 1e6
    assert all(number in "".join(c.source for c in notebook.cells) for number in SHORTER)
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs
    text = path.read_text()
    for trace in ("/home/", "/root/", "/tmp/", "Traceback"):
        assert trace not in text


def test_there_is_a_quickstart():
    assert [path.stem for path in NOTEBOOKS] == ["quickstart"]

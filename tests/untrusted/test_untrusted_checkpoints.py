"""Damaged and foreign checkpoints of a run."""

from __future__ import annotations

import gc
import json
import pathlib
import shutil

import pytest
from hypothesis import strategies as st
from malformed import damaged, for_all, is_sentence, reads_or_refuses

from vaelab import runs
from vaelab.checks import UsageError
from vaelab.training.checkpoint_reading import read_raw

# Orbax leaves coroutines behind when it cannot read a checkpoint.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _collect():
    """What was left is found here, and not in the tests of another module."""
    yield
    gc.collect()


few = pytest.mark.parametrize("num_inputs", [12, pytest.param(1000, marks=pytest.mark.slow)], ids=["some", "all"])  # fmt: skip


@pytest.fixture
def folder(short_run, tmp_path):
    return shutil.copytree(short_run, tmp_path / "run")


def files_of(folder: pathlib.Path) -> list[str]:
    """The files of the checkpoints, by their paths."""
    paths = (folder / "checkpoints").rglob("*")
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


@few
def test_damaged_checkpoints_are_read_or_refused(num_inputs, short_run, tmp_path):
    names = files_of(short_run)
    whole = {name: (short_run / name).read_bytes() for name in names}
    folder = shutil.copytree(short_run, tmp_path / "run")

    def check(name_and_content):
        name, content = name_and_content
        (folder / name).write_bytes(content)
        read = reads_or_refuses(lambda: runs.load(folder), folder=folder, may_warn="cannot be read")
        (folder / name).write_bytes(whole[name])
        return read

    texts = [name for name in names if whole[name][:1] == b"{"]
    one = st.sampled_from(texts) | st.sampled_from(names)
    for_all(num_inputs, check, one.flatmap(lambda n: st.tuples(st.just(n), damaged(whole[n]))))


def test_a_number_of_5000_digits_in_the_metadata_is_one_sentence(short_run, tmp_path):
    folder = shutil.copytree(short_run, tmp_path / "run")
    (path,) = folder.glob("checkpoints/*/_CHECKPOINT_METADATA")
    path.write_text('{"init_timestamp_nsecs": ' + 5000 * "9" + "}")
    with pytest.raises(
        UsageError, match=r"^a checkpoint in .* is damaged \(.*\): remove its folder"
    ):
        runs.load(folder)


def changed_metadata(folder: pathlib.Path, change) -> None:
    """Changes the JSON of orbax's files with metadata of the arrays."""
    for name in files_of(folder):
        path = folder / name
        if path.name in ("_METADATA", "array_metadatas", ".zarray") or path.name.startswith(
            "process_"
        ):
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))


def test_a_checkpoint_that_is_larger_than_memory_is_not_read(folder, monkeypatch):
    read_raw(folder / "checkpoints")
    monkeypatch.setattr("vaelab.untrusted.host_memory", lambda: 2000)
    with pytest.warns(UserWarning, match="cannot be read"), pytest.raises(UsageError) as error:
        read_raw(folder / "checkpoints")
    assert "holds no checkpoint that can be read" in str(error.value)
    is_sentence(str(error.value))


def test_a_checkpoint_of_another_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["configuration"]["model"]["decoder"]["trunk"]["hidden"] = [7]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UsageError, match=r"has parameters that do not fit the model: .* has the shape"
    ):
        runs.load(folder)


def test_an_array_that_claims_any_size_is_not_made(folder):
    """Chunks that are missing would be read as zeros."""
    tensorstore = pytest.importorskip("tensorstore")
    place = f"file://{folder}/checkpoints/5/default/"
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": place}).result()
    keys = [key.decode() for key in store.list().result()]
    key = next(key for key in keys if key.endswith("bias/.zarray"))
    for claim in ({"shape": [10**12]}, {"shape": [10**30]}, {"chunks": [10**12]}, {"shape": "x"}):
        array = json.loads(store.read(key).result().value)
        store.write(key, json.dumps(array | claim).encode()).result()
        with pytest.warns(UserWarning, match="cannot be read"), pytest.raises(UsageError):
            runs.load(folder)
        store.write(key, json.dumps(array).encode()).result()
    runs.load(folder)


def test_names_in_a_checkpoint_lead_nowhere_else(folder, tmp_path):
    """Parameters whose names lead out of the folder are neither read nor written there."""
    secret = tmp_path / "secret"
    shutil.copytree(folder / "checkpoints", secret)
    before = sorted(tmp_path.rglob("*"))
    renamed = []

    def rename(content):
        tree = content.get("tree_metadata", {})
        for key in [key for key in tree if "'step'" in key]:
            tree[key.replace("'step'", "'../../../secret'")] = tree.pop(key)
            renamed.append(key)

    changed_metadata(folder, rename)
    assert renamed
    reads_or_refuses(lambda: runs.load(folder), may_warn="cannot be read")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_in_which_nothing_was_trained_is_left_as_it_is(folder):
    shutil.rmtree(folder / "checkpoints")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError, match="holds no checkpoint that can be read"):
        runs.load(folder)
    assert sorted(folder.rglob("*")) == before

"""Malformed inputs through whole processes: an exit code, one sentence, and nothing left."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import shutil
import struct

import numpy as np
import pytest
from conftest import ROOT, files
from small import TEST


def damage_nothing(folder: pathlib.Path) -> None:
    del folder


def cut_config(folder):
    path = folder / "config.json"
    path.write_bytes(path.read_bytes()[:100])


def deep_config(folder):
    (folder / "config.json").write_bytes(b"[" * 10**6)


def with_activation(part):
    def damage(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["configuration"]["model"]["encoder"]["trunk"]["activation"] = part
        path.write_text(json.dumps(config))

    return damage


def huge_model(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["configuration"]["model"]["encoder"]["trunk"]["hidden"] = [10**9]
    path.write_text(json.dumps(config))


def no_checkpoints(folder):
    shutil.rmtree(folder / "checkpoints")


def cut_checkpoints(folder):
    for path in (folder / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])


def text_report(folder):
    (folder / "report.json").write_text('{"experiment": 3}')
    (folder / "metrics.jsonl").write_bytes(b"\0\0\n{}\n")
    cut_config(folder)


def write_inputs(place: pathlib.Path) -> None:
    """Hostile data files."""
    (place / "object.npy").write_bytes(_npy("|O", (20, 3)))
    (place / "huge.npy").write_bytes(_npy("<f4", (10**12, 16)))
    (place / "cut.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    (place / "ragged.csv").write_text("1,2,3\n1,2\n")
    (place / "nul.csv").write_bytes(b"1,\0,3\n")
    (place / "images").mkdir()
    (place / "images/a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (place / "nan.npy").write_bytes(_npy("<f4", (20, 4, 4, 1), np.full(320, np.nan, "<f4")))
    (place / "broken.py").write_bytes(b"EXPERIMENTS = (" * 3)
    (place / "binary.py").write_bytes(bytes(range(256)))
    (place / "empty.py").write_text("EXPERIMENTS = 3\n")
    mnist = place / "data/mnist"
    mnist.mkdir(parents=True)
    bomb = gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 28), 1)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (mnist / f"{name}-ubyte.gz").write_bytes(bomb)


def _npy(kind: str, shape, content=b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(content)


ACTS = {"type": "partial", "function": {"type": "function", "name": "jax.profiler.start_trace"}, "arguments": ["made"], "keywords": {}}  # fmt: skip
SYSTEM = {"type": "function", "name": "os.system"}
# What is damaged in the folder `run`, and the command.
CASES = {
    "a config that is cut": (cut_config, "sample run"),
    "a config that is nested": (deep_config, "encode run images"),
    "a record of a command": (with_activation(SYSTEM), "sample run"),
    "a record of a trace": (with_activation(ACTS), "encode run nan.npy"),
    "a model of any size": (huge_model, "sample run"),
    "no checkpoints": (no_checkpoints, "sample run"),
    "checkpoints that are cut": (cut_checkpoints, "sample run"),
    "small files of other types": (text_report, "evaluate run"),
    "pickled data": (damage_nothing, "encode run object.npy"),
    "data of any size": (damage_nothing, "encode run huge.npy"),
    "an archive that is cut": (damage_nothing, "encode run cut.npz"),
    "a ragged table": (damage_nothing, "encode run ragged.csv"),
    "a table with null bytes": (damage_nothing, "encode run nul.csv"),
    "a program in the place of an image": (damage_nothing, "encode run images"),
    "data that are not finite": (damage_nothing, "encode run nan.npy"),
    "a file that is no Python": (damage_nothing, "train broken.py:a"),
    "a binary file": (damage_nothing, "sweep binary.py:a --seeds 2"),
    "a file without experiments": (damage_nothing, "suite empty.py"),
    "a data set that goes on": (damage_nothing, "train {root}/experiments/mnist.py:{mnist} --data-dir data"),
    "a pilot that is none": (damage_nothing, "train {root}/experiments/digits.py:digits_vhp_rewo --pilot run"),
    "numbers out of range": (damage_nothing, "calibrate {root}/experiments/digits.py:digits_vhp_rewo --fraction nan"),
    "a data set that TFDS does not have": (damage_nothing, "prepare ../../etc --data-dir data"),
}  # fmt: skip
FEW = ("a record of a trace", "data of any size")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in CASES],
)
def test_a_malformed_input_ends_a_process_with_one_sentence(name, command, short_run, tmp_path):
    damage, words = CASES[name]
    shutil.copytree(short_run, tmp_path / "run")
    write_inputs(tmp_path)
    damage(tmp_path / "run")
    before = files(tmp_path)
    words = words.format(root=ROOT, mnist="mnist_vae_elbo").split()
    module = ["vaelab.data.prepare", *words[1:]] if words[0] == "prepare" else ["vaelab", *words]
    result = command(
        "-m", *module, cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(ROOT)]), TFDS_DATA_DIR=str(tmp_path / "none")
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    if not result.stderr.startswith("╭"):  # tyro's box around a sentence
        *warned, last = result.stderr.strip().splitlines()
        assert "error: " in last, result.stderr
        assert not any("error: " in line for line in warned), result.stderr
    assert not result.stdout
    assert files(tmp_path) == before


def test_the_inputs_are_hostile(tmp_path):
    """What the cases above rest on."""
    write_inputs(tmp_path)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "object.npy")
    assert np.isnan(np.load(tmp_path / "nan.npy")).all()
    assert np.load(tmp_path / "nan.npy").shape[1:] == TEST.shape[1:]

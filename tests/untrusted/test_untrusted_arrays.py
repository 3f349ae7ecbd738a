"""Malformed npy, npz, MATLAB and idx files."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
import scipy.io
from hypothesis import strategies as st
from malformed import damaged, for_all, num_inputs, reads_or_refuses

from vaelab import runs
from vaelab.checks import DamagedFileError
from vaelab.data import Files
from vaelab.data.readers import read_idx, read_mat, read_npy, read_npz
from vaelab.networks.frozen import MNIST_PATH, load_frozen

X = np.arange(60, dtype=np.float32).reshape(20, 3) / 60
TYPES = ["<f4", ">f8", "<i2", "|u1", "|b1", "<c8", "|O", "<U4", "|S3", "|V8", "|S0", "<M8[s]", "(2,)f4", "f2", "a5", "|S2147483647"]  # fmt: skip
LENGTHS = st.sampled_from([0, 1, 3, 20, 60, 2**31, 2**40, 2**62, 2**64, 10**30])


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(save=np.savez, **arrays) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def mat(**arrays) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=True)
    return file.getvalue()


@st.composite
def headers(draw) -> bytes:
    """An npy file whose header states any type and shape."""
    shape = tuple(draw(st.lists(LENGTHS | st.just(-1), max_size=40)))
    kind = draw(st.sampled_from(TYPES))
    descr = draw(st.sampled_from([repr(kind), "[('a','<f4'),('b','<i8')]", "''", "None", "[" * 50]))
    body = f"{{'descr': {descr}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}"
    text = body.encode() + b" " * draw(st.integers(0, 70)) + b"\n"
    version = draw(st.sampled_from([1, 1, 1, 2, 3]))
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + draw(st.binary(max_size=300))


def archive(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members:
            out.writestr(name, content)
    return file.getvalue()


NAMES = st.sampled_from(["x", "labels", "context", "test_x", "x.npy", "../x", "a\nb", "x/y", ""]) | st.text(max_size=5)  # fmt: skip


@st.composite
def archives(draw) -> bytes:
    """An npz file of whole and damaged members, some of them twice."""
    contents = st.sampled_from([npy(X), npy(np.arange(20)), npy(np.array({}, object))])
    members = draw(st.lists(st.tuples(NAMES, contents | headers() | damaged(npy(X))), max_size=4))
    members = [(f"{name}.npy", content) for name, content in members if "\0" not in name]
    with pytest.warns() if len(dict(members)) < len(members) else io.BytesIO():
        return archive(members)


def is_array(array) -> None:
    assert isinstance(array, np.ndarray)
    assert not array.dtype.hasobject


def are_splits(splits) -> None:
    for part in splits.parts.values():
        assert part.x.dtype == np.float32
        assert np.isfinite(part.x).all()


@num_inputs
def test_npy_files_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.npy"

    def check(content):
        path.write_bytes(content)
        read = reads_or_refuses(lambda: read_npy(path), is_array, folder=tmp_path)
        reads_or_refuses(Files(path).load, are_splits, folder=tmp_path)
        return read

    for_all(num_inputs, check, damaged(npy(X)) | headers() | st.binary(max_size=200))


@num_inputs
def test_npz_files_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.npz"

    def check(content):
        path.write_bytes(content)
        arrays = lambda: read_npz(path, ("x", "labels"))  # noqa: E731
        reads_or_refuses(arrays, lambda found: [is_array(each) for each in found.values()])
        reads_or_refuses(lambda: runs.import_params(path), folder=tmp_path)
        return reads_or_refuses(Files(path).load, are_splits, folder=tmp_path)

    valid = npz(x=X, labels=np.arange(20)), npz(np.savez_compressed, x=X)
    for_all(num_inputs, check, damaged(valid[0]) | damaged(valid[1]) | archives())


@num_inputs
def test_matlab_files_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.mat"
    cell = np.empty(2, object)
    cell[:] = [X, {"a": X}]
    compressed = [mat(x=X), mat(x=cell, y=X), mat(x="text")]
    plain = io.BytesIO()
    scipy.io.savemat(plain, {"x": X, "y": X})
    old = io.BytesIO()
    scipy.io.savemat(old, {"x": X}, format="4")

    def check(content):
        path.write_bytes(content)
        found = lambda: read_mat(path, ("x",))["x"]  # noqa: E731
        return reads_or_refuses(found, is_array, folder=tmp_path)

    valid = [*compressed, plain.getvalue(), old.getvalue()]
    for_all(num_inputs, check, st.sampled_from(valid).flatmap(damaged))


@num_inputs
def test_idx_files_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "x.gz"

    def check(axes, count, content, compressed):
        plain = b"\0\0\x08" + bytes([count]) + struct.pack(f">{len(axes)}I", *axes) + content
        path.write_bytes(gzip.compress(plain, 1) if compressed else plain)
        return reads_or_refuses(lambda: read_idx(path), is_array, folder=tmp_path)

    axes = st.lists(st.sampled_from([0, 1, 1, 2, 28, 2**32 - 1]), max_size=70)
    given = axes.flatmap(lambda a: st.tuples(st.just(a), st.just(len(a)) | st.integers(0, 255)))
    check_all = lambda pair, content, compressed: check(*pair, content, compressed)  # noqa: E731
    for_all(num_inputs, check_all, given, st.binary(max_size=60), st.booleans())
    whole = gzip.compress(b"\0\0\x08\x02" + struct.pack(">2I", 3, 4) + bytes(12))

    def check_bytes(content):
        path.write_bytes(content)
        return reads_or_refuses(lambda: read_idx(path), is_array)

    for_all(num_inputs, check_bytes, damaged(whole))


@num_inputs
def test_frozen_networks_are_read_or_refused(num_inputs, tmp_path):
    path = tmp_path / "net.npz"
    with np.load(MNIST_PATH) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    small = {name: array for name, array in kept.items() if array.size < 2000}
    metadata = str(kept["metadata"]).encode()

    def check(content):
        path.write_bytes(content)
        load_frozen.cache_clear()
        return reads_or_refuses(lambda: load_frozen(str(path)), folder=tmp_path)

    def with_metadata(text: bytes) -> bytes:
        return npz(**kept | {"metadata": np.array(text.decode("latin-1"))})

    for_all(num_inputs, check, damaged(npz(**small)) | damaged(metadata).map(with_metadata) | archives())  # fmt: skip
    load_frozen.cache_clear()


# Files that expand.


def test_a_compressed_bomb_is_refused_before_it_expands(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.untrusted.host_memory", lambda: 2**21)
    path = tmp_path / "x.npz"
    path.write_bytes(npz(np.savez_compressed, x=np.zeros(2**21, np.uint8)))
    assert path.stat().st_size < 5000
    with pytest.raises(DamagedFileError, match="more than half of the memory"):
        read_npz(path, ("x",))
    (tmp_path / "x.mat").write_bytes(mat(x=np.zeros((2**10, 2**11))))
    with pytest.raises(DamagedFileError, match="more than half of the memory"):
        read_mat(tmp_path / "x.mat", ("x",))


def test_an_idx_file_that_goes_on_is_read_to_its_length_only(tmp_path):
    path = tmp_path / "x.gz"
    header = b"\0\0\x08\x01" + struct.pack(">I", 5)
    path.write_bytes(gzip.compress(header + bytes(2**28), 1))
    with pytest.raises(DamagedFileError, match="holds more than 5 values, and its header says"):
        read_idx(path)


def test_arrays_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.warns(UserWarning, match="Duplicate"):
        path.write_bytes(archive([("x.npy", npy(X)), ("x.npy", npy(X + 1))]))
    with pytest.raises(DamagedFileError, match="two arrays have the name x"):
        read_npz(path, ("x",))

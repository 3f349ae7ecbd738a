"""Every reader with the same damages: one sentence that names the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import pathlib
import shutil
import struct
import zipfile

import numpy as np
import pytest
import scipy.io
from etils import epath
from PIL import Image

from vaelab import data
from vaelab.checks import DamagedFileError, MissingPackageError
from vaelab.data.files import reading
from vaelab.data.readers import read_npy, read_npz

MNIST_FILES = {
    f"mnist/{part}-{kind}-ubyte.gz": shape
    for part in ("train", "t10k")
    for kind, shape in (("images-idx3", (10_010, 28, 28)), ("labels-idx1", (10_010,)))
}


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def mat(**arrays) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays)
    return file.getvalue()


def idx(shape) -> bytes:
    header = b"\x00\x00\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + bytes(int(np.prod(shape)))


def zero(*shape) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def whole(data_set) -> dict[str, bytes]:
    """Small valid files of this data set."""
    if isinstance(data_set, data.MNIST):
        return {name: gzip.compress(idx(shape), 1) for name, shape in MNIST_FILES.items()}
    if isinstance(data_set, data.StaticMNIST):
        parts = {name: zero(3, 98) for name in ("train", "valid", "test")}
        return {"binarized_mnist/binarized_mnist_packed.npz": npz(**parts)}
    if isinstance(data_set, data.Omniglot):
        return omniglot()
    if isinstance(data_set, data.CaltechSilhouettes):
        return caltech()
    if isinstance(data_set, data.FreyFaces):
        return {"freyfaces/frey_rawface.mat": mat(ff=zero(560, 410))}
    return jpegs()


READERS = [
    data.MNIST(),
    data.StaticMNIST(),
    data.Omniglot(),
    data.CaltechSilhouettes(),
    data.FreyFaces(),
    data.CIFAR10JPEG(),
]
named = pytest.mark.parametrize("data_set", READERS, ids=lambda data_set: data_set.title)


def write(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    """Writes the files. The path of the first one."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files))


def refusal(data_set, folder) -> str:
    with pytest.raises(ValueError, match=r"\.$") as error:
        data_set.load(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(autouse=True)
def no_prepared_data(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))


@named
def test_a_whole_file_is_read(data_set, tmp_path):
    write(tmp_path, whole(data_set))
    data_set.load(str(tmp_path))


@named
@pytest.mark.parametrize("damage", ["empty", "html", "cut", "bytes"])
def test_a_damaged_file_is_named(data_set, damage, tmp_path):
    path = write(tmp_path, whole(data_set))
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "html": b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
            "cut": content[: len(content) // 2],
            "bytes": bytes(range(256)) * 8,
        }[damage]
    )
    assert refusal(data_set, tmp_path).startswith(str(path))


@named
def test_a_folder_in_a_files_place_is_named(data_set, tmp_path):
    path = write(tmp_path, whole(data_set))
    path.unlink()
    path.mkdir()
    assert refusal(data_set, tmp_path).startswith(f"{path} is a folder and must be a file:")


@named
def test_a_file_that_may_not_be_read_is_named(data_set, tmp_path, monkeypatch):
    """The refusal is raised by the test, because root may read every file."""
    path = write(tmp_path, whole(data_set))
    allowed = type(epath.Path(path)).open

    def refused(self, *arguments, **settings):
        if os.fspath(self) == os.fspath(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return allowed(self, *arguments, **settings)

    for method in ("open", "read_bytes"):
        monkeypatch.setattr(type(epath.Path(path)), method, refused)
    assert refusal(data_set, tmp_path).startswith(f"{path} cannot be read (Permission denied)")


def test_rows_that_are_not_packed_are_refused(tmp_path):
    rows = {name: zero(3, 784) + 1 for name in ("train", "valid", "test")}
    path = write(tmp_path, {"binarized_mnist/binarized_mnist_packed.npz": npz(**rows)})
    sentence = refusal(data.StaticMNIST(), tmp_path)
    assert sentence.startswith(
        f"{path}: train must be uint8 [N, 98], got uint8 of the shape (3, 784): make it from"
    )


@pytest.mark.parametrize(
    ("data_set", "files", "sentence"),
    [
        (data.StaticMNIST(), {"binarized_mnist/binarized_mnist_packed.npz": npz(train=zero(3, 98), test=zero(3, 98))}, "has no array valid, only train, test: make it from"),
        (data.Omniglot(), {"omniglot/omniglot_28_rebuilt.npz": npz(train=zero(3, 28, 28))}, "has no array test, only train: make it from"),
        (data.FreyFaces(), {"freyfaces/frey_rawface.mat": mat(gg=zero(560, 410))}, "has no array ff: download it from"),
        (data.CaltechSilhouettes(), {"caltech101_silhouettes/caltech101_silhouettes_28_split1.mat": mat(train_data=zero(3, 784))}, "has no array train_labels: download it from"),
    ],
)  # fmt: skip
def test_an_incomplete_file_is_named(data_set, files, sentence, tmp_path):
    path = write(tmp_path, files)
    assert refusal(data_set, tmp_path).startswith(f"{path} {sentence}")


def omniglot(**changes) -> dict[str, bytes]:
    ids = np.ones(1_350, np.int64)
    parts = dict(
        train=zero(1_350, 28, 28), test=zero(5, 28, 28), train_char_id=ids, test_char_id=ids[:5]
    )
    return {"omniglot/omniglot_28_rebuilt.npz": npz(**parts | changes)}


def caltech(**changes) -> dict[str, bytes]:
    parts = {f"{part}_data": zero(3, 784) for part in ("train", "val", "test")}
    parts |= {f"{part}_labels": zero(3, 1) + 1 for part in ("train", "val", "test")}
    return {"caltech101_silhouettes/caltech101_silhouettes_28_split1.mat": mat(**parts | changes)}


def jpegs(size=(32, 32), num_images=20, mode="RGB", last=None) -> dict[str, bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(num_images):
            image = io.BytesIO()
            shape = last if last and number == num_images - 1 else size
            Image.new(mode, shape).save(image, format="jpeg")
            archive.writestr(f"test/cat/{number:04d}.jpg", image.getvalue())
    return {"cifar10_jpeg/cifar10_test_jpeg.zip": file.getvalue()}


@pytest.mark.parametrize(
    ("data_set", "files", "sentence"),
    [
        (data.StaticMNIST(), {"binarized_mnist/binarized_mnist_packed.npz": npz(train=zero(3, 98), valid=zero(0, 98), test=zero(3, 98))}, ": valid must be uint8 [N, 98], got uint8 of the shape (0, 98): make it from"),
        (data.Omniglot(), omniglot(train_char_id=np.ones(7, int)), ": train_char_id must hold 1350 integers from 1, got int64 of the shape (7,): make it from"),
        (data.Omniglot(), omniglot(test_char_id=np.ones(5)), ": test_char_id must hold 5 integers from 1, got float64 of the shape (5,): make it from"),
        (data.Omniglot(), omniglot(test_char_id=np.zeros(5, int)), ": test_char_id must hold 5 integers from 1"),
        (data.Omniglot(), omniglot(train=zero(1_345, 28, 28), train_char_id=np.ones(1_345, int)), ": train holds 1345 images, and more than 1345 are needed: make it from"),
        (data.CaltechSilhouettes(), caltech(val_labels=zero(2, 1) + 1), ": val_labels must hold 3 integers from 1, got uint8 of the shape (2, 1): download it from"),
        (data.CaltechSilhouettes(), caltech(test_data=zero(3, 784) + 7), ": test.x holds -6 in image 0, outside [0, 1]"),
        (data.FreyFaces(), {"freyfaces/frey_rawface.mat": mat(ff=zero(560, 400))}, ": ff holds 400 images, and more than 400 are needed: download it from"),
        (data.CIFAR10JPEG(), jpegs(num_images=9), " holds 9 images, and 10 are needed: make it from"),
        (data.CIFAR10JPEG(), jpegs(num_images=0), " cannot be read ("),
        (data.CIFAR10JPEG(), jpegs(last=(9, 9)), " cannot be read ("),
    ],
)  # fmt: skip
def test_a_file_with_other_contents_is_named(data_set, files, sentence, tmp_path):
    path = write(tmp_path, files)
    assert refusal(data_set, tmp_path).startswith(f"{path}{sentence}")


def test_too_few_training_images_of_mnist_are_named(tmp_path):
    files = {
        name: gzip.compress(idx((9_000, *shape[1:])), 1) for name, shape in MNIST_FILES.items()
    }
    write(tmp_path, files)
    assert refusal(data.MNIST(), tmp_path) == (
        f"mnist in {tmp_path} has 9000 training images, and validation alone takes 10000: fetch the file "
        "again."
    )


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (MemoryError("Unable to allocate 10 GiB"), DamagedFileError, "x.npz cannot be read (Unable to allocate 10 GiB): free memory, or use a smaller file."),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), DamagedFileError, "x.npz cannot be read (Permission denied): allow this user to read it."),
        (OSError(errno.EIO, os.strerror(errno.EIO)), DamagedFileError, "x.npz cannot be read (Input/output error): fetch the file again."),
        (EOFError(), DamagedFileError, "x.npz cannot be read (EOFError): fetch the file again."),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), MissingPackageError, "x.npz cannot be read without the package scipy: install it."),
    ],
)  # fmt: skip
def test_the_remedy_fits_the_error(error, kind, sentence):
    def read():
        with reading("x.npz"):
            raise error

    with pytest.raises(kind) as caught:
        read()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("rename", [
    lambda name: name, lambda name: name.removesuffix(".gz"),
    lambda name: name.removesuffix(".gz").replace("-idx", ".idx"), lambda name: name.replace("-idx", ".idx"),
])  # fmt: skip
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_under_every_name_that_unpacking_gives(rename, packed, tmp_path):
    contents = {name: gzip.decompress(content) for name, content in whole(data.MNIST()).items()}
    pack = (lambda content: gzip.compress(content, 1)) if packed else (lambda content: content)
    write(tmp_path, {rename(name): pack(content) for name, content in contents.items()})
    assert data.MNIST().load(str(tmp_path)).test.x.shape == (10_010, 28, 28, 1)


def test_images_and_labels_of_other_numbers_are_refused(tmp_path):
    files = whole(data.MNIST()) | {"mnist/train-labels-idx1-ubyte.gz": idx((7,))}
    write(tmp_path, files)
    path = tmp_path / "mnist/train-labels-idx1-ubyte.gz"
    sentence = refusal(data.MNIST(), tmp_path)
    assert sentence.startswith(f"{path}: labels must be uint8 [10010], got uint8 of the shape (7,)")


class Bomb:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_pickles_are_never_unpickled(tmp_path):
    bomb, place = np.array([Bomb(tmp_path / "exploded")], object), tmp_path / "exploded"
    np.savez(tmp_path / "x.npz", x=bomb)
    np.save(tmp_path / "x.npy", bomb)
    shutil.copy(tmp_path / "x.npy", tmp_path / "y.npz")
    with pytest.raises(
        ValueError, match=r"x\.npz: x holds pickled objects, which vaelab never reads"
    ):
        read_npz(tmp_path / "x.npz", ["x"])
    with pytest.raises(ValueError, match=r"x\.npy holds pickled objects, which vaelab never reads"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"y\.npz is no npz file, it begins with"):
        read_npz(tmp_path / "y.npz", ["x"])
    assert not place.exists()


def test_a_damaged_prepared_folder_does_not_hide_good_idx_files(tmp_path):
    write(tmp_path, whole(data.MNIST()))
    folder = tmp_path / "tensorflow_datasets/mnist/3.0.1"
    folder.mkdir(parents=True)
    (folder / "mnist-train.array_record-00000-of-00001").write_bytes(b"cut")
    with pytest.warns(
        UserWarning, match=r"mnist/3\.0\.1 cannot be read \(.*The idx files are read"
    ):
        assert data.MNIST().load(str(tmp_path)).test.x.shape == (10_010, 28, 28, 1)
    shutil.rmtree(tmp_path / "mnist")
    assert refusal(data.MNIST(), tmp_path).startswith(f"{folder} cannot be read (")

"""MNIST and Fashion-MNIST: the original bytes, and a prepared TFDS data set read without TensorFlow."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from vaelab.data import MNIST, FashionMNIST
from vaelab.data.prepare import main, prepare
from vaelab.data.prepared import prepared_folders
from vaelab.data.prepared_images import PreparedImages
from vaelab.data.readers import read_idx

DATA = pathlib.Path(
    os.environ.get("VAELAB_DATA") or pathlib.Path(__file__).parents[2] / "../shared/data"
)
needs_files = pytest.mark.skipif(
    not (DATA / "mnist").is_dir(), reason=f"the idx files are not in {DATA}"
)

# Published with the data sets, for the four files in this order.
FILES = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]  # fmt: skip
MD5 = {
    "mnist": "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
    "fashion_mnist": "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
}  # fmt: skip


@needs_files
@pytest.mark.parametrize("name", MD5)
def test_files_are_the_original_ones(name):
    digests = [hashlib.md5((DATA / name / file).read_bytes()).hexdigest() for file in FILES]
    assert digests == MD5[name].split()


@needs_files
@pytest.mark.parametrize("data_set", [MNIST, FashionMNIST])
def test_validation_is_the_end_of_the_training_set(data_set):
    name = {MNIST: "mnist", FashionMNIST: "fashion_mnist"}[data_set]
    images, labels, test_images, test_labels = (read_idx(DATA / name / file) for file in FILES)
    grey = data_set(binarisation="none").load(str(DATA))
    assert [split.x.shape for split in grey.parts.values()] == [
        (n, 28, 28, 1) for n in (50_000, 10_000, 10_000)
    ]
    assert {split.x.dtype for split in grey.parts.values()} == {np.dtype(np.float32)}
    for split, original, original_labels in (
        (grey.train, images[:50_000], labels[:50_000]),
        (grey.validation, images[50_000:], labels[50_000:]),
        (grey.test, test_images, test_labels),
    ):
        some = split.x[::7, ..., 0]  # a subset, for speed
        np.testing.assert_array_equal(np.rint(some * 255).astype(np.uint8), original[::7])
        np.testing.assert_array_equal(split.labels, original_labels)
    assert np.bincount(grey.test.labels).min() > 800  # ten classes, about equally frequent


@needs_files
def test_evaluation_images_are_those_of_the_published_code():
    images, _, test_images, _ = (read_idx(DATA / "mnist" / file) for file in FILES)
    np.random.seed(777)  # noqa: NPY002, this is the published code, word for word
    validation = np.random.binomial(1, images[50_000:].astype(np.float32) / 255)  # noqa: NPY002
    test = np.random.binomial(1, test_images[:1000].astype(np.float32) / 255)  # noqa: NPY002
    splits = MNIST().load(str(DATA))
    np.testing.assert_array_equal(splits.validation.x[..., 0], validation)
    np.testing.assert_array_equal(splits.test.x[:1000, ..., 0], test)
    assert np.any((splits.train.x[:10] > 0) & (splits.train.x[:10] < 1))


def test_missing_files_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    sentence = (
        f"fashion_mnist/train-images-idx3-ubyte.gz was not found in {tmp_path}: put the four original "
        "idx files of fashion_mnist there, or install the extra [tfds] (see README.md) and run python -m "
        "vaelab.data.prepare fashion_mnist, or name another folder with --data-dir or $VAELAB_DATA."
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(sentence)}$"):
        FashionMNIST().load(str(tmp_path))


@pytest.fixture
def prepared(tmp_path):
    """Images [30, 28, 28], labels [30] and the folder in which TFDS would put them."""
    pytest.importorskip("array_record", reason="array_record is not made for this system")
    from array_record.python.array_record_module import ArrayRecordWriter
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(30, 28, 28), dtype=np.uint8)
    labels = generator.integers(10, size=30)
    folder = tmp_path / "tensorflow_datasets/mnist/3.0.1"
    folder.mkdir(parents=True)
    writer = ArrayRecordWriter(
        str(folder / "mnist-train.array_record-00000-of-00001"), "group_size:1"
    )
    # The order in which TFDS 4 writes the examples of version 3.
    for i in sorted(
        range(30), key=lambda i: int(hashlib.md5(f"train{i}".encode()).hexdigest(), 16)
    ):
        png = io.BytesIO()
        Image.fromarray(images[i]).save(png, format="png")
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(png.getvalue())
        example.features.feature["label"].int64_list.value.append(int(labels[i]))
        writer.write(example.SerializeToString())
    writer.close()
    module = "tensorflow_datasets.core.features"
    image = {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}}
    features = {
        "image": {"image": image, "pythonClassName": f"{module}.image_feature.Image"},
        "label": {
            "classLabel": {"numClasses": "10"},
            "pythonClassName": f"{module}.class_label_feature.ClassLabel",
        },
    }
    (folder / "features.json").write_text(
        json.dumps(
            {
                "featuresDict": {"features": features},
                "pythonClassName": f"{module}.features_dict.FeaturesDict",
            }
        )
    )
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    train = {"name": "train", "shardLengths": ["30"], "filepathTemplate": template}
    info = {"name": "mnist", "version": "3.0.1", "fileFormat": "array_record", "splits": [train]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return images, labels, folder


def test_a_prepared_data_set_is_read_in_the_original_order_without_tensorflow(prepared, tmp_path):
    images, labels, folder = prepared
    (found,) = prepared_folders("mnist", str(tmp_path))
    assert pathlib.Path(found) == folder
    stream = PreparedImages(found, "train")
    x, read_labels, *_ = stream.rows(np.arange(stream.num_examples))
    np.testing.assert_array_equal(x[..., 0], images)
    np.testing.assert_array_equal(read_labels, labels)
    assert x.dtype == np.uint8
    assert read_labels.dtype == np.int32
    assert "tensorflow" not in sys.modules


def test_a_data_set_prepared_as_tfrecord_is_skipped(prepared, tmp_path, monkeypatch):
    _, _, folder = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    records = folder / "mnist-train.array_record-00000-of-00001"
    records.rename(folder / "mnist-train.tfrecord-00000-of-00001")
    warning = (
        f"{folder} is skipped because it was prepared in a file format that needs TensorFlow to be read: "
        "run python -m vaelab.data.prepare mnist, which writes a format that does not."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(warning)}$"):
        assert prepared_folders("mnist", str(tmp_path)) == []
    sentence = (
        f"{folder} was prepared in a file format that needs TensorFlow to be read: delete that folder and "
        "prepare the data set again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        prepare("mnist", str(tmp_path))


def test_the_default_folder_of_tfds_is_searched_too(prepared, tmp_path, monkeypatch):
    _, _, folder = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tensorflow_datasets"))
    (found,) = prepared_folders("mnist", str(tmp_path / "elsewhere"))
    assert pathlib.Path(found) == folder


def test_prepare_refuses_a_folder_that_is_not_there(tmp_path):
    sentence = (
        f"manual_dir {tmp_path}/none is not a folder: name the folder with the original files"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(sentence)}"):
        prepare("mnist", str(tmp_path), f"{tmp_path}/none")


def test_prepare_names_the_data_sets_it_knows(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prepare", "minst"])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("error: TFDS has no data set 'minst'; the nearest name is 'mnist'.")


CELEBA = "identity_CelebA.txt", "img_align_celeba.zip"


def failing_builder(error: Exception):
    """A TFDS builder with the files of CelebA whose download fails."""

    def download_and_prepare(download_config):
        raise error

    infos = {f"https://{name}": SimpleNamespace(filename=name) for name in reversed(CELEBA)}
    return lambda *args, **kwargs: SimpleNamespace(
        url_infos=infos, download_and_prepare=download_and_prepare
    )


BY_HAND = (
    "check the network and run the command again, or download identity_CelebA.txt, img_align_celeba.zip with "
    "a browser, and name their folder with --manual-dir."
)


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (NonMatchingChecksumError("Artifact https://x, downloaded to y, has wrong checksum:\n* Expected: a"), "NonMatchingChecksumError: Artifact https://x, downloaded to y, has wrong checksum: * Expected: a", BY_HAND),
        (ConnectionError("no route to drive.google.com"), "ConnectionError: no route to drive.google.com", BY_HAND),
        (AssertionError("Manual directory /m does not exist or is empty.\n"), "AssertionError: Manual directory /m does not exist or is empty", BY_HAND),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.tmp"), "OSError: No space left on device", "free space in {root}, and run the command again."),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "PermissionError: Permission denied", "allow this user to write to {root}."),
        (ModuleNotFoundError("No module named 'apache_beam'"), "ModuleNotFoundError: No module named 'apache_beam'", "install the missing package."),
    ],
)  # fmt: skip
def test_a_failed_preparation_is_one_sentence(error, reason, remedy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tfds, "builder", failing_builder(error))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(sys, "argv", ["prepare", "celeb_a", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    sentence = f"celeb_a was not prepared ({reason}): {remedy}"
    sentence = sentence.format(root=tmp_path / "tensorflow_datasets")
    assert capsys.readouterr().err.endswith(f"error: {sentence}\n")


def test_prepare_expands_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "manual").mkdir()
    configs = []
    builder = SimpleNamespace(
        url_infos={}, data_dir=str(tmp_path),
        download_and_prepare=lambda download_config: configs.append(download_config),
    )  # fmt: skip
    folders = []
    monkeypatch.setattr(
        tfds, "builder", lambda name, data_dir, file_format: folders.append(data_dir) or builder
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    prepare("celeb_a", "~/data", "~/manual")
    assert configs[0].manual_dir == str(tmp_path / "manual")
    assert folders == [str(tmp_path / "data/tensorflow_datasets")]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed"
)
def test_prepare_says_how_to_get_tensorflow(tmp_path):
    with pytest.raises(ImportError, match=r'run python -m pip install -e "\.\[tfds\]"\.$'):
        prepare("mnist", str(tmp_path))


@pytest.mark.slow
@needs_files
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="preparing needs TensorFlow"
)
def test_what_prepare_writes_equals_the_idx_files(tmp_path):
    command = [sys.executable, "-m", "vaelab.data.prepare", "mnist"]
    folders = ["--data-dir", str(tmp_path), "--manual-dir", str(DATA / "mnist")]
    subprocess.run([*command, *folders], check=True)
    assert prepared_folders("mnist", str(tmp_path))
    from_tfds, from_files = (
        MNIST(binarisation="none").load(str(place)) for place in (tmp_path, DATA)
    )
    for one, other in zip(from_tfds.parts.values(), from_files.parts.values(), strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.labels, other.labels)

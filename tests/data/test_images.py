"""The small data sets: sizes, values, orientation, and that the splits share no image."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy.io import loadmat
from sklearn.datasets import load_digits

from vaelab.data import (
    MNIST,
    CaltechSilhouettes,
    DataSet,
    Digits,
    FreyFaces,
    Omniglot,
    StaticMNIST,
)
from vaelab.types import Splits

DATA = pathlib.Path(
    os.environ.get("VAELAB_DATA") or pathlib.Path(__file__).parents[2] / "../shared/data"
)


@functools.cache
def load(data_set: DataSet) -> Splits:
    """The splits, from the real files."""
    try:
        return data_set.load(str(DATA))
    except FileNotFoundError as error:
        pytest.skip(str(error))


def rows(x: np.ndarray) -> np.ndarray:
    """Images in an order that depends on their pixels alone."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1))
    return flat[np.argsort(flat.view(f"V{flat.itemsize * flat.shape[1]}").ravel(), kind="stable")]


def is_binary(x: np.ndarray) -> bool:
    return bool(np.all((x == 0) | (x == 1)))


def joined(splits: Splits) -> np.ndarray:
    return np.concatenate([split.x for split in splits.parts.values()])


@pytest.mark.parametrize(
    ("data_set", "image_shape", "sizes", "num_classes"),
    [
        (Digits(), (8, 8, 1), (1_297, 200, 300), 10),
        (Omniglot(), (28, 28, 1), (23_000, 1_345, 8_115), 1_623),
        (StaticMNIST(), (28, 28, 1), (50_000, 10_000, 10_000), None),
        (CaltechSilhouettes(), (28, 28, 1), (4_100, 2_264, 2_307), 101),
        (FreyFaces(), (28, 20, 1), (1_565, 200, 200), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, DataSet) else "",
)
def test_sizes_types_and_labels(data_set, image_shape, sizes, num_classes):
    splits = load(data_set)
    assert tuple(len(split.x) for split in splits.parts.values()) == sizes
    for split in splits.parts.values():
        assert split.x.shape[1:] == image_shape
        assert split.x.dtype == np.float32
        assert 0 <= split.x.min() < split.x.max() <= 1
        assert (split.labels is None) == (num_classes is None)
    for split in (splits.train, splits.test) if num_classes else ():
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(num_classes))
        assert split.labels.dtype == np.int32


@pytest.mark.parametrize("data_set", [Digits(), Omniglot()])
def test_dynamic_binarisation_leaves_training_images_grey(data_set):
    splits = load(data_set)
    assert [is_binary(split.x) for split in splits.parts.values()] == [False, True, True]
    batch = splits.train.x[:50]
    first, second = (
        np.asarray(data_set.preprocess(jax.random.key(seed), batch)) for seed in (0, 1)
    )
    assert is_binary(first)
    assert np.all(first[batch == 0] == 0)
    assert np.all(first[batch == 1] == 1)
    assert np.any(first != second)


@pytest.mark.parametrize("binarisation", ["fixed", "none"])
def test_other_binarisations_happen_once_or_not_at_all(binarisation):
    data_set = Digits(binarisation=binarisation)
    splits = data_set.load()
    assert [is_binary(split.x) for split in splits.parts.values()] == [binarisation == "fixed"] * 3
    batch = splits.train.x[:10]
    assert data_set.preprocess(jax.random.key(0), batch) is batch


@pytest.mark.parametrize("data_set", [StaticMNIST(), CaltechSilhouettes(), FreyFaces()])
def test_preprocessing_is_the_identity_without_random_draws(data_set):
    batch = np.full((2, 28, 28, 1), 0.5, np.float32)
    assert data_set.preprocess(jax.random.key(0), batch) is batch


def test_an_unknown_binarisation_is_one_sentence():
    sentence = "binarisation must be one of dynamic, fixed, none, got 'once'."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Digits(binarisation="once")


def test_digits_are_all_there_once_and_stratified():
    splits = Digits(binarisation="none").load()
    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(rows(joined(splits)) * 16, rows(images.astype(np.float32)))
    for split in splits.parts.values():
        expected = np.bincount(labels) * len(split.x) / len(labels)
        assert np.abs(np.bincount(split.labels, minlength=10) - expected).max() <= 1
    # Images and labels went through the same shuffle: the nearest class mean is mostly the label.
    means = np.stack([splits.train.x[splits.train.labels == c].mean(0) for c in range(10)])
    errors = ((splits.test.x[:, None] - means) ** 2).sum((2, 3, 4))
    assert (errors.argmin(1) == splits.test.labels).mean() > 0.85


def test_static_mnist_is_larochelles():
    splits = load(StaticMNIST())
    means = [round(float(split.x.mean(dtype=np.float64)), 4) for split in splits.parts.values()]
    assert means == [0.1306, 0.1311, 0.1325]
    assert all(is_binary(split.x) for split in splits.parts.values())


def test_static_mnist_is_upright():
    static = load(StaticMNIST()).train.x[..., 0].mean(0)
    mnist = load(MNIST(binarisation="none")).train.x[..., 0].mean(0)

    def correlation(image: np.ndarray) -> float:
        return float(np.corrcoef(image.ravel(), mnist.ravel())[0, 1])

    assert correlation(static) > 0.99
    for turned in (static.T, static[::-1], static[:, ::-1], static[::-1, ::-1]):
        assert correlation(turned) < 0.97


def test_omniglot_keeps_all_images_and_their_labels():
    splits = load(Omniglot(binarisation="none"))
    with np.load(DATA / "omniglot/omniglot_28_rebuilt.npz") as arrays:
        train, char_id = arrays["train"], arrays["train_char_id"]
        np.testing.assert_array_equal(np.rint(splits.test.x[..., 0] * 255), arrays["test"])
        np.testing.assert_array_equal(splits.test.labels, arrays["test_char_id"] - 1)
    mine = np.concatenate([splits.train.x, splits.validation.x])
    my_labels = np.concatenate([splits.train.labels, splits.validation.labels])
    for label in (0, 700, 1_622):
        np.testing.assert_array_equal(
            rows(np.rint(mine[my_labels == label] * 255).astype(np.uint8)),
            rows(train[char_id == label + 1]),
        )
    assert np.bincount(my_labels).tolist() == [15] * 1_623


def test_caltech_is_upright_with_the_object_white():
    splits = load(CaltechSilhouettes())
    file = loadmat(DATA / "caltech101_silhouettes/caltech101_silhouettes_28_split1.mat")
    np.testing.assert_array_equal(
        splits.train.x[:, 3, 20, 0], 1 - file["train_data"][:, 20 * 28 + 3]
    )
    np.testing.assert_array_equal(splits.test.labels + 1, file["test_labels"].ravel())
    x = splits.train.x[..., 0]
    # Corners are background, and the pixels in the middle belong to the object.
    assert x[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean() < 0.5 < x[:, 12:16, 12:16].mean()
    names = [str(name[0]) for name in file["classnames"][0]]
    faces = x[splits.train.labels == names.index("Faces 2")]
    assert np.abs(faces - faces[:, :, ::-1]).mean() < np.abs(faces - faces[:, ::-1]).mean()


def test_frey_faces_are_all_there_once():
    splits = load(FreyFaces())
    frames = loadmat(DATA / "freyfaces/frey_rawface.mat")["ff"].T
    mine = np.rint(joined(splits) * 255).astype(np.uint8)
    np.testing.assert_array_equal(rows(mine), rows(frames))
    assert (mine.min(), mine.max()) == (8, 238)
    # Neighbouring rows of a face are similar, unless the width is wrong.
    x = mine[..., 0].astype(np.float64)
    wrong = x.reshape(-1, 20, 28)
    assert np.abs(np.diff(x, axis=1)).mean() < 0.8 * np.abs(np.diff(wrong, axis=1)).mean()


@pytest.mark.parametrize(
    ("data_set", "file", "remedy"),
    [
        (Omniglot(), "omniglot/omniglot_28_rebuilt.npz", "make it from the drawings of"),
        (StaticMNIST(), "binarized_mnist/binarized_mnist_packed.npz", "make it from the rows of"),
        (
            CaltechSilhouettes(),
            "caltech101_silhouettes/caltech101_silhouettes_28_split1.mat",
            "download it from people.cs.umass.edu",
        ),
        (FreyFaces(), "freyfaces/frey_rawface.mat", "download it from cs.nyu.edu"),
    ],
)
def test_a_missing_file_names_the_folder_and_the_remedy(tmp_path, data_set, file, remedy):
    start, end = f"{file} was not found in {tmp_path}: {remedy}", "--data-dir or $VAELAB_DATA."
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(start)}.*{re.escape(end)}$"):
        data_set.load(str(tmp_path))


def test_importing_loads_nothing_heavy():
    code = """
import sys
import vaelab.data
lazy = {"tensorflow", "tensorflow_datasets", "sklearn", "PIL"}
assert not lazy & set(sys.modules), lazy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_configurations_are_values():
    assert MNIST() == MNIST(binarisation="dynamic")
    assert hash(MNIST()) != hash(MNIST(binarisation="fixed"))

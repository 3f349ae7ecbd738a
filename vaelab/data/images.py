"""Small image data sets, each read from one file."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError, MissingPackageError
from vaelab.data.dataset import DataSet, GreyImages
from vaelab.data.files import find_file, naming
from vaelab.data.readers import check_shape, read_mat, read_npz
from vaelab.data.validation import validate
from vaelab.types import Examples, Splits

_SPLIT_SEED = 0  # of the shuffles of data sets that have no published split


@dataclasses.dataclass(frozen=True)
class Digits(GreyImages):
    """scikit-learn's digits, 8x8 of 17 grey levels, embedded: 1,297 / 200 / 300, stratified."""

    @property
    def num_levels(self) -> int:
        return 17

    def grey(self, data_dir: str | None = None) -> Splits:
        del data_dir
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError as error:
            raise MissingPackageError.of(error, "data.Digits") from None
        images, labels = load_digits(return_X_y=True)
        x = images.reshape(-1, 8, 8, 1).astype(np.float32) / 16
        return _cut(x, labels, _stratified_order(labels), num_validation=200, num_test=300)


@dataclasses.dataclass(frozen=True)
class Omniglot(GreyImages):
    """OMNIGLOT resampled to 28x28: 23,000 / 1,345 / 8,115; labels are the 1,623 characters.

    Training and validation hold the drawers 1 to 15 of each character and test the others. This is
    not the file of Burda et al., 2016: likelihoods do not compare with published ones.
    """

    def grey(self, data_dir: str | None = None) -> Splits:
        remedy = (
            "make it from the drawings of github.com/brendenlake/omniglot, reduced to 28x28 with ink "
            "255, as uint8 arrays train and test, and integers train_char_id and test_char_id"
        )
        path = find_file("omniglot/omniglot_28_rebuilt.npz", data_dir, remedy=remedy)
        arrays = read_npz(path, ("train", "test", "train_char_id", "test_char_id"), remedy)
        for part in ("train", "test"):
            check_shape(path, part, arrays[part], (None, 28, 28), remedy)
            _check_classes(path, f"{part}_char_id", arrays, len(arrays[part]), remedy)
        _check_rows(path, "train", len(arrays["train"]), 1_345, remedy)
        (train, train_labels), (test, test_labels) = (
            (arrays[part][..., None].astype(np.float32) / 255, arrays[f"{part}_char_id"] - 1)
            for part in ("train", "test")
        )
        order = np.random.RandomState(_SPLIT_SEED).permutation(len(train))
        splits = _cut(train, train_labels, order, num_validation=1_345, num_test=0)
        return splits._replace(test=Examples(test, test_labels.astype(np.int32)))


@dataclasses.dataclass(frozen=True)
class StaticMNIST(DataSet):
    """MNIST in Larochelle's fixed binarisation, 28x28: 50,000 / 10,000 / 10,000, without labels.

    Its rows are not in MNIST's order. Larochelle & Murray, 2011.
    """

    num_levels: ClassVar[int] = 2

    def load(self, data_dir: str | None = None) -> Splits:
        remedy = (
            "make it from the rows of binarized_mnist_{train,valid,test}.amat of "
            "www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist, as arrays train, valid "
            "and test of np.packbits(rows, axis=1)"
        )
        path = find_file("binarized_mnist/binarized_mnist_packed.npz", data_dir, remedy=remedy)
        arrays = read_npz(path, ("train", "valid", "test"), remedy)
        for part, rows in arrays.items():
            check_shape(path, part, rows, (None, 98), remedy)  # 784 bits
        parts = [np.unpackbits(rows, axis=1) for rows in arrays.values()]
        train, validation, test = (
            Examples(x[:, :784].reshape(-1, 28, 28, 1).astype(np.float32)) for x in parts
        )
        splits = Splits(train, validation, test)
        with naming(path):
            validate(splits)
        return splits


@dataclasses.dataclass(frozen=True)
class CaltechSilhouettes(DataSet):
    """Caltech 101 silhouettes, binary 28x28, the object 1: 4,100 / 2,264 / 2,307, 101 classes.

    In the file the object is 0; papers on VAEs invert it. Marlin et al., 2010.
    """

    num_levels: ClassVar[int] = 2

    def load(self, data_dir: str | None = None) -> Splits:
        remedy = "download it from people.cs.umass.edu/~marlin/data"
        path = find_file(
            "caltech101_silhouettes/caltech101_silhouettes_28_split1.mat", data_dir, remedy=remedy
        )
        parts = ("train", "val", "test")
        names = [f"{part}_{kind}" for part in parts for kind in ("data", "labels")]
        arrays = read_mat(path, names, remedy)

        def read(part: str) -> Examples:
            check_shape(path, f"{part}_data", arrays[f"{part}_data"], (None, 784), remedy)
            _check_classes(path, f"{part}_labels", arrays, len(arrays[f"{part}_data"]), remedy)
            columns = arrays[f"{part}_data"].reshape(-1, 28, 28, 1)  # [N, column, row, 1]
            x = 1 - columns.transpose(0, 2, 1, 3).astype(np.float32)
            return Examples(x, arrays[f"{part}_labels"].ravel().astype(np.int32) - 1)

        splits = Splits(read("train"), read("val"), read("test"))
        with naming(path):
            validate(splits)
        return splits


@dataclasses.dataclass(frozen=True)
class FreyFaces(DataSet):
    """Frey faces, grey 28x20 frames of one face, k/255: 1,565 / 200 / 200, shuffled, without labels.

    Continuous data: the likelihood is a quantised normal or a discretised logistic. Roweis & Saul, 2000.
    """

    num_levels: ClassVar[int] = 256

    def load(self, data_dir: str | None = None) -> Splits:
        remedy = "download it from cs.nyu.edu/~roweis/data"
        path = find_file("freyfaces/frey_rawface.mat", data_dir, remedy=remedy)
        faces = read_mat(path, ("ff",), remedy)["ff"]
        check_shape(path, "ff", faces, (560, None), remedy)
        _check_rows(path, "ff", faces.shape[1], 400, remedy)
        x = faces.T.reshape(-1, 28, 20, 1).astype(np.float32) / 255
        order = np.random.RandomState(_SPLIT_SEED).permutation(len(x))
        splits = _cut(x, None, order, num_validation=200, num_test=200)
        with naming(path):
            validate(splits)
        return splits


def _check_classes(
    path: epath.Path, name: str, arrays: dict[str, np.ndarray], num_examples: int, remedy: str
) -> None:
    """Raises unless the array of this name has one class for each example, numbered from 1."""
    classes = arrays[name].ravel()
    if classes.dtype.kind not in "iu" or len(classes) != num_examples or classes.min() < 1:
        raise DamagedFileError(
            f"{path}: {name} must hold {num_examples} integers from 1, got {arrays[name].dtype} of the "
            f"shape {arrays[name].shape}: {remedy}."
        )


def _check_rows(
    path: epath.Path, name: str, num_examples: int, num_others: int, remedy: str
) -> None:
    """Raises unless examples are left for training after the other parts are cut."""
    if num_examples <= num_others:
        raise DamagedFileError(
            f"{path}: {name} holds {num_examples} images, and more than {num_others} are needed: "
            f"{remedy}."
        )


def _cut(
    x: np.ndarray,
    labels: np.ndarray | None,
    order: np.ndarray,
    *,
    num_validation: int,
    num_test: int,
) -> Splits:
    """Cuts x[order] into train, validation and test, in this order."""
    sizes = (len(x) - num_validation - num_test, num_validation, num_test)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    train, validation, test = (
        Examples(x[i], None if labels is None else labels[i].astype(np.int32)) for i in parts
    )
    return Splits(train, validation, test)


def _stratified_order(labels: np.ndarray) -> np.ndarray:
    """A random order in which every stretch holds all classes in proportion."""
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place[order], kind="stable")]

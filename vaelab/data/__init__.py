"""Data sets: each loads its train, validation and test splits, and prepares every batch."""

from vaelab.data.binarise import bernoulli
from vaelab.data.checks import validate
from vaelab.data.dataset import DataSet, GreyImages
from vaelab.data.images import CaltechSilhouettes, Digits, FreyFaces, Omniglot, StaticMNIST
from vaelab.data.mnist import MNIST, FashionMNIST

__all__ = [
    "MNIST",
    "CaltechSilhouettes",
    "DataSet",
    "Digits",
    "FashionMNIST",
    "FreyFaces",
    "GreyImages",
    "Omniglot",
    "StaticMNIST",
    "bernoulli",
    "validate",
]

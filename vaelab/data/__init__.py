"""Data sets: each loads its train, validation and test splits and prepares the batches."""

from vaelab.data.arrays import Arrays
from vaelab.data.binarise import bernoulli
from vaelab.data.bit_depth import ReducedBitDepth, reduce_bit_depth
from vaelab.data.colour import CIFAR10, CIFAR10JPEG, SVHN, CelebA
from vaelab.data.colour_mnist import ColorMNIST, color_mnist, tinted_mnist
from vaelab.data.dataset import DataSet, GreyImages, LabelMeaning
from vaelab.data.dequantised import Dequantised, dequantise
from vaelab.data.few_digits import MicroMNIST, micro_mnist
from vaelab.data.given import as_data_set
from vaelab.data.images import CaltechSilhouettes, Digits, FreyFaces, Omniglot, StaticMNIST
from vaelab.data.mnist import MNIST, FashionMNIST
from vaelab.data.mocap import MotionCapture
from vaelab.data.own_files import Files
from vaelab.data.pendulum import Pendulum, PendulumMatch, match_pendulum, pendulum
from vaelab.data.resized import Resized
from vaelab.data.show import Shown
from vaelab.data.standardised import Standardised, scaling_of
from vaelab.data.tfds_images import TFDS
from vaelab.data.treatments import Treatment
from vaelab.data.triplets import (
    MNISTRotate,
    MNISTSum,
    MNISTSumHard,
    MNISTTriplets,
    mnist_rotate,
    mnist_sum,
    mnist_sum_hard,
    mnist_triplets,
    rotate,
)
from vaelab.data.validation import validate

__all__ = [
    "CIFAR10",
    "CIFAR10JPEG",
    "MNIST",
    "SVHN",
    "TFDS",
    "Arrays",
    "CaltechSilhouettes",
    "CelebA",
    "ColorMNIST",
    "DataSet",
    "Dequantised",
    "Digits",
    "FashionMNIST",
    "Files",
    "FreyFaces",
    "GreyImages",
    "LabelMeaning",
    "MNISTRotate",
    "MNISTSum",
    "MNISTSumHard",
    "MNISTTriplets",
    "MicroMNIST",
    "MotionCapture",
    "Omniglot",
    "Pendulum",
    "PendulumMatch",
    "ReducedBitDepth",
    "Resized",
    "Shown",
    "Standardised",
    "StaticMNIST",
    "Treatment",
    "as_data_set",
    "bernoulli",
    "color_mnist",
    "dequantise",
    "match_pendulum",
    "micro_mnist",
    "mnist_rotate",
    "mnist_sum",
    "mnist_sum_hard",
    "mnist_triplets",
    "pendulum",
    "reduce_bit_depth",
    "rotate",
    "scaling_of",
    "tinted_mnist",
    "validate",
]

"""Data sets: each loads its train, validation and test splits, and prepares every batch."""

from vaelab.data.binarise import bernoulli as bernoulli
from vaelab.data.binarise import binarise_splits as binarise_splits
from vaelab.data.checks import validate as validate
from vaelab.data.dataset import DataSet as DataSet
from vaelab.data.dataset import GreyImages as GreyImages
from vaelab.data.files import data_directory as data_directory
from vaelab.data.files import find_file as find_file
from vaelab.data.files import read_idx as read_idx
from vaelab.data.images import CaltechSilhouettes as CaltechSilhouettes
from vaelab.data.images import Digits as Digits
from vaelab.data.images import FreyFaces as FreyFaces
from vaelab.data.images import Omniglot as Omniglot
from vaelab.data.images import StaticMNIST as StaticMNIST
from vaelab.data.mnist import MNIST as MNIST
from vaelab.data.mnist import FashionMNIST as FashionMNIST

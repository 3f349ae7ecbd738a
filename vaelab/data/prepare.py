"""Prepares a TFDS data set once. Afterwards vaelab reads it without TensorFlow.

    python -m vaelab.data.prepare mnist
    python -m vaelab.data.prepare fashion_mnist --manual-dir folder/with/the/idx/files
    python -m vaelab.data.prepare celeb_a --manual-dir folder/with/the/downloads

CelebA's servers often refuse a download. Files that a browser has downloaded are read from the manual
folder. Only this command needs TensorFlow: python -m pip install -e ".[tfds]".
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib.util
import os
from collections.abc import Sequence

from etils import epath

from vaelab.checks import MissingFileError, MissingPackageError, UsageError
from vaelab.data.files import data_directory, reason_of
from vaelab.data.prepared import OTHER_FORMAT, PREPARE_AGAIN, is_readable, versions

DATA_SETS = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "svhn_cropped",
    "celeb_a",
)  # with a class of their own


def prepare(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> epath.Path:
    """Downloads `name` and writes it as array_record below the data directory's tensorflow_datasets.

    Args:
      name: one of `DATA_SETS`, or any other image data set of TFDS, which `data.TFDS(name)` reads.
      data_dir: the data directory. None is $VAELAB_DATA, else ~/.cache/vaelab.
      manual_dir: a folder with the original files. They are not downloaded.

    Returns:
      The folder of the prepared data set.

    Raises:
      UsageError: an unknown data set, a data set that exists in another file format, or a download
        that failed. The sentence names the files for a download by hand.
      MissingFileError: `manual_dir` does not exist.
      MissingPackageError: TensorFlow is not installed.

    >>> prepare("minst")
    Traceback (most recent call last):
    vaelab.UsageError: TFDS has no data set 'minst'; the nearest name is 'mnist'.
    """
    if name not in DATA_SETS and name not in (known := _known()):
        nearest = difflib.get_close_matches(name, known, 1, cutoff=0.0)[0]
        raise UsageError(f"TFDS has no data set {name!r}; the nearest name is {nearest!r}.")
    manual = None if manual_dir is None else epath.Path(manual_dir).expanduser()
    if manual is not None and not manual.is_dir():
        raise MissingFileError(
            f"manual_dir {manual} is not a folder: name the folder with the original files of {name}, or "
            "leave it out to download them."
        )
    root = data_directory(data_dir) / "tensorflow_datasets"
    for folder in versions(root / name):
        if not is_readable(folder):
            raise UsageError(f"{folder} {OTHER_FORMAT}: {PREPARE_AGAIN}.")
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingPackageError(
            f"preparing {name} needs TensorFlow, which is not installed: run "
            'python -m pip install -e ".[tfds]".'
        )
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(manual_dir=None if manual is None else os.fspath(manual))
    files: list[str] = []
    try:
        builder = tfds.builder(name, data_dir=os.fspath(root), file_format="array_record")
        files = sorted(info.filename for info in builder.url_infos.values() if info.filename)
        builder.download_and_prepare(download_config=config)
    except Exception as error:  # TFDS and its servers fail in many ways
        raise UsageError(_sentence(name, root, files, error)) from error
    return epath.Path(builder.data_dir)


def _sentence(name: str, root: epath.Path, files: Sequence[str], error: Exception) -> str:
    """What went wrong, and the remedy."""
    problem = f"{name} was not prepared ({type(error).__name__}: {reason_of(error)})"
    if isinstance(error, ImportError):
        return f"{problem}: install the missing package."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{problem}: free space in {root}, and run the command again."
    if isinstance(error, PermissionError):
        return f"{problem}: allow this user to write to {root}."
    names = ", ".join(files) or "the original files"
    return (
        f"{problem}: check the network and run the command again, or download {names} with a browser, "
        "and name their folder with --manual-dir."
    )


def _known() -> list[str]:
    """The names of all data sets in TFDS."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaelab.data.prepare",
        description="Prepare a TFDS data set once. Afterwards vaelab reads it without TensorFlow.",
    )
    parser.add_argument("name", help=f"Data set: {', '.join(DATA_SETS)}, or any other of TFDS.")
    parser.add_argument(
        "--data-dir", help="Folder of data files. Default: $VAELAB_DATA, else ~/.cache/vaelab."
    )
    parser.add_argument(
        "--manual-dir", help="Folder with the original files, which are then not downloaded."
    )
    arguments = parser.parse_args()
    try:
        folder = prepare(arguments.name, arguments.data_dir, arguments.manual_dir)
    except UsageError as error:
        parser.error(str(error))
    print(f"{arguments.name} is prepared in {folder}.")


if __name__ == "__main__":
    main()

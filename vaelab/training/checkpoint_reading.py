"""Where a run's checkpoints are: in a folder, or in a bucket."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from etils import epath

from vaelab.checks import UsageError
from vaelab.storage import UnreachableError, is_remote
from vaelab.training.checkpoint import Checkpoints
from vaelab.training.checkpoint_bucket import RemoteCheckpoints


def open_checkpoints(directory: epath.PathLike, *, max_to_keep: int = 3) -> Checkpoints:
    """The checkpoints of a folder, or of a folder in a bucket."""
    kind = RemoteCheckpoints if is_remote(directory) else Checkpoints
    return kind(directory, max_to_keep=max_to_keep)


def read_raw(directory: epath.PathLike) -> dict[str, Any]:
    """The newest readable train state as nested dicts of arrays, without its types: no data are needed.

    Raises:
      UsageError: there is no checkpoint, or none can be read.
    """
    none = UsageError(
        f"{directory} holds no checkpoint that can be read: choose another run, or train this one again in "
        "another workdir."
    )
    if not is_remote(directory) and not epath.Path(directory).is_dir():  # it would be made
        raise none
    with contextlib.closing(open_checkpoints(directory)) as checkpoints:
        for each in checkpoints.steps()[::-1]:
            try:
                state = checkpoints.read(each)
                if isinstance(state, dict) and "variables" in state:
                    return state
            except UnreachableError:
                raise
            except Exception:  # orbax and tensorstore raise many kinds
                warnings.warn(
                    f"checkpoint {each} of {directory} cannot be read; an earlier one is looked for.",
                    stacklevel=2,
                )
    raise none

"""Results and plots as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from etils import epath

from vaelab.checks import DamagedFileError, MissingFileError, MissingPackageError, UsageError
from vaelab.runs.serial import from_json, to_json
from vaelab.storage import writing
from vaelab.untrusted import one_line, parse_json, read_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
_LARGEST_JSON = 2**26  # bytes


def write_json(path: epath.Path, value: Any) -> None:
    """Writes a typed result or plain values as JSON."""
    text = json.dumps(to_json(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with writing(path, "wb") as file:
        file.write(text.encode())


def read_json(path: epath.Path) -> Any:
    """The values of a JSON file.

    Raises:
      MissingFileError: there is no file.
      DamagedFileError: the file is no JSON, or is none of vaelab's by its size.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may have no end
            raise damaged(path, "it is no file")
        with path.open("rb") as file:
            return parse_json(read_whole(file, _LARGEST_JSON))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}: correct the folder.") from error
    except DamagedFileError:
        raise
    except ValueError as error:  # also of the encoding
        raise damaged(path, str(error)) from None


def read_typed(kind: type[T], path: epath.Path) -> T:
    """The value of a type, as `write_json` wrote it.

    Raises:
      DamagedFileError: the file is no JSON, or holds other values.
    """
    value = read_json(path)
    try:
        return from_json(kind, value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def damaged(path: epath.Path, reason: str) -> DamagedFileError:
    """The error of a file that cannot be used."""
    return DamagedFileError(
        f"{path} is damaged ({one_line(reason, 200)}): repair or remove the file, or choose another folder."
    )


def write_figure(path: epath.Path, figure: Figure) -> None:
    """Writes a plot as PNG."""
    with writing(path, "wb") as file:
        figure.savefig(file, format="png")


def write_animation(
    path: epath.PathLike, frames: np.ndarray, *, frames_per_second: float = 20.0
) -> None:
    """Writes frames [T, height, width, 3] uint8 as a GIF that repeats forever.

    A GIF counts time in hundredths of a second, and viewers slow down frames shorter than two of them.

    Raises:
      UsageError: frames of another shape or type, or a rate outside (0, 50] frames per second.
      MissingPackageError: imageio is not installed.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise UsageError(
            f"frames must be [T, height, width, 3] uint8, got {frames.dtype} of the shape {frames.shape}."
        )
    if not 0 < frames_per_second <= 50:
        raise UsageError(f"frames_per_second must lie in (0, 50], got {frames_per_second}.")
    try:
        from imageio import v3 as imageio
    except ModuleNotFoundError as error:
        raise MissingPackageError.of(error, "write_animation") from None
    milliseconds = 10 * round(100 / frames_per_second)
    content = imageio.imwrite(
        "<bytes>", frames, extension=".gif", plugin="pillow", duration=milliseconds, loop=0
    )
    with writing(epath.Path(path), "wb") as file:
        file.write(content)

"""Whether a training set is streamed, or lies in the memory of the devices."""

from __future__ import annotations

from vaelab.data import DataSet
from vaelab.streams import ArrayStream, Stream
from vaelab.training.memory import device_memory
from vaelab.types import Splits
from vaelab.untrusted import host_memory

_SHARE = 0.25  # largest share of a memory that a training set in memory takes
_SUBSET = 2**30  # bytes of the validation and test sets beside a stream, the same on every machine


def load_splits(
    data_set: DataSet, data_dir: str | None, streaming: bool | None
) -> tuple[Splits, Stream | None]:
    """The splits of a data set, and the stream of its training set if that is streamed.

    A data set that can be streamed from its files is not loaded then: `train` of the splits is a random
    subset. Any other data set is loaded into the machine's memory, and streamed to the devices from there.
    With `streaming` None, a training set is streamed if it does not fit.
    """
    if streaming is not False:
        stored = data_set.open(data_dir)
        if stored is not None and (streaming or not fits(stored.train)):
            return stored.sampled(_SUBSET), stored.train
    splits = data_set.load(data_dir)
    return splits, stream_of(splits, streaming)


def stream_of(splits: Splits, streaming: bool | None) -> Stream | None:
    """The stream of a training set in the machine's memory, if it is streamed to the devices."""
    stream = ArrayStream(splits.train)
    return stream if streaming or (streaming is None and not fits(stream)) else None


def fits(stream: Stream) -> bool:
    """True if a training set takes at most a quarter of the device's memory, and of the machine's."""
    return stream.num_bytes <= _SHARE * min(device_memory(), host_memory())


def sentence(stream: Stream) -> str:
    """For the user, why a training set is streamed."""
    reason = (
        "because streaming is True"
        if fits(stream)
        else f"because it takes {stream.num_bytes / 2**30:.3g} GiB in memory, more than a quarter of it"
    )
    return f"the {stream.num_examples:,} training examples are streamed, {reason}."

"""Streamed training sets: the batches and the parameters of a training set in memory, bit for bit."""

from __future__ import annotations

import signal
import sys
import threading
import time

import jax
import numpy as np
import pytest
from small import SHAPE, TEST, VALIDATION, bits, constrained, elbo

from vaelab import data, runs
from vaelab.runs.run import Run
from vaelab.streams import ArrayStream
from vaelab.training import Balanced, Timetable, Uniform, in_memory, windows
from vaelab.training.bytes_as_floats import divided_by_255
from vaelab.training.orders import Order
from vaelab.training.sharding import make_mesh
from vaelab.training.state import ORDER
from vaelab.types import Examples

_RNG = np.random.default_rng(0)
BYTES = 255 * _RNG.integers(0, 2, size=(53, *SHAPE), dtype=np.uint8)
LABELS = _RNG.integers(0, 3, size=53)


def source() -> data.Arrays:
    return data.Arrays(BYTES, LABELS, validation=VALIDATION, test=TEST)


def assert_equal(ours: runs.Result, theirs: runs.Result) -> None:
    """The same state and the same metrics, bit for bit."""
    assert bits(ours.state) == bits(theirs.state)
    assert ours.history.rows == theirs.history.rows


def train(experiment, **settings):
    return runs.train(experiment, progress=False, **settings)


@pytest.fixture
def narrow(monkeypatch):
    """Windows of two steps, where a dispatch has up to four."""
    monkeypatch.setattr(windows, "_WINDOW", 3 * 10 * 16 * 4)


@pytest.fixture(scope="module")
def experiment():
    """A validation in the middle, stops at odd steps, and an epoch that ends within a window."""
    return constrained(data=source(), num_steps=23, log_every=4, evaluate_every=10)


@pytest.fixture(scope="module")
def in_memory_run(experiment):
    return train(experiment, streaming=False)


def test_a_streamed_run_equals_one_in_memory(experiment, in_memory_run):
    assert_equal(train(experiment, streaming=True), in_memory_run)


def test_a_streamed_run_of_balanced_batches_equals_one_in_memory():
    """Here the plan of the sampler needs all labels."""
    experiment = elbo(data=source(), sampler=Balanced(), num_steps=10)
    assert_equal(train(experiment, streaming=True), train(experiment, streaming=False))


def test_windows_that_are_shorter_than_a_dispatch_change_nothing(experiment, in_memory_run, narrow):
    assert_equal(train(experiment, streaming=True), in_memory_run)


def test_members_draw_the_batches_of_their_seeds():
    """Two seeds, each of two members: two orders are read."""
    members = runs.grid({"optimiser.learning_rate": [1e-2, 1e-3], "seed": [3, 4]})
    experiment = elbo(data=source(), num_steps=10)
    streamed = train(experiment, members=members, streaming=True)
    for ours, theirs in zip(streamed, train(experiment, members=members), strict=True):
        assert_equal(ours, theirs)


class StopsAt(runs.Hook):
    """Interrupts training as Ctrl-C does."""

    def on_metrics(self, step, metrics):
        if step == 12:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_stream_continues_in_the_middle_of_an_epoch(
    experiment, in_memory_run, tmp_path
):
    """Streamed, interrupted, and streamed again: the position is the step of the state."""
    stopped = train(experiment, streaming=True, workdir=tmp_path / "run", hooks=[StopsAt()])
    assert stopped.interrupted
    assert 12 <= stopped.last_step < 23
    continued = train(experiment, streaming=True, workdir=tmp_path / "run")
    assert_equal(continued, in_memory_run)


def test_files_are_streamed_by_a_mapped_array(tmp_path):
    """uint8 until they are on the device."""
    np.save(tmp_path / "x.npy", BYTES)
    experiment = elbo(data=data.Files(str(tmp_path / "x.npy")), batch_size=5, num_steps=15)
    streamed = train(experiment, streaming=True)
    assert_equal(streamed, train(experiment, streaming=False))
    run = streamed.run
    assert run.stream.first.x.dtype == np.uint8
    assert run.num_train == 42
    assert run.notes == (
        "x is converted from uint8 to float32 and divided by 255.",
        "the 42 training examples are streamed, because streaming is True.",
    )
    assert run.record == Run.load(experiment, streaming=False).record


def test_a_training_set_is_streamed_if_it_takes_a_quarter_of_the_memory(monkeypatch):
    num_bytes = 4 * BYTES.size
    for limit, streamed in ((4 * num_bytes, False), (4 * num_bytes - 4, True)):
        monkeypatch.setattr(runs.streaming, "device_memory", lambda limit=limit: limit)
        run = Run.load(elbo(data=source()))
        assert (run.stream is not None) == streamed
    assert run.notes[-1].startswith("the 53 training examples are streamed, because it takes ")
    assert Run.load(elbo(data=source()), streaming=False).stream is None


def test_the_examples_that_stand_for_a_stream_are_a_bounded_random_subset():
    x = np.arange(1000, dtype=np.float32)[:, None]
    sample = ArrayStream(Examples(x, np.arange(1000))).sample(num_bytes=4 * 100)
    assert sample.x.shape == (100, 1)
    np.testing.assert_array_equal(sample.x[:, 0], sample.labels)
    assert len(set(sample.labels)) == 100
    assert 400 < sample.labels.mean() < 600


def test_bytes_become_the_floats_that_numpy_makes():
    """Compilers replace x / 255 by a product, which differs in the last bit."""
    every = np.arange(256, dtype=np.uint8)
    expected = np.divide(every, np.float32(255), dtype=np.float32)
    np.testing.assert_array_equal(jax.jit(divided_by_255)(every), expected)


@pytest.mark.parametrize("sampler", [Uniform(), Balanced()])
def test_an_order_begins_at_any_step(sampler):
    """The rows of the source in memory, across the blocks in which they are drawn."""
    examples = Examples(np.arange(50, dtype=np.float32)[:, None], np.arange(50) % 3)
    memory = jax.device_put(in_memory(examples, batch_size=7, sampler=sampler))
    order = Order(sampler, ArrayStream(examples), np.array([5, 6]), 7)

    @jax.jit
    def rows(seed, step):
        key = jax.random.fold_in(jax.random.key(seed), ORDER)
        return memory.next(memory.start(key, step), key, step)[0].x[:, 0]

    for step in (0, 1022, 1023, 1024, 3000, 1):
        for place, seed in enumerate((5, 6)):
            np.testing.assert_array_equal(order.rows(step)[place], rows(seed, step))
    order.close()


class Watched(ArrayStream):
    """Counts the batches that have been read, and may refuse one."""

    def __init__(self, examples: Examples, last: int | None = None):
        super().__init__(examples)
        object.__setattr__(self, "read_batches", [])
        object.__setattr__(self, "last", last)

    def rows(self, rows):
        if len(rows) > 1:
            self.read_batches.append(rows)
            if self.last is not None and len(self.read_batches) > self.last:
                raise data.files.DamagedFileError("the file is damaged.")
        return super().rows(rows)


def feed(stream, *, num_steps=60, log_every=10):
    return windows.Windows(
        stream, sampler=Uniform(), seeds=np.array([0]), which=np.array(0), batch_size=5,
        timetable=Timetable(num_steps, log_every, num_steps), mesh=make_mesh(),
        data_range=(0.0, 1.0),
    )  # fmt: skip


def wait_until(condition, seconds=60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.01)


def test_the_next_windows_are_read_while_the_first_is_in_use():
    """Nobody has finished with the first window, or waits for the second, when it has been read."""
    stream = Watched(Examples(np.zeros((50, 2), np.float32)))
    with feed(stream) as ahead:
        parts = ahead.parts(0, 60)
        first, num_steps = next(parts)
        assert num_steps == 10
        wait_until(lambda: len(stream.read_batches) >= 30)
        assert len(stream.read_batches) < 60  # and not without a bound
        assert first.examples.x.shape == (1, 10, 5, 2)
        assert sum(steps for _, steps in parts) == 50


def test_leaving_a_feed_ends_its_threads_in_the_middle():
    before = set(threading.enumerate())
    with feed(Watched(Examples(np.zeros((50, 2), np.float32)))) as ahead:
        next(ahead.parts(0, 60))
        started = set(threading.enumerate()) - before
        assert started
    wait_until(lambda: not any(thread.is_alive() for thread in started))


def test_a_file_that_cannot_be_read_ends_training_with_its_sentence():
    stream = Watched(Examples(np.zeros((50, 2), np.float32)), last=25)
    with (
        feed(stream) as ahead,
        pytest.raises(data.files.DamagedFileError, match=r"^the file is damaged\.$"),
    ):
        list(ahead.parts(0, 60))


def test_streaming_without_grain_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"^Streaming needs the package grain, which is not ins"):
        feed(ArrayStream(Examples(np.zeros((50, 2), np.float32))))


def test_values_that_do_not_fit_are_named_by_their_row():
    """The file is not read before training: the row is found when its batch is read."""
    x = np.zeros((50, 2), np.float32)
    x[17, 1] = np.nan
    with (
        feed(ArrayStream(Examples(x))) as ahead,
        pytest.raises(ValueError, match=r"^train\.x\[17:18\] holds nan in example 0"),
    ):
        list(ahead.parts(0, 60))

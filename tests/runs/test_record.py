"""The record of a configuration: two that differ have different records, and JSON takes them all."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT
from small import elbo, small_model

from experiments import digits, mnist, taming, vampprior, vlae
from vaelab import runs
from vaelab.checks import UsageError
from vaelab.networks import MLP, ConditionalGaussian
from vaelab.runs.config import ConfigurationError
from vaelab.runs.rebuild import UnknownPartError, from_record
from vaelab.runs.record import differing_fields, to_record
from vaelab.training import Adam, Constant, Cosine

SLOPE = 0.1


def helper(x):
    return SLOPE * x


def calls_helper(x):
    return helper(x)


def scaled(factor):
    return lambda x: factor * x


def gated(flags):
    return lambda x: x if flags else -x


def countdown(n):
    def inner(x, left=n):
        return x if left == 0 else inner(x, left - 1)

    return inner


class Classifier:
    """A user's object with fields and a method."""

    def __init__(self, weights, name="c"):
        self.weights, self.name = weights, name

    def __call__(self, x):
        return x @ self.weights

    def log(self, x):
        return jnp.log(self(x))


class Slotted:
    __slots__ = ("a",)


DIFFERENT = {
    "lambdas": (lambda x: nn.relu(x), lambda x: -jnp.abs(x)),
    "constants": (lambda x: x + 1, lambda x: x + 2),
    "types of constants": (lambda x: x + 1, lambda x: x + 1.0),
    "attributes": (lambda x: jnp.sin(x), lambda x: jnp.cos(x)),
    "inner functions": (lambda x: (lambda y: y + 1)(x), lambda x: (lambda y: y + 2)(x)),
    "defaults": (lambda x, a=1: a * x, lambda x, a=2: a * x),
    "keyword defaults": (lambda x, *, a=1: a * x, lambda x, *, a=2: a * x),
    "closures": (scaled(1.0), scaled(2.0)),
    "arrays in closures": (scaled(np.array([1.0, 2.0])), scaled(np.array([1.0, 3.0]))),
    "schedules": (optax.linear_schedule(0.0, 1.0, 10), optax.linear_schedule(0.0, 1.0, 20)),
    "library functions": (nn.relu, nn.silu),
    "of one name in two packages": (jnp.tanh, np.tanh),
    "partials": (
        functools.partial(nn.leaky_relu, negative_slope=0.2),
        functools.partial(nn.leaky_relu, negative_slope=0.3),
    ),
    "positional partials": (functools.partial(scaled, 1.0), functools.partial(scaled, 2.0)),
    "jitted lambdas": (jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2)),
    "objects": (Classifier(np.eye(2)), Classifier(2 * np.eye(2))),
    "methods": (Classifier(np.eye(2)).log, Classifier(2 * np.eye(2)).log),
    "methods of one object": (Classifier(np.eye(2)).log, Classifier(np.eye(2)).__call__),
    "numbers": (np.float32(0.25), np.float32(0.5)),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_values_have_different_records(one, other):
    for value in (one, other):
        record = to_record(value)
        assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert differing_fields(to_record(one), to_record(other))


def test_the_same_code_written_again_is_the_same_record():
    one, other = scaled(2.0), scaled(2.0)
    assert one is not other
    assert to_record(one) == to_record(other)


def test_a_function_of_a_package_is_its_name():
    assert to_record(MLP((3,)))["activation"]["name"].endswith(".relu")
    assert to_record(jnp.tanh) == {"type": "function", "name": "jax.numpy.tanh"}
    assert to_record(math.sin) == {"type": "function", "name": "math.sin"}


def test_a_function_counts_what_it_refers_to(monkeypatch):
    """Of a user's own module-level functions the name says nothing about yesterday's code."""
    before = to_record(calls_helper)
    assert to_record(calls_helper) == before
    monkeypatch.setitem(globals(), "SLOPE", 0.2)
    (difference,) = differing_fields(to_record(calls_helper), before)
    assert difference == "captured.helper.captured.SLOPE (0.1, now 0.2)"
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert differing_fields(to_record(calls_helper), before)


def test_functions_that_call_themselves_are_recorded():
    assert to_record(countdown(3)) == to_record(countdown(3))
    assert to_record(countdown(3)) != to_record(countdown(4))


def test_numbers_of_numpy_become_python_s():
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": jnp.array(2.0)}
    record = to_record(values)
    assert record == {"a": 0.5, "b": 3, "c": True, "d": 2.0}
    assert [type(item) for item in record.values()] == [float, int, bool, float]
    assert to_record([math.inf, np.float64("nan")]) == [
        {"type": "float", "value": "inf"},
        {"type": "float", "value": "nan"},
    ]


def test_what_cannot_be_told_apart_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"^model\.1\.a = <.*Slotted.* cannot be recorded"):
        to_record({"model": [0, {"a": Slotted()}]})
    with pytest.raises(ValueError, match=r"^trunk\.activation\.captured\.factor = \{1\} cannot"):
        to_record({"trunk": MLP((2,), activation=scaled({1}))})


def test_code_has_one_digest_in_every_process():
    """Sets of strings have another order in each."""
    source = (
        "from vaelab.runs.functions import code_digest;"
        "print(code_digest((lambda x: x in {'a', 'b', 'c', 'd', 'e'}).__code__))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", source], env={"PYTHONHASHSEED": seed}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


def with_activation(activation):
    trunk = MLP((4,), event_ndims=3, activation=activation)
    return elbo(
        model=small_model(encoder=ConditionalGaussian(trunk, dim=2)), num_steps=1, log_every=1
    )


def test_a_workdir_refuses_another_lambda_and_a_refusal_leaves_nothing(tmp_path):
    first, second = (with_activation(each) for each in DIFFERENT["lambdas"])
    runs.train(first, workdir=tmp_path / "run", progress=False)
    with pytest.raises(ConfigurationError, match=r"model\.encoder\.trunk\.activation\.code"):
        runs.train(second, workdir=tmp_path / "run", progress=False)
    with pytest.raises(UsageError, match="cannot be recorded"):
        runs.train(with_activation(gated({1})), workdir=tmp_path / "other", progress=False)
    assert not (tmp_path / "other").exists()


def test_a_record_tells_two_schedules_apart():
    record = lambda schedule: to_record(elbo(optimiser=Adam(schedule=schedule)))  # noqa: E731
    constant, cosine, other = map(record, (Constant(), Cosine(), Cosine(0.1)))
    assert differing_fields(cosine, constant) == ["optimiser.schedule (Constant, now Cosine)"]
    assert differing_fields(other, cosine) == ["optimiser.schedule.final (0.0, now 0.1)"]
    assert differing_fields(cosine, record(Cosine())) == []


# And back.


def experiments():
    return {
        **digits.EXPERIMENTS,
        **mnist.EXPERIMENTS,
        **vampprior.EXPERIMENTS,
        **taming.EXPERIMENTS,
        **vlae.EXPERIMENTS,
    }


def test_every_experiment_is_rebuilt_from_its_record():
    """Equal as a value, and equal in its record."""
    assert len(experiments()) > 70
    for name, experiment in experiments().items():
        record = json.loads(json.dumps(to_record(experiment), allow_nan=False))
        again = from_record(record, ["optax"])
        assert to_record(again) == to_record(experiment), name
        assert again.model == experiment.model, name
        assert hash(again.model) == hash(experiment.model)


@pytest.mark.parametrize(
    "value",
    [
        math.inf, -math.inf, None, True, "word", (1, 2.5), {"a": (None, {"b": 1})}, nn.relu,
        jnp.tanh, functools.partial(nn.leaky_relu, negative_slope=0.2), nn.LSTMCell,
        nn.Dense(3), nn.Conv(3, (2, 2)), Adam(0.1, schedule=Cosine()),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)  # fmt: skip
def test_values_of_a_configuration_come_back(value):
    again = from_record(json.loads(json.dumps(to_record(value), allow_nan=False)))
    assert to_record(again) == to_record(value)
    if not isinstance(value, functools.partial):
        assert again == value


def test_what_a_record_cannot_rebuild_is_named():
    record = to_record({"data": {"x": np.zeros((2, 3))}})
    with pytest.raises(
        UnknownPartError, match=r"^data\.x is an array of shape \(2, 3\), and the record"
    ):
        from_record(record)
    with pytest.raises(UnknownPartError, match=r"^a = vaelab\.networks\.MLP cannot be rebuilt \("):
        from_record({"a": {"type": "vaelab.networks.MLP", "hiden": [3]}})

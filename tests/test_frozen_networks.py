"""The shipped networks: what they are worth, that they are frozen, and the command that makes them."""

from __future__ import annotations

import json
import os
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import frozen_networks
from vaelab import data
from vaelab.cli import parsing
from vaelab.constraints import CLA, FRE
from vaelab.networks import frozen
from vaelab.networks.frozen import (
    MNIST_PATH,
    FrozenClassifier,
    FrozenFeatures,
    MNISTClassifier,
    MNISTFeatures,
)
from vaelab.types import Examples, Splits

DATA = os.environ.get("VAELAB_DATA") or str(pathlib.Path(__file__).parents[2] / "shared" / "data")
needs_mnist = pytest.mark.skipif(
    not any(pathlib.Path(DATA).glob("mnist/t10k-images*")), reason="needs MNIST in $VAELAB_DATA"
)


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).random((*shape, 28, 28, 1)), jnp.float32)


def loop_network(path, x):
    """(features, logits) of one image, convolution by convolution, in numpy and float64."""
    arrays = {
        name: np.float64(value) for name, value in np.load(path).items() if name != "metadata"
    }
    metadata = json.loads(str(np.load(path)["metadata"]))

    def nonlinearity(x):
        return 0.2 * x + 0.8 * x / (1 + np.exp(-x))

    num_convolutions = len(metadata["architecture"]["widths"])
    for layer in range(num_convolutions):
        kernel, bias = arrays[f"Dense_{layer}/kernel"], arrays[f"Dense_{layer}/bias"]
        kernel = kernel.reshape(3, 3, x.shape[-1], -1)
        height, width = (-(-side // 2) for side in x.shape[:2])
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        y = np.empty((height, width, len(bias)))
        for row, column in np.ndindex(height, width):
            patch = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            y[row, column] = np.einsum("ijc,ijcf->f", patch, kernel[: len(patch)]) + bias
        x = nonlinearity(y)
    n = num_convolutions
    features = x.ravel() @ arrays[f"Dense_{n}/kernel"] + arrays[f"Dense_{n}/bias"]
    logits = (
        nonlinearity(features) @ arrays[f"Dense_{n + 1}/kernel"] + arrays[f"Dense_{n + 1}/bias"]
    )
    return features / metadata["feature_scale"], logits


def test_the_network_is_the_one_that_loops_compute():
    x = images(2)
    for image, features, probabilities in zip(
        np.float64(x), jax.jit(MNISTFeatures())(x), jax.jit(MNISTClassifier())(x), strict=True
    ):
        expected_features, logits = loop_network(frozen.MNIST_PATH, image)
        np.testing.assert_allclose(features, expected_features, atol=1e-5)
        expected = np.exp(logits - logits.max())
        np.testing.assert_allclose(probabilities, expected / expected.sum(), atol=1e-5)


@needs_mnist
def test_the_shipped_classifier_has_the_accuracy_it_says():
    test = data.mnist.read_mnist("mnist", DATA).test.take(slice(None, None, 5))
    guesses = np.argmax(jax.jit(MNISTClassifier())(test.x), axis=-1)
    accuracy = frozen.load_frozen(frozen.MNIST_PATH).metadata["accuracy"]["test"]
    assert accuracy >= 0.985
    standard_error = np.sqrt(accuracy * (1 - accuracy) / len(guesses))
    assert np.mean(guesses == test.labels) == pytest.approx(accuracy, abs=4 * standard_error)
    features = jax.jit(MNISTFeatures())(test.x)
    deviation = np.sqrt(np.mean((features - np.mean(features, 0)) ** 2))
    assert deviation == pytest.approx(1.0, abs=0.05)  # 1 on the training images


def test_the_shipped_weights_are_small_and_say_where_they_come_from():
    assert pathlib.Path(frozen.MNIST_PATH).stat().st_size < 100_000
    metadata = frozen.load_frozen(frozen.MNIST_PATH).metadata
    assert {"accuracy", "data", "made_by", "settings", "versions"} <= metadata.keys()
    assert "50,000 training images" in metadata["data"]


def test_leading_axes_jit_and_vmap_change_nothing():
    x = images(2, 3)
    for function in (MNISTClassifier(), MNISTFeatures()):
        expected = function(x)
        assert expected.shape[:2] == (2, 3)
        np.testing.assert_allclose(jax.jit(jax.vmap(function))(x), expected, atol=1e-5)
        np.testing.assert_allclose(jax.jit(function)(x[1, 2]), expected[1, 2], atol=1e-5)


def test_colour_channels_are_digits_of_their_own():
    """Class 100 a + 10 b + c of digits (a, b, c), as Color-MNIST counts; features side by side."""
    x = images(3)
    colour = jnp.concatenate([x[0], x[1], x[2]], axis=-1)
    digits = np.asarray(jax.jit(MNISTClassifier())(x))
    joint = jax.jit(MNISTClassifier(channels=3))(colour)
    shared = jax.jit(MNISTClassifier(channels=3, share=True))(colour)
    assert joint.shape == (1000,)
    for a, b, c in [(0, 0, 0), (3, 1, 4), (9, 9, 8)]:
        expected = digits[0, a] * digits[1, b] * digits[2, c]
        np.testing.assert_allclose(joint[100 * a + 10 * b + c], expected, rtol=1e-4)
        share = np.mean([digits[0, a], digits[1, b], digits[2, c]])
        np.testing.assert_allclose(shared[100 * a + 10 * b + c], share, rtol=1e-4)
    features, alone = jax.jit(MNISTFeatures(channels=3))(colour), jax.jit(MNISTFeatures())(x)
    np.testing.assert_allclose(features, alone.ravel(), atol=1e-6)


def test_gradients_flow_to_the_images_and_are_those_of_finite_differences():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(1).random((1, 28, 28, 1)))
        direction = np.random.default_rng(2).normal(size=x.shape)
        for function in (MNISTClassifier(), MNISTFeatures()):
            score = jax.jit(lambda x, f=function: jnp.sum(f(x) ** 2))
            slope = jnp.vdot(jax.grad(score)(x), direction)
            difference = score(x + 1e-5 * direction) - score(x - 1e-5 * direction)
            assert slope != 0
            np.testing.assert_allclose(slope, difference / 2e-5, rtol=1e-5)


def test_doubt_adds_blends_and_empty_images():
    """Blends are averages of the images, by the weights that their probabilities say."""
    x, labels = images(8), jax.nn.one_hot(jnp.arange(8), 10)
    found, probabilities = jax.jit(frozen_networks.doubt)(jax.random.key(0), x, labels)
    assert found.shape == (16, 28, 28, 1)
    np.testing.assert_array_equal(found[:8], x)
    np.testing.assert_array_equal(probabilities[:8], labels)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-5)
    blends = np.tensordot(probabilities[8:12, :8], x, 1)
    np.testing.assert_allclose(found[8:12], blends, atol=1e-5)
    assert (np.sum(probabilities[8:12] > 0, axis=1) == 4).all()
    np.testing.assert_allclose(probabilities[12:], 0.1, rtol=1e-6)


def test_images_far_from_any_have_a_gradient():
    """What a constraint lives by before the model has learned anything: no dead units."""
    rng = np.random.default_rng(0)
    far = jnp.asarray(rng.normal(size=(20, 28, 28, 1)) * 3 + 1, jnp.float32)
    features = MNISTFeatures()
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(features(x) ** 2) / 2)))(far)
    lengths = np.linalg.norm(np.asarray(gradient).reshape(20, -1), axis=1)
    assert lengths.min() > 0.1
    sure = np.asarray(jax.jit(MNISTClassifier())(jnp.full((1, 28, 28, 1), 0.5))).max()
    assert sure < 0.2  # of 0.1, which knows nothing


def test_a_temperature_divides_the_logits():
    """So probabilities are powers of those at temperature 1, normalised."""
    x = images(3)
    roots = np.asarray(jax.jit(MNISTClassifier())(x), np.float64) ** (1 / 4)
    expected = roots / roots.sum(-1, keepdims=True)
    for classifier in (MNISTClassifier(temperature=4.0), FrozenClassifier(MNIST_PATH, 4.0)):
        np.testing.assert_allclose(jax.jit(classifier)(x), expected, rtol=1e-3)
    with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
        MNISTClassifier(temperature=0.0)


def test_values_are_plain_data():
    """Configurations are compared, copied and rebuilt field by field."""
    assert MNISTClassifier() == MNISTClassifier(channels=1) != MNISTClassifier(channels=3)
    constraint = CLA(0.9, MNISTClassifier())
    assert pickle.loads(pickle.dumps(constraint)) == constraint
    assert {FRE(0.1, MNISTFeatures()): 1}[FRE(0.1, MNISTFeatures())] == 1


@pytest.mark.parametrize(
    ("constraint", "shape", "sentence"),
    [
        (
            FRE(0.1, MNISTFeatures()),
            (32, 32, 3),
            r"MNISTFeatures takes images of the shape \(28, 28, 1\), and got \(32, 32, 3\): choose",
        ),
        (
            CLA(0.9, MNISTClassifier(channels=3)),
            (28, 28, 1),
            r"MNISTClassifier takes images of the shape \(28, 28, 3\), and got \(28, 28, 1\): choose",
        ),
    ],
)
def test_images_of_another_shape_are_refused(constraint, shape, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        constraint.check(Examples(np.zeros((10, *shape), np.float32), np.arange(10)))
    assert "\n" not in str(error.value)


def test_files_that_hold_no_network_are_refused(tmp_path):
    missing = str(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError, match=r"there is no frozen network .*: train it with"):
        FrozenFeatures(missing)(jnp.zeros((1, 32, 32, 3)))
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    (tmp_path / "text.npz").write_text("weights")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match=rf"{name} holds no frozen network"):
            FrozenFeatures(str(tmp_path / name))(jnp.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        MNISTClassifier(channels=2)


class Squares(data.DataSet):
    """Two classes, a bright square on the left or on the right, in colour."""

    def load(self, data_dir=None):
        del data_dir
        labels = (np.arange(400) % 2).astype(np.int32)
        x = np.random.default_rng(0).random((400, 32, 32, 3)).astype(np.float32) / 2
        x[labels == 0, 8:24, 4:12] += 0.5
        x[labels == 1, 8:24, 20:28] += 0.5
        examples = Examples(x, labels)
        return Splits(*(examples.take(slice(*p)) for p in ((200,), (200, 300), (300, 400))))


def main(*argv):
    argv = [str(each) for each in argv]
    return parsing.run(frozen_networks.FrozenNetworks, argv, prog="study")


@pytest.mark.slow  # trains a network
def test_the_command_trains_measures_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(frozen_networks.DATA, "cifar10", Squares())
    network = frozen.SmallClassifier(widths=(4, 8), hidden=8, num_classes=2)
    monkeypatch.setitem(frozen_networks.NETWORKS, "cifar10", network)
    path = str(tmp_path / "new" / "squares.npz")
    argv = ("cifar10", "--output", path, "--batch-size", "20", "--learning-rate", "0.005")
    assert main(*argv, "--epochs", "3") == 0
    assert "accuracy 100.00% on test images" in capsys.readouterr().out
    splits = Squares().load()
    test = splits.test
    features, probabilities = FrozenFeatures(path)(test.x), FrozenClassifier(path)(test.x)
    assert features.shape == (100, 8)
    np.testing.assert_array_equal(np.argmax(probabilities, -1), test.labels)
    scaled = np.asarray(FrozenFeatures(path)(splits.train.x))
    assert np.sqrt(np.mean((scaled - scaled.mean(0)) ** 2)) == pytest.approx(1.0, abs=1e-3)
    assert main("cifar10", "--output", path, "--epochs", "1", "--batch-size", "200") == 0
    assert not np.allclose(FrozenFeatures(path)(test.x), features)  # the new file is read


def test_the_command_names_what_is_missing(refusal, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    command = lambda argv: main(*argv)  # noqa: E731
    output = ("--output", tmp_path / "w.npz")
    sentence = refusal("cifar10", "--data-dir", tmp_path, *output, main=command)
    assert "cifar10" in sentence
    assert "was not found in" in sentence
    assert "epochs must be at least 1" in refusal("mnist", "--epochs", "0", main=command)
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(frozen_networks.DATA, "cifar10", Squares())
    sentence = refusal("cifar10", "--output", tmp_path / "file" / "w.npz", main=command)
    assert f"{tmp_path / 'file'}" in sentence
    assert "Correct the path" in sentence

"""Trains the frozen networks of constraints: `python -m experiments.frozen_networks mnist|cifar10|cifar10_jpeg`.

A small convolutional classifier, on images that are shifted, partly binarised, blended with each other, or
empty. Two minutes for MNIST on two CPU cores.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.study import main
from vaelab import data
from vaelab.checks import UsageError, check_at_least_one, check_positive
from vaelab.cli import parsing
from vaelab.evaluation.batches import map_batches
from vaelab.networks.frozen import MNIST_PATH, SmallClassifier, load_frozen, save_frozen
from vaelab.types import Array, Examples, PRNGKey, PyTree

DATA: dict[str, data.DataSet] = {
    "mnist": data.MNIST(binarisation="none"),
    "cifar10": data.CIFAR10(),
    "cifar10_jpeg": data.CIFAR10JPEG(),
}
_COLOUR = SmallClassifier(widths=(32, 48, 64), hidden=64, num_classes=10)
NETWORKS = {
    "mnist": SmallClassifier(widths=(16, 32, 32), hidden=32, num_classes=10),
    "cifar10": _COLOUR,
    "cifar10_jpeg": _COLOUR,
}


@dataclasses.dataclass(frozen=True)
class FrozenNetworks(parsing.Command):
    """Trains the classifier of a data set, and writes its weights and its accuracy on the test images."""

    data: tyro.conf.Positional[Literal["mnist", "cifar10", "cifar10_jpeg"]]
    """Data set."""
    output: str | None = None
    """File of the weights. Default: the file of the package for mnist, else runs/frozen_networks/DATA.npz."""
    epochs: int = 10
    """Passes over the training images."""
    batch_size: int = 100
    """Images per step."""
    learning_rate: float = 3e-3
    """First learning rate of Adam. It falls to zero along a cosine."""
    seed: int = 0
    """Seed of all random numbers."""
    data_dir: str | None = None
    """Folder of the data files. Default: $VAELAB_DATA, else ~/.cache/vaelab."""

    def __post_init__(self) -> None:
        check_at_least_one(epochs=self.epochs, batch_size=self.batch_size)
        check_positive(learning_rate=self.learning_rate)

    def run(self) -> None:
        default = MNIST_PATH if self.data == "mnist" else f"runs/frozen_networks/{self.data}.npz"
        output = Path(self.output or default)
        splits, network = DATA[self.data].load(self.data_dir), NETWORKS[self.data]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()  # fails before the training if the file cannot be written
        params = train(network, splits.train, self)
        params = jax.tree.map(lambda value: value.astype(jnp.float16).astype(jnp.float32), params)
        evaluate = partial(_evaluate, network, params)
        features, _ = evaluate(splits.train.x)
        tests = {"test": splits.test.x}
        if splits.test.x.shape[-1] == 1:
            draws = np.random.default_rng(self.seed).random(splits.test.x.shape)
            tests["binarised test"] = (draws < splits.test.x).astype(np.float32)
        accuracy = {
            name: float(np.mean(np.argmax(evaluate(x)[1], -1) == splits.test.labels))
            for name, x in tests.items()
        }
        about = {
            "image_shape": splits.train.x.shape[1:],
            # root-mean-square deviation of the features from their means
            "feature_scale": float(np.sqrt(np.mean((features - features.mean(0)) ** 2))),
            "accuracy": accuracy,
            "data": f"{self.data}: trained on its {len(splits.train.x):,} training images, "
            f"accuracies on its {len(splits.test.x):,} test images",
            "made_by": f"python -m experiments.frozen_networks {self.data}",
            "settings": {
                "epochs": self.epochs, "batch_size": self.batch_size,
                "learning_rate": self.learning_rate, "seed": self.seed,
            },
            "versions": {name: metadata.version(name) for name in ("vaelab", "jax", "flax")}
            | {"python": platform.python_version()},
        }  # fmt: skip
        save_frozen(str(output), network, params, about)
        load_frozen.cache_clear()  # a file of that name may have been read before
        text = " and ".join(f"{value:.2%} on {name} images" for name, value in accuracy.items())
        print(f"{output}: {output.stat().st_size / 1000:.0f} kB, accuracy {text}")


def train(network: SmallClassifier, examples: Examples, settings: FrozenNetworks) -> PyTree:
    """The parameters after some epochs of Adam on augmented images."""
    x, labels = jnp.asarray(examples.x), jnp.asarray(examples.labels)
    steps = len(x) // settings.batch_size
    if not steps:
        raise UsageError(f"batch_size must be at most {len(x)}, got {settings.batch_size}.")
    tx = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, steps * settings.epochs))
    key = jax.random.key(settings.seed)
    params = network.init(key, x[:1])["params"]

    def loss_fn(params, x, probabilities):
        _, logits = network.apply({"params": params}, x)
        return optax.softmax_cross_entropy(logits, probabilities).mean()

    def step(carry, inputs):
        params, opt_state = carry
        rows, key = inputs
        move_key, doubt_key = jax.random.split(key)
        images = augment(move_key, x[rows])
        one_hot = jax.nn.one_hot(labels[rows], network.num_classes)
        loss, gradients = jax.value_and_grad(loss_fn)(params, *doubt(doubt_key, images, one_hot))
        updates, opt_state = tx.update(gradients, opt_state)
        return (optax.apply_updates(params, updates), opt_state), loss

    @jax.jit
    def epoch(carry, key):
        order_key, step_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(x))[: steps * settings.batch_size]
        rows = order.reshape(steps, settings.batch_size)
        return jax.lax.scan(step, carry, (rows, jax.random.split(step_key, steps)))

    carry = (params, tx.init(params))
    for number in range(settings.epochs):
        start = time.monotonic()
        carry, losses = epoch(carry, jax.random.fold_in(key, number))
        print(f"epoch {number + 1}: loss {losses.mean():.4f}, {time.monotonic() - start:.0f} s")
    return carry[0]


def augment(key: PRNGKey, x: Array, *, shift: int = 2) -> Array:
    """Moves images by up to `shift` pixels, and binarises half of the grey ones. [B, h, w, c] -> the same.

    Many models are trained on binarised images, and their constraints read binarised images.
    """
    shift_key, choice_key, binary_key = jax.random.split(key, 3)
    padded = jnp.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    starts = jax.random.randint(shift_key, (len(x), 2), 0, 2 * shift + 1)
    size = x.shape[1:]
    moved = jax.vmap(lambda image, start: jax.lax.dynamic_slice(image, (*start, 0), size))(
        padded, starts
    )
    if x.shape[-1] != 1:
        return moved
    binary = data.bernoulli(binary_key, moved)
    return jnp.where(jax.random.bernoulli(choice_key, 0.5, (len(x), 1, 1, 1)), binary, moved)


def doubt(key: PRNGKey, x: Array, probabilities: Array) -> tuple[Array, Array]:
    """Adds images of which a classifier should be unsure. [B, h, w, c], [B, C] -> [2B, h, w, c], [2B, C].

    Half of them are blends of four images; their probabilities are the weights of the blend. The others are
    grey of any level with noise of any strength; their probabilities are uniform. An untrained model makes
    such images. A classifier that is sure of a wrong class has no gradient there, and no constraint on it
    would be met.
    """
    size = len(x) // 2
    weight_key, level_key, strength_key, noise_key = jax.random.split(key, 4)
    weights = jax.random.dirichlet(weight_key, jnp.ones(4), (size,))  # [B/2, 4]
    rows = (jnp.arange(size)[:, None] + jnp.arange(4) * (len(x) // 4)) % len(x)
    blends = jnp.einsum("bk,bk...->b...", weights, x[rows])
    blended = jnp.einsum("bk,bkc->bc", weights, probabilities[rows])
    column = (len(x) - size, 1, 1, 1)
    noise = jax.random.normal(noise_key, (column[0], *x.shape[1:]))
    strengths = jax.random.uniform(strength_key, column)
    empty = jax.random.uniform(level_key, column) + strengths * noise
    uniform = jnp.full((column[0], probabilities.shape[-1]), 1 / probabilities.shape[-1])
    return jnp.concatenate([x, blends, empty]), jnp.concatenate([probabilities, blended, uniform])


def _evaluate(
    network: SmallClassifier, params: PyTree, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of images [N, ...]."""
    return map_batches(partial(_apply, network, params), x, jax.random.key(0), batch_size=1000)


@partial(jax.jit, static_argnums=0)
def _apply(network: SmallClassifier, params: PyTree, x: Array, key: Array) -> tuple[Array, Array]:
    del key  # nothing is random
    return network.apply({"params": params}, x)


if __name__ == "__main__":
    main(FrozenNetworks)

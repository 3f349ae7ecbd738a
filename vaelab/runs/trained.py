"""A trained model: it encodes, reconstructs and samples without its data set."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from vaelab import evaluation
from vaelab.checks import DamagedFileError, UndefinedError, UsageError, counted
from vaelab.data.conversion import as_floats
from vaelab.data.files import FETCH_AGAIN
from vaelab.data.readers import names_in_npz, read_npz
from vaelab.evaluation import LogLikelihood, Proposal, Subject
from vaelab.evaluation.batches import map_batches
from vaelab.evaluation.proposals import AMORTISED
from vaelab.evaluation.spreading import spread
from vaelab.models import Model
from vaelab.runs.history import History
from vaelab.storage import folder_at, writing
from vaelab.training.checkpoint_reading import open_checkpoints
from vaelab.training.state import TrainState
from vaelab.types import Array, Examples, PRNGKey, PyTree, Scaling
from vaelab.untrusted import printable


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A model with its trained parameters. x and what the model makes of it are in the data's own units.

    `runs.load` gives one, and a `Result` is one. Codes and images are numpy arrays.
    """

    model: Model
    """Model, with every shape filled in."""
    params: PyTree
    """Parameters: the best ones under early stopping, else the last ones."""
    multipliers: Mapping[str, float]
    """λ of each constraint."""
    average: Mapping[str, float]
    """Moving average of each constraint C."""
    step: int
    """Step of these parameters."""
    scaling: Scaling | None = None
    """Standardisation of the data. None if they were not standardised."""
    name: str = "experiment"
    """Name of the experiment."""
    record: Mapping[str, Any] | None = None
    """Record of the experiment, as config.json holds it."""
    history: History = dataclasses.field(default_factory=lambda: History([]))
    """Logged metrics: `history["elbo"]` at `history.steps("elbo")`."""
    started_from: str | None = None
    """Digest of the parameters that training started from. None for fresh ones."""
    folder: epath.Path | None = None
    """Folder of the run, which holds the whole state of training. None if there is none."""

    def __repr__(self) -> str:
        """One line, without the arrays of the parameters."""
        num = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params))
        return f"{type(self).__name__} {self.name!r}: {self._title}, step {self.step:,}, {num:,} parameters"

    @property
    def _title(self) -> str:
        return type(self.model).__name__

    @property
    def bound(self) -> Model:
        """The model with its parameters. Its methods are functions of arrays, without standardisation."""
        return self.model.at(self.params)

    def encode(
        self, x: Any, *, key: PRNGKey | None = None, context: Any = None, batch_size: int = 500
    ) -> np.ndarray | tuple[np.ndarray, ...]:
        """Codes z of x [N, *event]: [N, D], or a tuple of [N, D_l] for a model with several levels.

        A code is the mean of q(z|x), or one sample of it if a key is given.

        Raises:
          UsageError: x does not fit the model.
          UndefinedError: q(z|x) has no mean in closed form, for example because a level depends on samples
            of the level above. Pass a key, or see `evaluation.level_codes`.

        >>> from vaelab import likelihoods, models, networks, priors
        >>> model = models.VAE(
        ...     encoder=networks.ConditionalGaussian(networks.MLP((4,)), dim=2),
        ...     decoder=likelihoods.GaussianDecoder(networks.MLP((4,)), shape=(3,)),
        ...     prior=priors.StandardNormal(2),
        ... )
        >>> key = jax.random.key(0)
        >>> params = model.init(key, jnp.zeros((1, 3)), key)["params"]
        >>> trained = Trained(model, params, {}, {}, step=0)
        >>> trained.encode(np.zeros((5, 3))).shape, trained.sample(key, 4).shape
        ((5, 2), (4, 3))
        """
        function = partial(_codes, self.model, spread(self.params), key is not None)
        codes = map_batches(
            function, self._examples(x, context), _or_fixed(key), batch_size=batch_size
        )
        codes = tuple(z.astype(np.float32) for z in codes)
        return codes[0] if len(codes) == 1 else codes

    def decode(self, z: Any, *, context: Any = None) -> np.ndarray:
        """The likelihood's mean at codes z [N, D], or at a tuple of them for several levels. [N, *event].

        A model with several levels also takes a list of codes, level 0 (top) first.

        Raises:
          UsageError: codes do not fit the model, or levels have different numbers of codes.
        """
        several = isinstance(z, list) and self.model.depth > 1
        latents = tuple(z) if several or isinstance(z, tuple) else (z,)
        latents = tuple(jnp.asarray(each, jnp.float32) for each in latents)
        _check_numbers(latents)
        return self._in_data_units(self.bound.decode(latents, _scaled(context)).mean())

    def reconstruct(
        self, x: Any, *, key: PRNGKey | None = None, context: Any = None, batch_size: int = 500
    ) -> np.ndarray:
        """The likelihood's mean at one sample of q(z|x) for each example. [N, *event] -> [N, *event].

        The same noise each time unless a key is given.
        """
        function = partial(_reconstructions, self.model, spread(self.params))
        values = map_batches(
            function, self._examples(x, context), _or_fixed(key), batch_size=batch_size
        )
        return self._in_data_units(values.astype(np.float32))

    def sample(
        self, key: PRNGKey, num_samples: int, *, context: Any = None, mean: bool = True
    ) -> np.ndarray:
        """x from the model: the likelihood's mean at z ~ p(z), or a draw from it. [num_samples, *event]."""
        check_key(key)
        latent_key, x_key = jax.random.split(key)
        bound, context = self.bound, _scaled(context)
        likelihood = bound.decode(bound.sample_latents(latent_key, num_samples, context), context)
        return self._in_data_units(likelihood.mean() if mean else likelihood.sample(seed=x_key))

    def log_likelihood(
        self,
        x: Any,
        key: PRNGKey,
        *,
        num_samples: int = 1000,
        context: Any = None,
        proposal: Proposal = AMORTISED,
    ) -> LogLikelihood:
        """log p(x) of each example by importance sampling, and their mean ± standard error, nats.

        In expectation a lower bound, `evaluation.log_likelihood`, and tighter with
        `proposal=evaluation.Refined()`. The log density of standardised data is
        converted to the data's own units.
        """
        check_key(key)
        subject = Subject(self.model, self.params, self._examples(x, context))
        estimate = evaluation.log_likelihood(
            subject, key, num_samples=num_samples, proposal=proposal
        )
        if self.scaling is None:
            return estimate
        shift = self.scaling.log_determinant(tuple(self.model.decoder.shape))
        return estimate._replace(mean=estimate.mean + shift, log_prob=estimate.log_prob + shift)

    def export(self, path: epath.PathLike) -> None:
        """Writes the parameters as a plain npz file: one array for each, by its path.

        `import_params` reads it.
        """
        flat: dict[str, Any] = {
            "/".join(keys): np.asarray(leaf) for keys, leaf in _leaves(self.params)
        }
        with writing(folder_at(path), "wb") as file:
            np.savez(file, **flat)

    def whole_state(self, like: TrainState, usable: Callable[[int], bool]) -> TrainState | None:
        """The newest state of training, of the shapes `like`, at a usable step if there is one.

        None if only the parameters are known.
        """
        if self.folder is None:
            return None
        checkpoints = open_checkpoints(self.folder / "checkpoints")
        with contextlib.closing(checkpoints):
            state = checkpoints.restore(like, usable)
            return checkpoints.restore(like) if state is None else state

    def standardise(self, examples: Examples) -> Examples:
        """Examples in the data's own units, as the model takes them."""
        if self.scaling is None:
            return examples
        return examples._replace(x=self.scaling.apply(examples.x))

    def _examples(self, x: Any, context: Any) -> Examples:
        context = None if context is None else _float32("context", context)
        examples = self.standardise(Examples(_float32("x", x), None, context))
        self.model.check_data(examples)
        return examples

    def _in_data_units(self, x: Array | np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        return x if self.scaling is None else np.asarray(self.scaling.invert(x))


def check_key(key: Any) -> None:
    """Raises one sentence if a key is none of JAX, such as a seed."""
    if not isinstance(key, jax.Array):
        raise UsageError(f"key must be a JAX key, such as jax.random.key(0), got {key!r}.")


def _check_numbers(latents: tuple[Array, ...]) -> None:
    """Raises one sentence if levels have different numbers of codes."""
    numbers = [math.prod(z.shape[:-1]) for z in latents]
    for level, number in enumerate(numbers):
        if number != numbers[0]:
            raise UsageError(
                f"level 0 has {counted(numbers[0], 'code')} and level {level} has {number}: give the same "
                "number of codes for each level."
            )


def check_params(what: str, params: PyTree, like: PyTree) -> None:
    """Raises one sentence if parameters have another structure or other shapes than the model's."""
    ours, theirs = (
        {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(t)}
        for t in (like, params)
    )  # fmt: skip
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            raise UsageError(
                f"{what} parameters that do not fit the model: {printable(name)} has the shape "
                f"{theirs.get(name, 'none')}, and the model's {ours.get(name, 'none')}: use a run of a model "
                "with the same networks."
            )


def import_params(path: epath.PathLike) -> PyTree:
    """Parameters from a file that `Trained.export` wrote: nested dicts of arrays."""
    path = folder_at(path)
    params: dict[str, Any] = {}
    for name, array in read_npz(path, names_in_npz(path)).items():
        *folders, leaf = name.split("/")
        place = params
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or leaf in place:
            raise DamagedFileError(
                f"{path} has an array and a group of arrays of the name {printable(name)}: {FETCH_AGAIN}."
            )
        place[leaf] = array
    return params


def _leaves(params: PyTree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        yield [str(part.key) for part in path], leaf


def _float32(name: str, x: Any) -> np.ndarray:
    values, sentences = as_floats(name, x)
    for sentence in sentences:
        if "divided" in sentence:  # the run may have been trained on other units
            warnings.warn(sentence, stacklevel=4)
    return values


def _scaled(context: Any) -> Array | None:
    return None if context is None else jnp.asarray(_float32("context", context))


def _or_fixed(key: PRNGKey | None) -> PRNGKey:
    return jax.random.key(0) if key is None else key


@partial(jax.jit, static_argnums=(0, 2))
def _codes(model: Model, params: PyTree, sampled: bool, examples: Examples, key: PRNGKey):
    bound = model.at(params)
    if sampled:
        return tuple(z[0] for z in bound(examples.x, key, context=examples.context).latents)
    encoding = bound.encode(examples.x, examples.context)
    try:
        levels = range(model.depth)
        return tuple(bound.level_posterior(encoding, level).mean() for level in levels)
    except (UndefinedError, NotImplementedError):  # distrax raises the second
        raise UndefinedError(
            "q(z|x) of this model has no mean in closed form: pass key=jax.random.key(0) for a sample, "
            "or take the means of samples of each level, evaluation.level_codes."
        ) from None


@partial(jax.jit, static_argnums=0)
def _reconstructions(model: Model, params: PyTree, examples: Examples, key: PRNGKey) -> Array:
    terms = model.at(params)(examples.x, key, context=examples.context)
    return terms.likelihood.mean()[0]

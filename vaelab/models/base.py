"""The contract that every model keeps."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np

from vaelab.checks import UndefinedError, UsageError, check_values
from vaelab.likelihoods import Decoder
from vaelab.losses import scale_gradient
from vaelab.separate import check_modules, separate_modules
from vaelab.stateless import only_parameters
from vaelab.types import Antithetic, Array, Examples, PRNGKey, PyTree, Terms, as_examples

Latents = tuple[Array, ...]  # one array [..., D_l] for each level

# The two groups of parameters; see `Model.parameter_groups`.
MODEL, PRIOR = "model", "prior"


class Model(nn.Module, abc.ABC):
    """A model p(x, z_1..z_L | context) with an amortised posterior q(z_1..z_L | x, context).

    A model is a Linen module. Its latents are a tuple with one array for each level, even if there is
    only one level. The generative model draws level 0 first. Training, evaluation, plots and commands
    use the methods below and nothing else. `at(params)` returns the model with its parameters. Its
    methods are then functions of arrays:

      bound = model.at(params)
      encoding = bound.encode(x)                       # once for each x
      terms = bound.terms(encoding, x, key, num_samples=8)
      images = bound.decode(bound.sample_latents(key, 16)).mean()

    Every model has a field `decoder`, the `Decoder` of p(x|z), which holds shape, range and levels of
    the data. The shape may be left out: `for_data` derives it from the data. A method that has no meaning
    for a model raises `UndefinedError` with the reason.
    """

    prior_parameters: ClassVar[tuple[str, ...]] = ("prior",)
    """Top-level names of the parameters that the distortion does not depend on."""
    posterior_parameters: ClassVar[tuple[str, ...]] = ("encoder",)
    """Top-level names of the parameters that q(z|x) has for itself: p(x|z) does not depend on them.

    The parameters of p(x, z) are not among them, even if q(z|x) depends on them, too. The parameters of an
    encoder whose posteriors are also the components of a VampPrior are among them.
    """

    def __post_init__(self) -> None:
        check_modules(self)
        check_decoder(self)
        separate_modules(self)
        super().__post_init__()

    # Static facts.

    @property
    @abc.abstractmethod
    def latent_dims(self) -> tuple[int, ...]:
        """Number of latent coordinates D_l of each level."""

    @property
    def depth(self) -> int:
        """Number of levels L. A model whose shapes are not known yet has it, too."""
        return len(self.latent_dims)

    @property
    def bernoulli_levels(self) -> tuple[int, ...]:
        """The levels whose posterior is a Bernoulli distribution for each coordinate, top first."""
        return ()

    @property
    def label(self) -> str:
        """The model in a few words, for lists of experiments."""
        return f"{type(self).__name__} ({self.decoder.label})"

    @property
    def conditional(self) -> bool:
        """True if the model needs a context."""
        return False

    @property
    def exact(self) -> bool:
        """True if rates are exact. If log p(z) is estimated, rates are upper bounds on average."""
        return self.prior_samples is None

    @property
    def prior_samples(self) -> int | None:
        """Number of inner samples from which log p(z) is estimated; None if log p(z) is exact."""
        return None

    def with_prior_samples(self, num_samples: int) -> Model:
        """The same model with another number of inner samples; itself if log p(z) is exact."""
        del num_samples
        return self

    @nn.nowrap
    def for_data(self, examples: Examples | Array) -> Model:
        """The same model for these examples: settings that were left out are derived from the data.

        They are `decoder.shape`, and with it the settings of encoder and prior. Itself where no
        setting was left out. Parameters have no part in it, so call it before `init`:

          model = model.for_data(examples)

        Args:
          examples: the training data, x [N, *event] alone or `Examples`.
        """
        shape = tuple(as_examples(examples).x.shape[1:])
        decoder = self.decoder.for_events(shape)
        return self if decoder is self.decoder else self.clone(parent=None, decoder=decoder)

    # Parameters.

    def at(self, params: PyTree) -> Model:
        """The model with these parameters: its methods are functions of arrays alone.

        Raises:
          UsageError: `params` are the variables {"params": params} that `init` returns.
        """
        if isinstance(params, Mapping) and set(params) == {"params"}:
            raise UsageError(
                'params = {"params": ...} are variables, which hold the parameters once more: give '
                'variables["params"].'
            )
        return self.bind({"params": params})

    def with_gradient_in(self, names: Collection[str]) -> Model:
        """The same bound model, with a stopped gradient in all parameters except the entries `names`.

        Values do not change. `names` are top-level names of parameters, and `with_gradient_in(())` stops the
        gradient of all parameters. The parts of the new model are its own: an encoding or a distribution
        that the old model has returned keeps its gradient. While parameters are initialised, this is
        the model itself.

        It may be called outside the model, on `model.at(params)`, and in a method of the model:

          density = self.with_gradient_in(()).decode(latents)  # a gradient in the latents only
        """
        if self.is_initializing():
            return self
        model, variables = self.unbind()
        params = {
            name: value if name in names else jax.lax.stop_gradient(value)
            for name, value in variables.get("params", {}).items()
        }
        return model.at(params)

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Data-dependent initialisation: fresh parameters, moved to the data x [N, *event]."""
        del x, key
        return params

    def parameter_groups(self, params: PyTree) -> PyTree:
        """The group of each top-level entry of the parameters: {name: "model" or "prior"}.

        The distortion does not depend on the group "prior", so the gradient of this group does not
        contain λ. The gradient is therefore not divided by λ, REWO holds the group until the constraints
        were met once, and the group may have its own update period and optimiser.
        """
        return {name: PRIOR if name in self.prior_parameters else MODEL for name in params}

    def learned(self, params: PyTree) -> dict[str, float]:
        """What was learned, in numbers by name, for a report.

        `likelihood_scale` is the learned σ (or scale) of a likelihood with one scale for all coordinates.
        `effective_components` is the exponential of the entropy of a mixture prior's learned weights.
        """
        scale = self.decoder.global_scale(params.get("decoder", {}))
        return {} if scale is None else {"likelihood_scale": float(scale)}

    def check_data(self, examples: Examples) -> None:
        """Raises one sentence if examples do not fit the model: shape, range or context.

        Raises:
          UsageError: the shape of x is not `decoder.shape`; values lie outside the range of the
            likelihood; a context is missing, or an unconditional model is given one.
        """
        x = examples.x
        check_events(self, x)
        if self.conditional and examples.context is None:
            raise UsageError(
                f"model is a conditional {type(self).__name__}, and the data have no context: choose "
                "data with one, such as MNISTRotate, or an unconditional model."
            )
        if not self.conditional and examples.context is not None:
            raise UsageError(
                f"the data have a context, and model is an unconditional {type(self).__name__}: choose "
                "a conditional model, or data without a context."
            )
        check_values("x", x, *self.decoder.data_range)
        # Bits may be grey: training binarises them, and log p(x|z) is then a cross-entropy.
        if self.decoder.num_levels != 2 and not isinstance(x, jax.core.Tracer):
            self.decoder.check_values(np.asarray(x))

    # The posterior.

    @abc.abstractmethod
    def encode(self, x: Array, context: Array | None = None) -> Any:
        """Everything that `terms` needs of x [B, *event] and the context, as any pytree."""

    @abc.abstractmethod
    def terms(
        self,
        encoding: Any,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
    ) -> Terms:
        """The parts of every bound, for `num_samples` draws from q(z|x).

        `weights` [K, B] are the normalised importance weights of the same samples. They select the
        doubly reparameterised gradient of an importance-weighted bound (see `losses`). Weights that are
        all 1 select sticking the landing. Weights change no value.
        """

    def antithetic_terms(
        self, encoding: Any, x: Array, key: PRNGKey, num_pairs: int = 1
    ) -> Antithetic:
        """`Terms` of pairs of antithetic samples of q(z|x), for the objective DisARM: see `Antithetic`.

        Each level in `bernoulli_levels` has `num_pairs` pairs of its own.

        Raises:
          UndefinedError: `bernoulli_levels` is empty.
        """
        del encoding, x, key, num_pairs
        check_bernoulli(self)
        raise NotImplementedError  # by a model with Bernoulli levels

    def __call__(
        self,
        x: Array,
        key: PRNGKey,
        num_samples: int = 1,
        weights: Array | None = None,
        context: Array | None = None,
    ) -> Terms:
        """`terms` of a fresh encoding. x [B, *event] -> Terms."""
        with only_parameters(self):
            return self.terms(self.encode(x, context), x, key, num_samples, weights)

    @abc.abstractmethod
    def level_log_posteriors(self, encoding: Any, latents: Latents) -> tuple[Array, ...]:
        """log q(z_l | earlier levels, x, context) of each level, nats. L arrays [..., B, D_l] -> L arrays [..., B]."""

    def log_posterior(self, encoding: Any, latents: Latents) -> Array:
        """log q(z_1..z_L | x, context), nats. L arrays [..., B, D_l] -> [..., B]."""
        first, *later = self.level_log_posteriors(encoding, latents)
        return sum(later, start=first)

    def with_weights(
        self, encoding: Any, latents: Latents, weights: Array | None
    ) -> tuple[Latents, tuple[Array, ...]]:
        """(z, log q of each level at z), with the gradient that the `weights` of `terms` select.

        Without weights it is the gradient of the values. With weights, the gradient of z is multiplied by
        them, after all levels are drawn, and log q has a gradient in z alone.
        """
        if weights is None:
            return latents, self.level_log_posteriors(encoding, latents)
        check_reparameterised(self)
        latents = tuple(scale_gradient(z, weights) for z in latents)
        held = self.with_gradient_in(())
        return latents, held.level_log_posteriors(jax.lax.stop_gradient(encoding), latents)

    # The generative model.

    @abc.abstractmethod
    def decode(self, latents: Latents, context: Array | None = None) -> Any:
        """p(x|z). L arrays [..., B, D_l], context [B or 1, *event] -> batch shape [..., B]."""

    def sample_latents(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> Latents:
        """z ~ p(z|context), L arrays [num_samples, D_l]. There are `num_samples` contexts, or one."""
        return self.sample_joint(key, num_samples, context)[0]

    @abc.abstractmethod
    def sample_joint(
        self, key: PRNGKey, num_samples: int, context: Array | None = None
    ) -> tuple[Latents, PyTree]:
        """(z, u) ~ p(z, u|context), u the prior's auxiliary variables; u = () if there are none."""

    @abc.abstractmethod
    def log_prior(
        self, latents: Latents, key: PRNGKey | None = None, context: Array | None = None
    ) -> Array:
        """log p(z|context), exact, or estimated with `key`, nats. L arrays [..., B, D_l] -> [..., B]."""

    @abc.abstractmethod
    def log_joint_prior(
        self, latents: Latents, auxiliary: PyTree, context: Array | None = None
    ) -> Array:
        """log p(z, u|context), exact, nats. [..., B]."""

    # One level alone.

    @abc.abstractmethod
    def level_posterior(self, encoding: Any, level: int = 0) -> Any:
        """q(z_level | x), a distribution of batch shape [B].

        Raises:
          UndefinedError: the level's posterior depends on the samples of other levels.
        """

    @abc.abstractmethod
    def level_log_prior(self, z: Array, level: int = 0, key: PRNGKey | None = None) -> Array:
        """log p(z_level), exact, or estimated with `key`, nats. [..., D_level] -> [...].

        Raises:
          UndefinedError: the level's prior depends on other levels or on a context.
        """

    @abc.abstractmethod
    def level_factorises(self, level: int = 0) -> bool:
        """True if p(z_level) = Π_d p(z_level,d)."""

    def resample_level(
        self, key: PRNGKey, latents: Latents, level: int = 0, context: Array | None = None
    ) -> Latents:
        """The latents with one level drawn from p(z_level | earlier levels, context).

        L arrays [B, D_l] -> the same. All other levels stay unchanged, also those whose prior depends on
        this level. There are B contexts, or one. A model with levels whose prior depends on other levels
        or on a context overrides this method.

        Raises:
          UsageError: there is no such level, or latents are not a tuple of levels.
        """
        check_latents(self, latents)
        self.level_factorises(level)  # raises if the level's prior depends on other levels
        z = self.sample_latents(key, len(latents[level]), context)[level]
        return with_level(latents, level, z)


def check_events(model: Model, x: Array) -> None:
    """Raises one sentence if the event shape of x [B, *event] is not that of the model."""
    shape = model.decoder.event_shape
    if tuple(x.shape[1:]) != shape:
        raise UsageError(
            f"x holds events of shape {tuple(x.shape[1:])}, and model.decoder.shape is {shape}: make "
            "them the same."
        )


def check_decoder(model: Model) -> None:
    """Raises one sentence if the decoder is not a `Decoder`, which has a shape and a range."""
    if not isinstance(model.decoder, Decoder):
        raise UsageError(
            f"decoder = {type(model.decoder).__name__} must be a likelihoods.Decoder, which states the "
            "shape and the range of the data: use one of vaelab.likelihoods, or derive from Decoder."
        )


def check_bernoulli(model: Model) -> None:
    """Raises one sentence if the model has no Bernoulli level.

    Raises:
      UndefinedError: there is none.
    """
    if not model.bernoulli_levels:
        raise UndefinedError(
            f"{type(model).__name__} has no Bernoulli level, so DisARM has no meaning: use ELBO."
        )


def check_reparameterised(model: Model) -> None:
    """Raises one sentence if a level of the model has samples that are not reparameterised.

    Raises:
      UndefinedError: there are Bernoulli levels.
    """
    if model.bernoulli_levels:
        raise UndefinedError(
            "a model with Bernoulli levels has no doubly reparameterised gradient: use the objective "
            "DisARM, whose gradient is unbiased, or ELBO, ImportanceWeighted or Lagrangian, whose "
            "gradients are straight through."
        )


def check_no_context(model: Model, context: Any) -> None:
    """Raises one sentence if an unconditional model is given a context."""
    if context is not None:
        raise UsageError(
            f"{type(model).__name__} takes no context: leave the context out, or choose a conditional "
            "model."
        )


def check_latents(model: Model, latents: Latents) -> None:
    """Raises one sentence if latents are not a tuple with an array for each level."""
    dims = model.latent_dims
    given = tuple(z.shape[-1] for z in latents) if isinstance(latents, tuple) else None
    if given != dims:
        shown = f"an array of shape {jax.numpy.shape(latents)}" if given is None else given
        raise UsageError(
            f"latents must be a tuple of {len(dims)} arrays with {dims} coordinates, one for each "
            f"level, got {shown}."
        )


def with_level(latents: Latents, level: int, z: Array) -> Latents:
    """The latents with z in the place of one level.

    >>> with_level((1, 2, 3), 1, 5)
    (1, 5, 3)
    """
    return (*latents[:level], z, *latents[level + 1 :])


def check_level_exists(model: Model, level: Any) -> None:
    """Raises one sentence if a level is not the number of a level of the model."""
    last = len(model.latent_dims) - 1
    if not isinstance(level, int | np.integer) or not 0 <= level <= last:
        numbers = f"0 (top) to {last}" if last else "0, the only level of the model"
        raise UsageError(f"level must be {numbers}, got {level!r}.")


def check_level(model: Model, level: int, defined: int, reason: str) -> None:
    """Raises if a level does not exist, or is not among the first `defined` levels.

    Raises:
      UsageError: there is no such level.
      UndefinedError: `reason`, why the level has no density of its own.
    """
    check_level_exists(model, level)
    if level >= defined:
        raise UndefinedError(f"level {level} of {type(model).__name__} {reason}")

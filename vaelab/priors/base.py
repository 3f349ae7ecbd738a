"""The contract that every prior keeps."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaelab.checks import UndefinedError, UsageError, check_at_least_one
from vaelab.natural import ExponentialFamily
from vaelab.separate import check_modules, separate_modules
from vaelab.stateless import only_parameters
from vaelab.types import Array, PRNGKey, PyTree

DataRange = tuple[float, float]  # lowest and highest value of the data


class Given(NamedTuple):
    """What a prior receives from the model or the prior that it is a part of.

    Every field may be None. A prior reads the fields that it needs and ignores the others. `encode` is a
    function and not an array: make a `Given` with `encode` inside the function that `jax.jit` compiles.
    """

    key: PRNGKey | None = None  # for priors that sample in log_prob
    weights: Array | None = None  # [...], normalised importance weight of each z
    encode: Callable[[Array], Any] | None = None  # x [B, ...] -> q(z|x), batch shape [B]


class Prior(nn.Module, abc.ABC):
    """A density over latent vectors that can be evaluated and sampled.

    A prior is a Linen module with two methods. Both use the same normalised density:

      log_prob(z, given=Given()): [..., D] -> [...], nats
      sample(key, num_samples, given=Given()): -> [num_samples, D]

    `exact` defines the meaning of log_prob. True: log p(z), and `given.key` is not used. False: the
    logarithm of an unbiased estimate of p(z), made with `given.key`, independently for every z. Then
    log p(z) is underestimated on average, and importance-weighted bounds on log p(x) stay bounds.

    A prior that is not exact is the marginal p(z) = ∫ p(z, u) du of a joint density over z and
    auxiliary variables u, which it can evaluate and sample: `joint_log_prob` and `sample_joint`.
    An exact prior has no auxiliary variables, and u = ().

    `given.weights` [...] come from doubly reparameterised objectives: the normalised importance weight of
    each z. They change no value. A prior that samples inside log_prob uses them to give its own sampler
    the doubly reparameterised gradient.

    `given.encode` is the encoder of the model, for priors that consist of posteriors. It returns a type
    that `components.diagonal_gaussian` reads. A prior never reaches into the module around it.

    A prior with pseudo-inputs overrides `for_events`, so that their shape may be left out.

    Calling the module is `log_prob`, so that one line initialises any prior:

      variables = prior.init(key, jnp.zeros(prior.latent_dim))
    """

    latent_dim: int
    """Number of latent coordinates D."""

    factorises: ClassVar[bool] = False
    """True if p(z) = Π_d p(z_d)."""
    discrete: ClassVar[bool] = False
    """True if the coordinates of z are bits."""
    family: ClassVar[type | None] = None
    """Type of `coordinates`, one of `vaelab.natural`. None if p(z) is no product of its members."""

    def __post_init__(self) -> None:
        check_modules(self)
        check_at_least_one(latent_dim=self.latent_dim)
        separate_modules(self)
        super().__post_init__()

    @property
    def exact(self) -> bool:
        """True if log_prob is log p(z); False if it is an estimate from `num_samples` inner samples."""
        return self.num_samples is None

    @property
    def num_samples(self) -> int | None:
        """Number of inner samples that estimate log_prob; None if it is exact."""
        return None

    @property
    def starts_from_data(self) -> bool:
        """True if `start_from` moves the parameters to the data."""
        return False

    def __call__(self, z: Array, given: Given = Given()) -> Array:
        """`log_prob`. To initialise parameters, no key is needed. [..., D] -> [...], nats."""
        self.check_arguments(z, given)
        if given.key is None and self.is_initializing():
            given = given._replace(key=jax.random.key(0))  # the value is not used
        with only_parameters(self):
            return self.log_prob(z, given)

    @nn.nowrap
    def check_arguments(self, z: Array | None = None, given: Given = Given()) -> None:
        """Raises one sentence where z or `given` do not fit the prior.

        Each method that receives them calls this first. Shapes are known under jit.

        Raises:
          UsageError: z has another number of coordinates than `latent_dim`; `given` is no `Given`.
        """
        if not isinstance(given, Given):
            raise UsageError(
                f"given must be a priors.Given, such as Given(key=key), got {type(given).__name__}."
            )
        if z is not None and (jnp.ndim(z) == 0 or jnp.shape(z)[-1] != self.latent_dim):
            raise UsageError(
                f"z must be an array [..., {self.latent_dim}], because latent_dim = "
                f"{self.latent_dim}, got the shape {jnp.shape(z)}."
            )

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> Prior:
        """The same prior for examples of this shape and range; itself if no setting was left out.

        A prior with pseudo-inputs fills in their shape and range. `data_range` is None if the range is
        not known yet.
        """
        del shape, data_range
        return self

    @abc.abstractmethod
    def log_prob(self, z: Array, given: Given = Given()) -> Array:
        """log p(z), or the logarithm of an unbiased estimate of p(z). [..., D] -> [...], nats."""

    @abc.abstractmethod
    def sample(self, key: PRNGKey, num_samples: int, given: Given = Given()) -> Array:
        """z ~ p(z), [num_samples, D]: the first part of `sample_joint`."""

    def sample_joint(
        self, key: PRNGKey, num_samples: int, given: Given = Given()
    ) -> tuple[Array, PyTree]:
        """(z, u) ~ p(z, u), z [num_samples, D], each leaf of u [num_samples, ...]."""
        return self.sample(key, num_samples, given), ()

    def joint_log_prob(self, z: Array, auxiliary: PyTree, given: Given = Given()) -> Array:
        """log p(z, u), exact. [..., D] and leaves [..., *event] -> [...], nats."""
        return self.log_prob(z, given)

    def kl(self, posterior: Any) -> Array | None:
        """Closed-form KL(posterior ‖ p) per coordinate, [B, D]; None without a closed form."""
        return None

    def coordinates(self) -> ExponentialFamily:
        """p(z) coordinate by coordinate, of parameters [D], if it has a `family`."""
        raise UndefinedError(f"{type(self).__name__} has no natural parameters.")

    def with_num_samples(self, num_samples: int) -> Prior:
        """The same prior, estimated with another number of inner samples; itself if it is exact."""
        return self

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Data-dependent initialisation: the prior's fresh parameters, moved to the data x [N, ...]."""
        return params

    def summary(self, params: PyTree) -> dict[str, Array]:
        """What the prior has learned, in numbers [] by name for reports, from its own parameters."""
        return {}


def check_dim(name: str, network: nn.Module, wanted: int, wanted_name: str = "latent_dim") -> None:
    """Raises one sentence if a network states its number of coordinates `dim`, and it does not fit."""
    dim = getattr(network, "dim", wanted)
    if dim != wanted:
        raise UsageError(
            f"{name}.dim = {dim} and {wanted_name} = {wanted} must be the same number."
        )


def check_continuous(name: str, prior: Prior) -> None:
    """Raises one sentence if a prior that is a part of another one is over bits."""
    if prior.discrete:
        raise UsageError(
            f"{name} = {type(prior).__name__} is a prior over bits, and {name} must have a density: use "
            "StandardNormal, for example."
        )

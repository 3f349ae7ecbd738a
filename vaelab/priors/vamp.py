"""The VampPrior: a mixture of the encoder's posteriors at learned pseudo-inputs."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ScopeParamShapeError

from vaelab.checks import UsageError, check_at_least_one, check_sizes
from vaelab.events import for_events
from vaelab.priors.base import DataRange, Given, Prior, check_dim
from vaelab.priors.components import Components
from vaelab.priors.mixture import MixturePrior, gaussian_parts
from vaelab.separate import check_modules
from vaelab.types import Array, PRNGKey, PyTree


class VampPrior(MixturePrior):
    """p(z) = Σ_k w_k q_φ(z|u_k), pseudo-inputs u_k learned, in the range of the data.

    By default the encoder is that of the model. An encoder that is given here is the prior's own, even if
    the model is given the same object. Weights are equal, or learned (Alemi et al., 2018). Tomczak & Welling,
    2018, section 3.

    Raises:
      UsageError: num_components is below 1; data_range is empty or infinite; the encoder is missing, does
        not fit latent_dim or the examples, or its posterior is no diagonal Gaussian.

    >>> from vaelab.networks import MLP, ConditionalGaussian
    >>> encoder = ConditionalGaussian(MLP((16,), event_ndims=3), dim=2)
    >>> prior = VampPrior(latent_dim=2, shape=(8, 8, 1), num_components=16, encoder=encoder)
    >>> variables = prior.init(jax.random.key(0), jnp.zeros(2))
    >>> prior.apply(variables, jnp.zeros((5, 2)), method="log_prob").shape
    (5,)
    """

    shape: tuple[int, ...] | None = None
    """Shape of one example, (height, width, channels) for images. Left out, it is that of the model's decoder."""
    num_components: int = 500
    """Number of pseudo-inputs C."""
    learned_weights: bool = False
    """True learns the weights w_k. False fixes them to 1/C."""
    from_data: bool = False
    """True starts the pseudo-inputs at random examples, by `start_from`."""
    data_range: tuple[float, float] | None = None
    """Pseudo-inputs are clipped to this range. Left out, it is that of the decoder if finite, else that of the data that a model is made for, else (0, 1)."""
    encoder: nn.Module | None = None
    """q(z|x), a diagonal Gaussian. None uses `given.encode`, which a model sets to its own encoder."""

    def __post_init__(self) -> None:
        check_at_least_one(num_components=self.num_components)
        check_pseudo_inputs(self)
        super().__post_init__()

    @nn.nowrap
    def for_events(self, shape: tuple[int, ...], data_range: DataRange | None) -> Prior:
        return fit_pseudo_inputs(self, shape, data_range)

    @property
    def starts_from_data(self) -> bool:
        return self.from_data

    def setup(self) -> None:
        shape = (self.num_components, *known_shape(self))
        self.pseudo_inputs = self.param("pseudo_inputs", self._random_start, shape)
        self.logits = self.logits_of(self.num_components, learned=self.learned_weights)

    def components(self, given: Given = Given()) -> Components:
        low, high = known_range(self)
        mean, scale = encode(self, clip(self.pseudo_inputs, low, high), given)
        return Components(jax.nn.log_softmax(self.logits), mean, scale)

    def start_from(self, params: PyTree, x: Array, key: PRNGKey) -> PyTree:
        """Pseudo-inputs at random examples of x [N, *shape] if `from_data`; otherwise unchanged.

        Examples are drawn without replacement, or with it if x has fewer examples than components.

        Raises:
          UsageError: the examples have another shape.
        """
        check_examples(known_shape(self), x)
        if not self.from_data:
            return params
        replace = len(x) < self.num_components
        index = jax.random.choice(key, len(x), (self.num_components,), replace=replace)
        dtype = params["pseudo_inputs"].dtype
        return params | {"pseudo_inputs": jnp.asarray(x)[index].astype(dtype)}

    def _random_start(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        # Inside the range, or the clip would have no gradient; near the low end, which is the
        # background of most images.
        low, high = known_range(self)
        return jax.random.uniform(key, shape, minval=low, maxval=low + 0.1 * (high - low))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def clip(x: Array, low: float, high: float) -> Array:
    """x clipped to [low, high], with the gradient of projected descent on a loss (reverse mode only).

    >>> jax.grad(lambda x: -clip(x, 0.0, 1.0))(-0.5), jax.grad(lambda x: clip(x, 0.0, 1.0))(-0.5)
    (Array(-1., dtype=float32...), Array(0., dtype=float32...))
    """
    return jnp.clip(x, low, high)


def _clip_forward(x: Array, low: float, high: float) -> tuple[Array, Array]:
    return jnp.clip(x, low, high), x


def _clip_backward(low: float, high: float, x: Array, cotangent: Array) -> tuple[Array]:
    # The gradient of a plain clip (hardtanh, in Tomczak & Welling's code) is zero outside: a pixel
    # beyond a bound would never return. A gradient that always passes would drive the many background
    # pixels further and further out. So it passes only if descent leads back into the range.
    outwards = jnp.where(x <= low, cotangent > 0, (x >= high) & (cotangent < 0))
    return (jnp.where(outwards, jnp.zeros_like(cotangent), cotangent),)


clip.defvjp(_clip_forward, _clip_backward)


def encode(prior: Any, pseudo_inputs: Array, given: Given) -> tuple[Array, Array]:
    """Means and standard deviations of q(z|u_k), by the prior's own encoder or `given.encode`.

    [C, *shape] -> [C, D] each.
    """
    encoder = prior.encoder or given.encode
    if encoder is None:
        raise UsageError(
            f"{type(prior).__name__} has no encoder: set its field encoder, or pass "
            "Given(encode=encode)."
        )
    try:
        posterior = encoder(pseudo_inputs)
    except ScopeParamShapeError:
        raise UsageError(
            f"pseudo-inputs of shape {pseudo_inputs.shape[1:]} do not fit the encoder, which is made "
            "for other examples: set the prior's shape to that of one example."
        ) from None
    return gaussian_parts("encoder", posterior, pseudo_inputs, prior.latent_dim)


def check_examples(shape: tuple[int, ...], x: Array) -> None:
    """Raises one sentence if pseudo-inputs and examples x [N, ...] have different shapes."""
    if tuple(x.shape[1:]) != tuple(shape):
        raise UsageError(
            f"pseudo-inputs have the shape {tuple(shape)} and examples {tuple(x.shape[1:])}: set the "
            "prior's shape to that of one example."
        )


def check_pseudo_inputs(prior: Any) -> None:
    """Checks the settings of a prior with pseudo-inputs, and fits its encoder to their shape."""
    check_modules(prior)
    if prior.shape is not None:
        check_sizes(shape=prior.shape)
    if prior.data_range is not None:
        low, high = prior.data_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(
                f"data_range must be (low, high), finite and low < high, got {prior.data_range}."
            )
    if prior.encoder is None:
        return
    check_dim("encoder", prior.encoder, prior.latent_dim)
    if prior.shape is not None:
        encoder = for_events(prior.encoder, prior.shape)
        if encoder is not prior.encoder:
            prior.encoder = encoder


def fit_pseudo_inputs(prior: Any, shape: tuple[int, ...], data_range: DataRange | None) -> Any:
    """The prior with its shape and range, if they were left out; itself otherwise."""
    filled: dict[str, Any] = {}
    if prior.shape is None:
        filled["shape"] = tuple(shape)
    if prior.data_range is None and data_range is not None:
        filled["data_range"] = data_range
    return prior.clone(parent=None, **filled) if filled else prior


def known_shape(prior: Any) -> tuple[int, ...]:
    """The shape of the pseudo-inputs, or one sentence if it is unknown."""
    if prior.shape is None:
        raise UsageError(
            f"shape of {type(prior).__name__} is unknown: derive it from the data by model = "
            "model.for_data(x), or give the shape of one example, such as (28, 28, 1)."
        )
    return tuple(prior.shape)


def known_range(prior: Any) -> DataRange:
    """The range of the pseudo-inputs; (0, 1) if neither decoder nor data have given one."""
    return (0.0, 1.0) if prior.data_range is None else prior.data_range

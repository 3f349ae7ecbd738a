"""The log-likelihood log p(x) of models with few bits, exactly: a sum over all states of the latents."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import theory
from vaelab.checks import UndefinedError, check_at_least_one
from vaelab.evaluation.averages import mean_and_error
from vaelab.evaluation.batches import Progress, map_batches
from vaelab.evaluation.refined import split
from vaelab.evaluation.spreading import spread
from vaelab.evaluation.subject import Subject
from vaelab.models import Model
from vaelab.one_off import one_off
from vaelab.types import Array, Examples, PRNGKey


class ExactLogLikelihood(NamedTuple):
    """log p(x) without an estimate, and the ELBO and gap of q(z|x), nats."""

    mean: float  # of log p(x), over examples
    standard_error: float  # of that mean, over examples; NaN for a single example
    num_states: int  # of all levels together
    log_prob: np.ndarray  # [N], log p(x)
    elbo: np.ndarray  # [N]
    gap: np.ndarray  # [N], KL(q(z|x) ‖ p(z|x)), the difference of both


def exact_log_likelihood(
    subject: Subject, *, batch_size: int = 20, chunk_size: int = 64, progress: Progress = iter
) -> ExactLogLikelihood:
    """log Σ_z p(x, z) over all states of a model whose levels are all Bernoulli, and the exact ELBO.

    It takes time for each state and example. Memory grows with batch_size · chunk_size decoded states, and with a table of two
    numbers for each state and example of a batch. Numbers have the digits of float32.

    Args:
      batch_size: number of examples at once.
      chunk_size: number of states that are decoded at once, rounded down to a power of two.

    Raises:
      UsageError: there are more than `theory.MAX_LATENTS` bits, or batch_size or chunk_size is below 1.
      UndefinedError: a level is not Bernoulli, or the prior is estimated.

    >>> from vaelab import likelihoods, models, networks, priors
    >>> model = models.TopDownVAE(
    ...     units=(networks.BernoulliUnits(2), networks.BernoulliUnits(3)),
    ...     encoder=networks.AdditiveEncoder((networks.MLP((8,)), networks.MLP((8,)))),
    ...     lower_priors=networks.LowerPriors((networks.MLP((8,)),)),
    ...     decoder=likelihoods.BernoulliDecoder(networks.MLP((8,)), shape=(4,)),
    ...     prior=priors.BernoulliPrior(2),
    ... )
    >>> x, key = np.eye(4, dtype=np.float32), jax.random.key(0)
    >>> found = exact_log_likelihood(Subject(model, model.init(key, x, key)["params"], x))
    >>> found.num_states, bool(np.all(found.elbo <= found.log_prob))
    (32, True)
    """
    model = subject.model
    check_at_least_one(chunk_size=chunk_size)
    _check(model)
    states = theory.binary_states(sum(model.latent_dims))
    size = 2 ** (min(chunk_size, len(states)).bit_length() - 1)
    chunks = spread(states.reshape(-1, size, states.shape[1]))

    def of_batch(examples: Examples, key: PRNGKey) -> theory.ExactBound:
        del key
        return _exact_bound(model, subject.params, chunks, examples)

    found = map_batches(
        of_batch, subject.inputs, jax.random.key(0), batch_size=batch_size, progress=progress
    )
    mean, standard_error = mean_and_error(found.log_likelihood)
    return ExactLogLikelihood(mean, standard_error, len(states), *found)


def _check(model: Model) -> None:
    bits, name = model.bernoulli_levels, type(model).__name__
    for level in range(len(model.latent_dims)):
        if level not in bits:
            raise UndefinedError(
                f"level {level} of {name} is not Bernoulli, so its states cannot be enumerated: use "
                "evaluation.log_likelihood."
            )
    if not model.exact:
        raise UndefinedError(
            f"the prior of {name} is estimated from samples, so log p(x) is not exact: use "
            "evaluation.log_likelihood."
        )
    theory.check_enumerable(
        f"the number of bits of {name}, latent_dims = {model.latent_dims},", sum(model.latent_dims)
    )


@partial(one_off, static_argnums=0, level=1)
def _exact_bound(model, params, chunks, examples) -> theory.ExactBound:
    """Of a batch, [B] each. Chunks of states are [number, C, ΣD_l]."""
    x, context = examples.x, examples.context
    encoding = model.at(params).encode(x, context)

    def tables(states: Array) -> tuple[Array, Array]:
        """log p(x_b, z_s) and log q(z_s|x_b), [C, B]."""
        bound = model.at(params)
        shape = (len(states), len(x), states.shape[1])
        latents = split(jnp.broadcast_to(states[:, None], shape), model.latent_dims)
        log_px = bound.decode(latents, context).log_prob(x)
        log_joint = bound.log_prior(latents, context=context) + log_px
        return log_joint, bound.log_posterior(encoding, latents)

    log_joint, log_q = (table.reshape(-1, len(x)).T for table in jax.lax.map(tables, chunks))
    return theory.exact_bound(log_joint, log_q)

"""What the importance samples of log p(x) are drawn from."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from vaelab.models import Model
from vaelab.types import Array, Examples, PRNGKey


class Stratum(NamedTuple):
    """A fixed number of the samples, and where they come from."""

    num_samples: int
    log_weights: Callable[[Array, PRNGKey], Array]  # numbers [C] of samples, key -> [C, B], nats


class Proposal(abc.ABC):
    """A density r(z|x) to draw from. E Σ_k w_k / K = p(x), also if log p(z) is estimated without bias."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The proposal in a few words, for reports."""

    def check(self, model: Model) -> None:
        """Raises one sentence if the proposal has no meaning for a model.

        Raises:
          UndefinedError: the reason.
        """
        del model

    @abc.abstractmethod
    def strata(
        self, bind: Callable[[], Model], examples: Examples, key: PRNGKey, num_samples: int
    ) -> tuple[Stratum, ...]:
        """The parts of the `num_samples` samples of a batch of examples.

        `bind` gives the model with its parameters. Call it again in the body of a loop.
        """


@dataclasses.dataclass(frozen=True)
class Amortised(Proposal):
    """The model's own posterior q(z|x)."""

    @property
    def label(self) -> str:
        return "q(z|x)"

    def strata(
        self, bind: Callable[[], Model], examples: Examples, key: PRNGKey, num_samples: int
    ) -> tuple[Stratum, ...]:
        del key
        encoding = bind().encode(examples.x, examples.context)

        def log_weights(index: Array, key: PRNGKey) -> Array:
            return bind().terms(encoding, examples.x, key, len(index)).log_weights

        return (Stratum(num_samples, log_weights),)


AMORTISED = Amortised()

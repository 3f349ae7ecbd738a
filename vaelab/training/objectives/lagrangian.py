"""The Lagrangian of the rate under constraints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import jax.numpy as jnp

from vaelab import losses
from vaelab.checks import UsageError, check_at_least_one
from vaelab.constraints import Constraint
from vaelab.training.objectives.base import Objective, metrics, total_rate


@dataclasses.dataclass(frozen=True)
class Lagrangian(Objective):
    """Rate under constraints, E[rate] + Σ_j λ_j E[C_j]. Rezende & Viola, 2018."""

    constraints: dict[str, Constraint]
    """Constraints by name, or as pairs. Each constraint has a multiplier and a moving average."""
    num_samples: int = 1
    """Posterior samples per example."""
    closed_form: bool = True
    """True computes the rate in closed form if the prior has one. False estimates the rate from samples."""

    def __post_init__(self) -> None:
        check_at_least_one(num_samples=self.num_samples)
        object.__setattr__(self, "constraints", _by_name(self.constraints))
        if not self.constraints:
            raise UsageError("constraints must name at least one; without any, use ELBO.")

    @property
    def label(self):
        return "Lagrangian"

    def __call__(self, model, multipliers, examples, key, step):
        del step
        terms = model(examples.x, key, self.num_samples, context=examples.context)
        values = {
            name: constraint(examples, terms) for name, constraint in self.constraints.items()
        }
        rate = total_rate(terms, closed_form=self.closed_form)
        loss = jnp.mean(losses.lagrangian(rate, values, multipliers))
        means = {f"constraint/{name}": jnp.mean(value) for name, value in values.items()}
        return loss, metrics(loss, terms, examples) | means

    def describe(self, multipliers, step):
        weighted = " + ".join(f"{multipliers[name]:.4g} · {name}" for name in self.constraints)
        text = f"the Lagrangian rate + {weighted}"
        if [constraint.in_nats for constraint in self.constraints.values()] != [True]:
            return text
        (multiplier,) = multipliers.values()
        if abs(multiplier - 1.0) <= 1e-3:
            return text + ", at multiplier 1 the negative ELBO up to a constant"
        if multiplier < 1.0:
            return text + ", a scaled bound on the negative ELBO up to a constant (multiplier < 1)"
        return text + ", no bound on the negative log-likelihood (multiplier > 1)"


def _by_name(
    constraints: Mapping[str, Constraint] | Iterable[tuple[str, Constraint]],
) -> dict[str, Constraint]:
    given = constraints.items() if isinstance(constraints, Mapping) else constraints
    pairs = list(given) if isinstance(given, Iterable) else [given]
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Constraint)):
            shown = f"{pair[0]!r}: {pair[1]!r}" if isinstance(pair, tuple) else repr(pair)
            raise UsageError(
                'constraints must be a dict of constraints by name, such as {"re": RE(0.1)}, and '
                f"holds {shown}."
            )
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"{names.count(name)} constraints are called {name!r}: give each a name of its own."
            )
    return dict(pairs)

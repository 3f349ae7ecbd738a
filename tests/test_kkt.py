"""Residuals of the KKT conditions on a problem with a solution by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from vaelab import evaluation
from vaelab.evaluation import kkt
from vaelab.types import Terms

KEY = random.key(0)


class Quadratic:
    """rate = ½‖p − x‖² for each example, so E[rate] is minimal at the mean of the data. Without Flax."""

    def check_data(self, examples):
        assert examples.x.shape[1:] == (2,)

    def at(self, params):
        def terms(x, key, num_samples, context=None):
            del key, context
            rate = 0.5 * jnp.sum((params - x) ** 2, axis=-1)
            rate = jnp.broadcast_to(rate, (num_samples, len(x)))
            z = jnp.broadcast_to(params, (num_samples, len(x), 2))
            return Terms(jnp.zeros_like(rate), (rate,), (None,), (z,), None)

        return terms


def at_least_three(examples, terms):
    """3 − p_0 ≤ 0."""
    del examples
    return 3.0 - terms.latents[0][..., 0]


def at_most_nine(examples, terms):
    """p_1 − 9 ≤ 0, slack in all tests."""
    del examples
    return terms.latents[0][..., 1] - 9.0


CONSTRAINTS = {"three": at_least_three, "nine": at_most_nine}
SCALES = {"three": 2.0, "nine": 4.0}
X = np.tile(np.array([[1.0, 4.0], [3.0, 6.0]], np.float32), (10, 1))  # mean (2, 5)


def residuals(params, three, nine=0.0, x=X, batch_size=2):
    return evaluation.kkt_residuals(
        evaluation.Subject(Quadratic(), jnp.asarray(params), x), KEY,
        {"three": three, "nine": nine}, CONSTRAINTS, SCALES, batch_size=batch_size,
    )  # fmt: skip


def test_the_solution_has_no_residuals():
    result = residuals([3.0, 5.0], 1.0)  # p_0 at its bound, λ = 3 − 2
    assert result.stationarity == pytest.approx(0.0, abs=1e-6)
    assert result.constraints["three"] == (0.0, 0.0)
    assert result.constraints["nine"] == (0.0, 0.0)


def test_residuals_at_other_points_equal_those_by_hand():
    result = residuals([2.5, 8.0], 2.0, nine=0.5)
    # ∇ rate = (0.5, 3), ∇ three = (−1, 0), ∇ nine = (0, 1).
    lagrangian = np.hypot(0.5 - 2.0, 3.0 + 0.5)
    assert result.stationarity == pytest.approx(
        lagrangian / (np.hypot(0.5, 3.0) + 2.0 + 0.5), rel=1e-5
    )
    assert result.constraints["three"].violation == pytest.approx(0.25)  # (3 − 2.5) / 2
    assert result.constraints["three"].complementarity == 0.0
    assert result.constraints["nine"].violation == 0.0
    assert result.constraints["nine"].complementarity == pytest.approx(0.5 * 1.0 / 4.0)


def test_sampling_noise_does_not_count_as_a_gradient():
    """Eight data sets of 500 whose mean has an error of 1.3 in each coordinate."""
    x = np.asarray(random.normal(KEY, (4000, 2))) * 30 + np.array([3.0, 5.0])

    def at(params, three):
        results = [residuals(params, three, x=x[i::8], batch_size=20) for i in range(8)]
        return [result.stationarity for result in results]

    # The ratio of plain norms would be 1 for all data. None means that there is only noise.
    assert at([3.0, 5.0], 0.0).count(None) >= 7
    assert at([13.0, 5.0], 0.0) == [1.0] * 8  # the gradient of the rate is 10, without a constraint
    active = at([13.0, 5.0], 10.0)  # λ of three balances the gradient
    assert None not in active
    assert np.median(active) < 0.2


def test_inner_products_have_full_precision_whatever_the_default_is():
    """Gradients cancel at a KKT point. A CPU computes in float32 with any setting."""
    gradients = jnp.ones((3, 25))
    with jax.default_matmul_precision("bfloat16"):
        lowered = kkt._inner_products.lower([gradients, gradients]).as_text()
    (product,) = [line for line in lowered.splitlines() if "dot_general" in line]
    assert "precision = [HIGHEST, HIGHEST]" in product


def test_a_constraint_without_a_number_is_refused():
    subject = evaluation.Subject(Quadratic(), jnp.zeros(2), X)
    for given, field in (
        (({}, SCALES), "multipliers"),
        ((dict.fromkeys(SCALES, 1.0), {}), "scales"),
    ):
        multipliers, scales = given
        with pytest.raises(
            ValueError, match=f"{field} must hold a number for the constraint 'three'"
        ):
            evaluation.kkt_residuals(subject, KEY, multipliers, CONSTRAINTS, scales, batch_size=2)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        residuals([3.0, 5.0], 1.0, batch_size=0)


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="at least 2 · batch_size = 4 examples, got 3"):
        residuals([3.0, 5.0], 1.0, x=X[:3])


@pytest.mark.parametrize(
    ("averages", "multipliers", "infeasible", "best", "sentence"),
    [
        ([5.0, 2.0, 1.9], [1.0, 1e3, 1e8], True, 1.9, "infeasible: violated with λ at its limit"),
        ([5.0, 2.0, 1.9], [1.0, 2.0, 3.0], False, 1.9, "not met yet: λ was still rising"),
        ([5.0, 2.0, 1.9], [3.0, 3.0, 3.0], False, 1.9, "not met yet: λ rested"),
        ([5.0, -1.0, 0.1], [1.0, 2.0, 3.0], False, -1.0, "not met at the end"),
        ([5.0, -1.0, -0.1], [1.0, 1e8, 1e8], False, -1.0, "met"),
        ([9.0] * 8 + [-0.1, 0.1], [1.0] * 10, False, -0.1, "met: it moves around its bound"),
        ([9.0] * 6 + [-0.1, 0.1, 0.1, 0.1], [1.0] * 10, False, -0.1, "not met at the end"),
    ],
)
def test_feasibility_names_the_outcome_of_a_constraint(
    averages, multipliers, infeasible, best, sentence
):
    result = evaluation.feasibility(averages, multipliers, multiplier_limit=1e8)
    assert (result.infeasible, result.best) == (infeasible, best)
    assert result.met == sentence.startswith("met")
    assert result.sentence.startswith(sentence)


def test_a_run_that_logged_nothing_is_refused():
    with pytest.raises(ValueError, match="one length above 0, got 0 and 0"):
        evaluation.feasibility([], [], multiplier_limit=1e8)

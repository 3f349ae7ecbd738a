"""The plot of the stability of constraints: positions, and refusals."""

import numpy as np
import pytest

from vaelab.plotting import Settling
from vaelab.plotting import settling as plot_settling


def settling(label="RE ≤ 0.1", multipliers=((2.0, 8.0, 4.0), (1.0, 3.0, 1.0))):
    steps = [range(100, 100 * len(each) + 100, 100) for each in multipliers]
    return Settling(
        label, "RMSE per dimension", 0.1, steps, multipliers,
        points=[(0.1, 20.0), (0.11, 18.0)], reference=[(0.08, 60.0), (0.2, 5.0)],
    )  # fmt: skip


def test_multipliers_are_relative_to_their_last_value():
    axes = plot_settling([settling()]).axes[0]
    drawn = [line.get_ydata() for line in axes.get_lines()[:2]]
    np.testing.assert_allclose(drawn, [[0.5, 2, 1], [1, 3, 1]])
    assert axes.get_lines()[2].get_ydata() == [100.0, 100.0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[1] > 100


def test_each_constraint_has_a_panel_with_its_reference():
    figure = plot_settling([settling(), settling("CLA ≥ 0.8"), settling("pNCC ≥ 0.5")])
    assert [axes.get_title("left") for axes in figure.axes[1:]] == [
        "RE ≤ 0.1", "CLA ≥ 0.8", "pNCC ≥ 0.5"
    ]  # fmt: skip
    kappa, line, reference, points = figure.axes[2].get_lines()
    assert set(kappa.get_xdata()) == {0.1}
    np.testing.assert_allclose(line.get_xydata(), reference.get_xydata())
    np.testing.assert_allclose(reference.get_xydata(), [(0.08, 60.0), (0.2, 5.0)])
    np.testing.assert_allclose(points.get_xydata(), [(0.1, 20.0), (0.11, 18.0)])
    assert points.get_zorder() > reference.get_zorder()
    assert figure.axes[2].get_xlabel() == "RMSE per dimension"


def test_the_reference_may_be_interpolated():
    curve = [(0.08, 60.0), (0.12, 14.0), (0.2, 5.0)]
    _, line, reference, _ = plot_settling([settling()._replace(between=curve)]).axes[1].get_lines()
    np.testing.assert_allclose(line.get_xydata(), curve)
    assert len(reference.get_xydata()) == 2


@pytest.mark.parametrize(
    ("constraints", "sentence"),
    [
        ([], "constraints must be one to 8, got 0"),
        ([settling()] * 9, "constraints must be one to 8, got 9"),
        ([settling(multipliers=((1.0, 0.0),))], "multipliers of 'RE ≤ 0.1' must end above 0"),
        ([settling(multipliers=((),))], "multipliers of 'RE ≤ 0.1' must end above 0"),
    ],
)
def test_constraints_that_cannot_be_drawn_are_refused(constraints, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_settling(constraints)

"""The panels of priors show their densities: regions, holes, windows."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from scipy import stats

from vaelab import plotting
from vaelab.plotting.style import ROSE

EXTENT = (-5.0, 5.0, -5.0, 5.0)
X, Y = np.meshgrid(*[np.linspace(-5, 5, 201)] * 2)
NORMAL = stats.norm.logpdf(X) + stats.norm.logpdf(Y)


def panel(**changes):
    # q is high on the left, low on the right: holes are where z_1 > 0.5.
    default = plotting.Panel("prior", NORMAL, -X, -0.5, np.zeros((3, 2)), EXTENT)
    return default._replace(**changes)


def hole_area(figure):
    found = [
        contours
        for contours in figure.axes[0].collections
        if isinstance(contours, ContourSet)
        and [to_hex(colour).upper() for colour in contours.get_facecolor()] == [ROSE.upper()]
    ]
    if not found:
        return 0.0
    (contours,) = found
    area = 0.0
    for polygon in contours.get_paths()[0].to_polygons():
        x, y = polygon.T
        area += abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    return area


def test_holes_are_the_part_of_the_priors_95_percent_region_with_a_low_aggregated_posterior():
    for figure in (plotting.prior_densities([panel()]), plotting.prior_density(panel())):
        np.testing.assert_allclose(hole_area(figure), segment_beyond(0.5), rtol=0.02)
        figure.draw_without_rendering()


def segment_beyond(z_1):
    """The area of the 95 % disc of the normal distribution on the right of z_1."""
    radius = np.sqrt(stats.chi2(2).ppf(0.95))
    angle = np.arccos(z_1 / radius)
    return radius**2 * (angle - np.sin(angle) * np.cos(angle))


def test_a_panel_without_holes_has_no_red():
    assert hole_area(plotting.prior_densities([panel(hole_level=-100.0)])) == 0.0


def test_dots_show_the_points():
    points = np.random.default_rng(0).normal(size=(7, 2))
    axes = plotting.prior_densities([panel(points=points)]).axes[0]
    offsets = [c.get_offsets() for c in axes.collections if not isinstance(c, ContourSet)]
    np.testing.assert_array_equal(offsets[0], points)


@pytest.mark.parametrize(("half", "shared"), [(5.5, True), (20.0, False)])
def test_windows_are_shared_if_their_sizes_are_similar(half, shared):
    other = panel(extent=(-half, half, -half, half))
    first, second = plotting.prior_densities([panel(), other]).axes
    assert second.get_xlim() == (-half, half)
    assert first.get_xlim() == ((-half, half) if shared else EXTENT[:2])
    given = plotting.prior_densities([panel(), other], window=(-1, 2, -1, 2))
    assert [axes.get_xlim() + axes.get_ylim() for axes in given.axes] == [(-1, 2, -1, 2)] * 2


def test_every_prior_has_a_panel_and_the_caption_fits():
    panels = [panel(title=f"prior {i}") for i in range(7)]
    figure = plotting.prior_densities(panels, caption="Some words, and more. " * 80)
    assert [axes.get_title("left") for axes in figure.axes] == [p.title for p in panels]
    figure.draw_without_rendering()
    box = figure._supxlabel.get_window_extent()
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "at least one prior"),
        ([panel(log_aggregated=np.zeros((3, 3)))], "on one grid"),
        ([panel(points=np.zeros((3, 3)))], r"must be \[N, 2\]"),
        ([panel(log_prior=np.full(NORMAL.shape, np.nan))], "without NaN"),
    ],
)
def test_panels_that_do_not_fit_are_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        plotting.prior_densities(panels)

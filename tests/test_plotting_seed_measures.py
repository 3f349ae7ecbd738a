"""Plots of measures over seeds: means, standard errors, seeds, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy import stats

from vaelab import plotting
from vaelab.plotting import SeedMeasure
from vaelab.plotting.layout import COLOURS

VALUES = {"VHP": [[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]], "IWAE": [[2.0, np.nan, 3.0], [np.nan] * 3]}
MEASURE = SeedMeasure("jumps per path", VALUES, 0.5, "data")


def test_markers_are_means_and_lines_two_standard_errors():
    (axes,) = plotting.seed_measures([MEASURE], ["graph", "straight"], title="Motion").axes
    bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
    assert [bar.get_label() for bar in bars] == ["VHP", "IWAE"]
    finite = {
        "VHP": [[1, 2, 4], [3, 5, 7]],
        "IWAE": [[2, 3]],
    }  # the second group of the IWAE has none
    for bar, (name, rows), colour in zip(bars, finite.items(), COLOURS, strict=False):
        lines = bar[2][0].get_segments()
        for place, row in enumerate(rows):
            mean, error = np.mean(row), stats.sem(row)
            assert bar[0].get_ydata()[place] == pytest.approx(mean)
            np.testing.assert_allclose(lines[place][:, 1], [mean - 2 * error, mean + 2 * error])
        assert np.isnan(bar[0].get_ydata()[len(rows) :]).all()
        assert bar[0].get_color() == colour
        drawn = [
            line for line in axes.get_lines() if line.get_alpha() and line.get_color() == colour
        ]
        np.testing.assert_array_equal(drawn[0].get_ydata(), np.ravel(VALUES[name]))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["graph", "straight"]
    assert [text.get_text() for text in axes.texts] == ["data"]
    assert axes.get_title("left") == "Motion"
    assert axes.get_ylim()[0] == 0


def test_models_stand_in_their_groups_and_do_not_share_a_place():
    panels = plotting.seed_measures([MEASURE, MEASURE], ["graph", "straight"]).axes
    for axes in panels:
        places = np.concatenate([line.get_xdata() for line in axes.get_lines() if line.get_alpha()])
        assert set(np.rint(places)) == {0, 1}
        assert len(set(places)) == 4


def test_one_seed_is_one_marker_and_negative_values_are_shown():
    one = SeedMeasure("difference", {"VHP": [[-1.0]]})
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    assert plotting.seed_measures([one], ["all"], axes=[axes]) is figure
    (marker,) = axes.get_lines()
    np.testing.assert_array_equal(marker.get_ydata(), [-1])
    assert not axes.containers
    (entry,) = axes.get_legend().legend_handles
    assert (entry.get_label(), entry.get_marker()) == ("VHP", "o")
    assert axes.get_ylim()[0] < -1


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ([], "measures must hold at least one measure, got none"),
        ([SeedMeasure("a", {})], "one to 8 models, got 0"),
        ([MEASURE, SeedMeasure("b", {"VHP": VALUES["VHP"]})], "'b' must be of the models VHP, IWAE, got VHP"),
        ([SeedMeasure("a", {"VHP": [[1.0]]})], r"'a' of 'VHP' must be \[2, S\], a row for each group, got"),
        ([MEASURE._replace(values={"VHP": [1.0, 2.0]})], r"must be \[2, S\]"),
    ],
)  # fmt: skip
def test_measures_that_do_not_fit_are_refused(measures, sentence):
    with pytest.raises(ValueError, match=sentence):
        plotting.seed_measures(measures, ["graph", "straight"])

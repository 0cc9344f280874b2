"""The interquartile mean is exact for every number of values, and infinities are cut off like others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from landscape.comparison.statistics.location import STATISTICS, interquartile_mean, mean, median

INF, NAN = np.inf, np.nan
some_values = st.integers(1, 25).flatmap(lambda n: arrays(np.float64, (n,), elements=st.floats(-1e3, 1e3)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0], 1.5),  # weights 1/2 1/2
        ([1.0, 2.0, 6.0], 1 / 6 + 4 / 3 + 1.0),  # weights 1/6 2/3 1/6
        ([0.0, 2.0, 4.0, 100.0], 3.0),  # weights 0 1/2 1/2 0
        ([0.0, 10.0, 20.0, 40.0, 1000.0], 0.3 * 10 + 0.4 * 20 + 0.3 * 40),  # weights 0 .3 .4 .3 0
        ([0.0, 1.0, 2.0, 3.0, 6.0, 9.0], (0.5 * 1 + 2 + 3 + 0.5 * 6) / 3),  # weights 0 1/6 1/3 1/3 1/6 0
    ],
)
def test_the_interquartile_mean_computed_by_hand(values, expected):
    assert interquartile_mean(values) == pytest.approx(expected, rel=1e-14)
    assert interquartile_mean(values[::-1]) == pytest.approx(expected, rel=1e-14)


@given(some_values)
def test_it_is_the_trimmed_mean_of_the_values_repeated_four_times(values):
    """Each value four times: the quartiles then fall between values, and cutting a quarter off either end is exact."""
    expected = stats.trim_mean(np.repeat(values, 4), 0.25)
    assert interquartile_mean(values) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(some_values, st.floats(-10, 10), st.floats(0.1, 10))
def test_every_location_follows_shifts_and_scales_and_stays_in_the_range(values, shift, scale):
    for statistic in STATISTICS.values():
        middle = statistic(values)
        assert values.min() - 1e-9 <= middle <= values.max() + 1e-9
        assert statistic(shift + scale * values) == pytest.approx(shift + scale * middle, rel=1e-9, abs=1e-9)
        assert statistic(-values) == pytest.approx(-middle, abs=1e-9)


def test_rows_are_taken_one_by_one():
    table = np.array([[[3.0, 1.0, 2.0, 9.0], [1.0, 1.0, 1.0, INF]]])
    for statistic in STATISTICS.values():
        found = statistic(table)
        assert found.shape == (1, 2)
        assert found[0, 0] == statistic(table[0, 0]) and found[0, 1] == statistic(table[0, 1])


def test_infinities_are_the_largest_values():
    assert interquartile_mean([1.0, 3.0, 5.0, INF]) == 4.0
    assert interquartile_mean([-INF, 3.0, 5.0, INF]) == 4.0
    assert interquartile_mean([1.0, 3.0, INF]) == INF  # a sixth of the weight
    assert np.isnan(interquartile_mean([-INF, INF]))
    assert median([1.0, 3.0, INF]) == 3.0
    assert median([1.0, INF]) == INF
    assert np.isnan(median([-INF, INF]))
    assert mean([1.0, INF]) == INF and np.isnan(mean([-INF, INF]))


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS.keys())
def test_a_missing_value_is_not_cut_off(statistic):
    assert np.isnan(statistic([1.0, 2.0, 3.0, NAN]))
    np.testing.assert_array_equal(np.isnan(statistic([[1.0, 2.0, 3.0, NAN], [1.0, 2.0, 3.0, 4.0]])), [True, False])


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS.keys())
def test_no_values_are_refused(statistic):
    with pytest.raises(ValueError, match="values is empty"):
        statistic([])

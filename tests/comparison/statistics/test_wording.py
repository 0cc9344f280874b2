"""Numbers in sentences: no digit that misleads."""

from __future__ import annotations

import math

import pytest

from landscape.comparison.statistics.wording import change_text, counted, p_text


@pytest.mark.parametrize(
    ("p_value", "told"),
    [
        (1.0, "p = 1"),
        (0.31, "p = .31"),
        (0.02, "p = .02"),
        (0.03125, "p = .031"),
        (0.05, "p = .05"),
        (0.0503, "p = .0503"),
        (0.0498, "p = .0498"),
        (0.0005, "p < .001"),
        (0.0, "p < .001"),
        (math.nan, "p unknown"),
    ],
)
def test_a_p_value_is_told_so_that_its_side_of_5_percent_shows(p_value, told):
    assert p_text(p_value) == told


@pytest.mark.parametrize(
    ("ratio", "told"),
    [
        (-1.0, "better by 50 %"),
        (-13.0, "better by 99.98 %"),
        (-0.001, "better by 0.069 %"),
        (math.log2(1.3), "worse by 30 %"),
        (1.0, "worse by a factor of 2"),
        (math.log2(3.14), "worse by a factor of 3.1"),
        (10.0, "worse by a factor of 1024"),
        (100.0, "worse by a factor of 1e+30"),
        (0.0, "the same"),
        (math.inf, "worse without bound"),
        (-math.inf, "better without bound"),
    ],
)
def test_a_change_is_told_in_percent_or_as_a_factor(ratio, told):
    assert change_text(ratio) == told


def test_one_is_singular():
    assert (counted(1, "seed"), counted(0, "seed"), counted(2, "seed")) == ("1 seed", "0 seeds", "2 seeds")

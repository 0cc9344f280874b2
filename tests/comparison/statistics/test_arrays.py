"""Input that cannot be what a statistic needs is refused with what was given and what is needed."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.comparison.statistics.arrays import checked_count, checked_floor, checked_share, losses_of, numbers


@pytest.mark.parametrize(
    ("values", "ndim", "told"),
    [
        ([], None, "x is empty"),
        ([[], []], 2, r"x is empty \(shape \(2, 0\)\)"),
        (1.0, None, r"shape \(\); needed is an array with at least one axis"),
        ([1.0], 2, r"shape \(1,\); needed is an array with 2 axes"),
        ([[1.0]], 1, "needed is an array with 1 axis"),
        (["a"], 1, "real numbers"),
        ([[1.0, 2.0], [3.0]], 2, "rows of equal length"),
        ([1j], 1, "real numbers"),
    ],
)
def test_what_is_no_array_of_the_shape_needed_is_refused(values, ndim, told):
    with pytest.raises(ValueError, match=told):
        numbers(values, "x", ndim=ndim)


def test_integers_become_float64_and_nan_is_kept():
    assert numbers([1, 2], "x").dtype == np.float64
    assert np.isnan(numbers([np.nan], "x")[0])


def test_a_negative_loss_is_refused_and_zero_nan_and_infinity_are_not():
    assert losses_of([0.0, np.nan, np.inf], "x").shape == (3,)
    for low in (-0.5, -np.inf):
        with pytest.raises(ValueError, match="needed are losses of at least 0"):
            losses_of([1.0, np.nan, low], "x")


@pytest.mark.parametrize("floor", [-1.0, np.inf, np.nan])
def test_a_floor_is_finite_and_not_negative(floor):
    with pytest.raises(ValueError, match="floor="):
        checked_floor(floor)


@pytest.mark.parametrize("value", [0.0, 1.0, 95.0, np.nan])
def test_a_level_is_between_0_and_1(value):
    with pytest.raises(ValueError, match=r"level=.*such as 0.95"):
        checked_share(value, "level")


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(ValueError, match="num_resamples="):
        checked_count(value, "num_resamples")

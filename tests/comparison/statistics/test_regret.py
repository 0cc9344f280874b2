"""Regrets on results written by hand, and the identities that tie regret and log ratio together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landscape.comparison.statistics.regret import best_of, log_ratio, relative_regret

INF, NAN = np.inf, np.nan

some_losses = arrays(np.float64, (4, 3), elements=st.one_of(st.floats(1e-6, 1e6), st.sampled_from([0.0, INF, NAN])))
positive = arrays(np.float64, (5,), elements=st.floats(1e-6, 1e6))


def test_the_best_of_a_grid_on_a_result_written_by_hand():
    grid = [
        [4.0, INF, NAN, NAN, 2.0],
        [2.0, INF, INF, NAN, NAN],
        [2.0, 3.0, NAN, NAN, 1.0],
    ]
    best = best_of(grid)
    np.testing.assert_array_equal(best.losses, [2.0, 3.0, INF, NAN, 1.0])
    # The first of two equal points; not a missing point where all others diverged; none where none is known.
    np.testing.assert_array_equal(best.indices, [1, 2, 1, -1, 2])
    np.testing.assert_array_equal(best.num_missing, [0, 0, 2, 3, 1])


@given(some_losses)
def test_the_index_points_at_the_best_loss_and_none_is_lower(grid):
    best = best_of(grid)
    for seed, (loss, index, missing) in enumerate(zip(best.losses, best.indices, best.num_missing, strict=True)):
        column = grid[:, seed]
        assert missing == np.isnan(column).sum()
        assert (index == -1) == (missing == len(column)) == np.isnan(loss)
        if index >= 0:
            assert column[index] == loss
            assert not (column < loss).any()


def test_relative_regret_on_a_result_written_by_hand():
    losses = [[3.0, 1.0, INF, INF, 5.0, NAN, 1.0, 0.0, 0.5], [2.0, 2.0, 1.0, 2.0, INF, 1.0, NAN, 1.0, 0.0]]
    best = [2.0, 2.0, 1.0, INF, INF, 1.0, 1.0, 0.0, 0.0]
    expected = [[0.5, -0.5, INF, 0.0, -1.0, NAN, 0.0, 0.0, INF], [0.0, 0.0, 0.0, -1.0, 0.0, 0.0, NAN, INF, 0.0]]
    np.testing.assert_array_equal(relative_regret(losses, best), expected)
    assert np.isnan(relative_regret([1.0], [NAN])[0])


def test_below_the_floor_losses_are_equal():
    np.testing.assert_array_equal(relative_regret([1e-9, 0.02, 0.0], [1e-12, 0.001, 0.0], floor=0.01), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(log_ratio([1e-9, 0.02, 0.0], [1e-12, 0.001, 0.0], floor=0.01), [0.0, 1.0, 0.0])


def test_a_small_regret_keeps_its_digits():
    assert relative_regret([1.0 + 2.0**-50], [1.0])[0] == 2.0**-50


def test_log_ratio_on_a_result_written_by_hand():
    losses = [1.0, 8.0, INF, 1.0, INF, 0.0, 0.0, 1.0, NAN]
    baseline = [2.0, 2.0, 1.0, INF, INF, 0.0, 1.0, 0.0, 1.0]
    np.testing.assert_array_equal(log_ratio(losses, baseline), [-1.0, 2.0, INF, -INF, 0.0, 0.0, -INF, INF, NAN])


def test_a_small_log_ratio_keeps_its_digits():
    """log2(1 + x) is x / ln 2 for a small x."""
    assert log_ratio([1.0 + 2.0**-50], [1.0])[0] == pytest.approx(2.0**-50 / math.log(2), rel=1e-12)
    assert log_ratio([1e-6], [math.nextafter(1e-6, 1.0)])[0] < 0


def test_a_ratio_too_large_for_a_float_has_a_logarithm():
    assert log_ratio([2.0**1000], [2.0**-1000])[0] == 2000.0


@given(some_losses)
def test_no_point_of_the_grid_beats_its_own_best(grid):
    regret = relative_regret(grid, best_of(grid).losses)
    assert not (regret < 0).any()
    for seed, index in enumerate(best_of(grid).indices):
        assert index == -1 or regret[index, seed] == 0
    np.testing.assert_array_equal(np.isnan(regret), np.isnan(grid))


@given(some_losses, some_losses)
def test_regret_and_log_ratio_have_one_sign_and_log_ratio_is_antisymmetric(losses, baseline):
    ratio, regret = log_ratio(losses, baseline), relative_regret(losses, baseline)
    np.testing.assert_array_equal(np.sign(ratio), np.sign(regret))
    np.testing.assert_array_equal(ratio, -log_ratio(baseline, losses))
    finite = np.isfinite(regret) & np.isfinite(ratio)
    np.testing.assert_allclose(2.0 ** ratio[finite] - 1.0, regret[finite], rtol=1e-9, atol=1e-12)


@given(positive, positive, st.integers(-20, 20))
def test_the_unit_of_the_loss_does_not_matter(losses, best, power):
    scale = 2.0**power
    np.testing.assert_array_equal(relative_regret(scale * losses, scale * best), relative_regret(losses, best))
    np.testing.assert_allclose(log_ratio(scale * losses, scale * best), log_ratio(losses, best), atol=1e-12)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"losses has shape \(2, 3\) and best \(2,\)"):
        relative_regret(np.ones((2, 3)), [1.0, 1.0])
    with pytest.raises(ValueError, match="baseline holds -1"):
        log_ratio([1.0], [-1.0])
    with pytest.raises(ValueError, match="grid_losses has shape"):
        best_of([1.0, 2.0])

"""Performance profiles on results written by hand, and what every profile has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landscape.comparison.statistics.profiles import performance_profile

INF, NAN = np.inf, np.nan
TAUS = [1.0, 1.5, 2.0, 10.0, INF]
some_losses = arrays(np.float64, (3, 6), elements=st.one_of(st.floats(1e-3, 1e3), st.sampled_from([0.0, INF, NAN])))


def profile_of(table, taus=TAUS, floor=0.0):
    return performance_profile(dict(zip("abc", table, strict=False)), taus, floor)


def test_a_profile_counted_by_hand():
    found = performance_profile({"cg": [1.0, 2.0, INF, 6.0], "adam": [2.0, 1.0, 5.0, 4.0]}, taus=[1.0, 1.5, 2.0])
    np.testing.assert_array_equal(found.share("cg"), [0.25, 0.5, 0.75])  # ratios 1, 2, inf, 1.5
    np.testing.assert_array_equal(found.share("adam"), [0.75, 0.75, 1.0])  # ratios 2, 1, 1, 1
    assert found.names == ("cg", "adam") and found.num_problems == 4 and found.num_missing == 0
    assert str(found) == (
        "4 problems; within a factor 1 of the best: cg on 25 %, adam on 75 %; "
        "within a factor 2 of the best: cg on 75 %, adam on 100 %"
    )


def test_what_diverged_is_solved_at_no_tau_even_where_all_diverged():
    found = performance_profile({"a": [INF, 1.0], "b": [INF, INF]}, taus=[1.0, INF])
    np.testing.assert_array_equal(found.shares, [[0.5, 0.5], [0.0, 0.0]])


def test_a_problem_with_a_missing_loss_is_left_out_for_all_and_counted():
    found = performance_profile({"a": [1.0, NAN, 1.0], "b": [2.0, 1.0, 1.0]}, taus=[1.0])
    np.testing.assert_array_equal(found.shares, [[1.0], [0.5]])
    assert (found.num_problems, found.num_missing) == (2, 1)
    assert str(found).startswith("2 problems (1 more left out: a loss is missing); ")
    none = performance_profile({"a": [NAN]}, taus=[1.0, 2.0])
    assert np.isnan(none.shares).all() and str(none).endswith("so there are no shares")


def test_zero_and_floor():
    np.testing.assert_array_equal(performance_profile({"a": [0.0], "b": [1e-9]}, [1.0, 1e6]).shares, [[1, 1], [0, 0]])
    np.testing.assert_array_equal(
        performance_profile({"a": [0.0], "b": [1e-9]}, [1.0, 1e6], floor=1e-6).shares, [[1, 1], [1, 1]]
    )


@given(some_losses)
def test_profiles_rise_to_the_share_that_is_solved_and_somebody_is_best(table):
    found = profile_of(table)
    known = ~np.isnan(table).any(axis=0)
    assert found.num_problems == known.sum()
    if not known.any():
        return
    assert (np.diff(found.shares, axis=1) >= 0).all()
    np.testing.assert_array_equal(found.shares[:, -1], np.isfinite(table[:, known]).mean(axis=1))
    assert found.shares[:, 0].sum() >= np.isfinite(table[:, known]).any(axis=0).mean() - 1e-12


@given(some_losses, st.permutations(range(6)), st.integers(-8, 8))
def test_neither_the_order_of_problems_nor_their_units_matter(table, order, power):
    units = 2.0 ** (power * np.arange(6))
    np.testing.assert_array_equal(profile_of((units * table)[:, list(order)]).shares, profile_of(table).shares)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="losses is empty"):
        performance_profile({}, [1.0])
    with pytest.raises(ValueError, match=r"the lengths differ \(a 1, b 2\)"):
        performance_profile({"a": [1.0], "b": [1.0, 2.0]}, [1.0])
    for bad in (0.5, NAN):
        with pytest.raises(ValueError, match="needed are factors of the best loss"):
            performance_profile({"a": [1.0]}, [1.0, bad])
    with pytest.raises(ValueError, match=r"losses\['a'\] holds -1"):
        performance_profile({"a": [-1.0]}, [1.0])
    with pytest.raises(KeyError, match="no profile of 'b'; there are 'a'"):
        performance_profile({"a": [1.0]}, [1.0]).share("b")

"""Spearman's coefficient against published values and SciPy; within groups, what groups hide is seen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.comparison.statistics.correlation import rank_correlation

INF, NAN = math.inf, math.nan


def test_without_ties_it_is_spearmans_formula():
    """1 - 6 sum d^2 / n (n^2 - 1) with rank differences 1, -1, 2, -1, -1: sum d^2 = 8, n = 5."""
    found = rank_correlation([10, 20, 30, 40, 50], [2, 1, 5, 3, 4])
    differences = np.array([1, 2, 3, 4, 5]) - np.array([2, 1, 5, 3, 4])
    assert (differences**2).sum() == 8
    assert found.coefficient == pytest.approx(1 - 6 * 8 / (5 * 24), rel=1e-14)
    assert (found.n, found.num_groups, found.num_missing) == (5, 1, 0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_with_ties_it_agrees_with_scipy(pairs):
    signal, benefit = np.array(pairs, dtype=float).T
    found = rank_correlation(signal, benefit, num_permutations=20)
    if len(set(signal)) == 1 or len(set(benefit)) == 1:
        assert math.isnan(found.coefficient) and math.isnan(found.p_value)
    else:
        assert found.coefficient == pytest.approx(stats.spearmanr(signal, benefit).statistic, abs=1e-12)


def test_the_p_value_is_the_share_of_permutations():
    signal, benefit = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 3.0, 3.0, 5.0]
    observed = abs(stats.spearmanr(signal, benefit).statistic)
    exact = np.mean(
        [
            abs(stats.spearmanr(signal, chosen).statistic) >= observed - 1e-9
            for chosen in itertools.permutations(benefit)
        ]
    )
    found = rank_correlation(signal, benefit)
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert found == rank_correlation(signal, benefit)


def test_a_relation_within_seeds_is_seen_through_differences_between_seeds():
    """In each seed the benefit rises with the signal; seeds with a higher signal have a lower benefit."""
    signal = [0, 1, 2, 10, 11, 12, 20, 21, 22]
    benefit = [20, 21, 22, 10, 11, 12, 0, 1, 2]
    seeds = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    pooled, within = rank_correlation(signal, benefit), rank_correlation(signal, benefit, seeds)
    assert pooled.coefficient < -0.5
    assert within.coefficient == 1.0 and within.num_groups == 3
    # 6^3 orders within groups, of which two give 1 or -1 in all three
    assert within.p_value == pytest.approx(2 / 216, abs=4 * math.sqrt(2 / 216 / 9999))
    assert str(within) == f"rank correlation +1.00 within 3 groups (p = {within.p_value:.2g}, 9 pairs)".replace(
        "0.", ".", 1
    )


def test_pooled_ranks_computed_by_hand():
    """Centred ranks -1 0 1 and -1/2 1/2 against 0 1 -1 and 1/2 -1/2: products -1 - 1/2 over sums of squares 2.5."""
    found = rank_correlation([1, 2, 3, 1, 2], [5, 9, 1, 7, 3], groups=["a", "a", "a", "b", "b"])
    assert found.coefficient == pytest.approx(-1.5 / 2.5, rel=1e-14)


def test_seed_effects_alone_are_not_called_significant():
    """Two independent series with a common effect of the seed: p <= .05 in 5 % of trials, within 4 standard errors."""
    rng = np.random.default_rng(0)
    trials, seeds = 400, np.repeat(np.arange(4), 6)
    found = 0
    for trial in range(trials):
        common = 5 * rng.standard_normal(4)[seeds]
        signal, benefit = common + rng.standard_normal((2, 24))
        found += rank_correlation(signal, benefit, seeds, num_permutations=199, seed=trial).p_value <= 0.05
    assert abs(found / trials - 0.05) <= 4 * math.sqrt(0.05 * 0.95 / trials)


@given(st.permutations(range(8)), st.permutations(range(8)))
def test_increasing_maps_change_nothing_and_decreasing_ones_the_sign(signal, benefit):
    groups = [0, 1] * 4
    one = rank_correlation(signal, benefit, groups, num_permutations=20)
    curved = rank_correlation(np.exp(signal), benefit, groups, num_permutations=20)
    flipped = rank_correlation(signal, -np.array(benefit), groups, num_permutations=20)
    swapped = rank_correlation(benefit, signal, groups, num_permutations=20)
    assert curved == one
    assert flipped.coefficient == pytest.approx(-one.coefficient, abs=1e-12)
    assert swapped.coefficient == pytest.approx(one.coefficient, abs=1e-12)


def test_missing_pairs_are_left_out_and_told_and_infinite_ones_are_ranked():
    found = rank_correlation([1.0, NAN, 2.0, 3.0, INF], [1.0, 2.0, 3.0, NAN, INF])
    assert (found.n, found.num_missing) == (3, 2) and found.coefficient == 1.0
    assert "3 pairs, 2 missing" in str(found)
    nothing = rank_correlation([NAN, 1.0], [1.0, NAN], groups=[0, 1])
    assert math.isnan(nothing.coefficient) and (nothing.n, nothing.num_groups) == (0, 0)
    assert str(nothing) == "no rank correlation: it takes two pairs (0 pairs, 2 missing)"


def test_what_does_not_vary_has_no_rank_correlation():
    assert str(rank_correlation([1, 2, 3], [4, 4, 4])) == "no rank correlation: one of the two does not vary (3 pairs)"
    assert math.isnan(rank_correlation([1, 2, 3], [4, 5, 6], groups=[0, 1, 2]).coefficient)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"the lengths differ \(signal 2, benefit 3\)"):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"groups has shape \(1,\), and there are 2 pairs"):
        rank_correlation([1, 2], [1, 2], groups=[0])
    with pytest.raises(ValueError, match="signal is empty"):
        rank_correlation([], [])

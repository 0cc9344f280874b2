"""The sign-flip test against Fisher's own count, against SciPy, and against what it promises."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.comparison.statistics.paired import PairedTest, paired_test

INF, NAN = math.inf, math.nan
#: Darwin's cross- and self-fertilised maize, differences in eighths of an inch (Fisher 1935, section 21).
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
some_values = st.lists(st.integers(-20, 20), min_size=1, max_size=9)


def test_fishers_count_on_darwins_maize():
    """1726 of the 32768 patterns of signs give a sum of 314 or more in size."""
    assert paired_test(DARWIN).p_value == 1726 / 32768


@given(some_values)
def test_the_p_value_is_the_share_of_sign_patterns_counted_in_whole_numbers(values):
    sums = [abs(sum(s * x for s, x in zip(signs, values, strict=True))) for signs in signs_of(len(values))]
    expected = sum(one >= abs(sum(values)) for one in sums) / len(sums)
    # Tenths are no binary fractions: patterns that tie in exact arithmetic must still tie.
    for scale in (1.0, 0.1, 1e-300, 1e300):
        assert paired_test([scale * x for x in values]).p_value == pytest.approx(expected, rel=1e-12)


def signs_of(n):
    return list(itertools.product([-1, 1], repeat=n))


def test_over_all_sign_patterns_no_level_is_exceeded():
    """The test is exact: under exchangeable signs, P(p <= a) <= a for every a, with equality at the attainable ones."""
    sizes = np.array([0.3, 1.1, 0.7, 2.9, 1.3, 0.2, 3.7, 1.9])
    p_values = np.sort([paired_test(sizes * np.array(signs)).p_value for signs in signs_of(8)])
    for p in np.unique(p_values):
        assert (p_values <= p).mean() == p
    assert p_values[0] == paired_test(sizes).least_p == 2 / 2**8


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_swapping_the_arms_changes_the_sign_only(values):
    one, other = paired_test(values), paired_test([-value for value in values])
    assert one.p_value == pytest.approx(other.p_value, rel=1e-12)
    assert one.effect == pytest.approx(-other.effect, abs=1e-12)
    assert one.least_p - 1e-12 <= one.p_value <= 1.0


def test_random_patterns_agree_with_the_list(monkeypatch):
    exact = paired_test(DARWIN).p_value
    monkeypatch.setattr("landscape.comparison.statistics.paired.LISTED_UP_TO", 0)
    drawn = paired_test(DARWIN, seed=1)
    assert drawn.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 99_999))
    assert drawn == paired_test(DARWIN, seed=1)
    assert paired_test([1.0] * 40, num_resamples=99).p_value == 1 / 100  # never 0


def test_ties_change_nothing_and_all_ties_are_no_difference():
    values = [-0.3, -0.1, -0.4, 0.05, -0.2, -0.6]
    tied = paired_test([*values, 0.0, 0.0])
    assert tied.p_value == paired_test(values).p_value and tied.num_ties == 2 and tied.n == 8
    none = paired_test([0.0] * 8)
    assert none.p_value == 1.0 and none.seeds_needed() is None
    assert str(none) == "no difference: all 8 seeds give the same loss"
    few = paired_test([0.0, 0.0, 0.0, -0.1, -0.2, -0.1, -0.3])
    assert "3 seeds of 7 give the same loss, and the other 4 cannot show one" in str(few)


def test_a_missing_pair_is_left_out_counted_and_told():
    found = paired_test([-0.2, NAN, -0.3, -0.25, -0.2, -0.1, -0.4])
    assert (found.n, found.num_missing) == (6, 1)
    assert str(found).endswith("; 1 of 7 pairs missing")
    nothing = paired_test([NAN, NAN])
    assert math.isnan(nothing.p_value) and nothing.seeds_needed() is None
    assert str(nothing) == "nothing can be said: no pair of losses is known; 2 of 2 pairs missing"


def test_with_an_infinite_log_ratio_it_is_the_exact_signed_rank_test():
    values = [-0.5, 1.5, -2.0, -0.7, -3.1, -0.9, 0.4, -1.2]
    found = paired_test([*values, -INF])
    assert found.method == "signed ranks" and paired_test(values).method == "sign flips"
    assert found.p_value == pytest.approx(stats.wilcoxon([*values, -1e6], method="exact").pvalue, rel=1e-12)
    assert math.isfinite(found.effect) and found.mean == -INF


def test_infinite_ties_share_a_rank_and_opposite_ones_cancel():
    """Two of each sign, all of one rank: 6 of the 16 patterns sum to 0, so all are at least as far."""
    found = paired_test([INF, -INF, INF, -INF])
    assert found.p_value == 1.0 and math.isnan(found.mean) and found.seeds_needed() is None
    all_better = paired_test([-INF] * 7)
    assert all_better.p_value == 2 / 2**7 and str(all_better) == "better without bound (p = .016)"


def test_zeros_are_ranked_and_not_counted_beside_an_infinite_one():
    """Pratt: |0|, 1, 2, 3, inf have the ranks 1 to 5, and the rank 1 of the zero is dropped."""
    ranks = np.array([-2, -3, 4, -5])
    sums = np.array([np.array(signs) @ ranks for signs in signs_of(4)])
    expected = (np.abs(sums) >= abs(ranks.sum())).mean()
    assert paired_test([0.0, -1.0, -2.0, 3.0, -INF]).p_value == expected


@pytest.mark.parametrize(
    ("size", "power", "alpha", "needed"),
    [
        # statsmodels 0.15.0: ceil(TTestPower().solve_power(effect_size=size, power=power, alpha=alpha))
        (0.5, 0.8, 0.05, 34),
        (1.2, 0.8, 0.05, 8),
        (0.2, 0.9, 0.01, 376),
        (0.8, 0.95, 0.05, 23),
    ],
)
def test_the_seeds_needed_agree_with_statsmodels(size, power, alpha, needed):
    test = of_size(size)
    assert test.seeds_needed(power=power, alpha=alpha) == needed
    assert of_size(-size).seeds_needed(power=power, alpha=alpha) == needed


def of_size(size: float, n: int = 10) -> PairedTest:
    """Values with this mean over standard deviation."""
    values = np.linspace(-1, 1, n)
    found = paired_test(values / values.std(ddof=1) + size)
    assert found.standardised == pytest.approx(size)
    return found


def test_seeds_needed_are_enough_to_reject_at_all_and_grow_as_the_difference_shrinks():
    same = paired_test([-0.3] * 4)
    assert same.standardised == -INF
    assert [same.seeds_needed(alpha=alpha) for alpha in (0.05, 0.01, 0.001)] == [6, 8, 11]
    numbers = [of_size(size).seeds_needed() for size in (10.0, 2.0, 1.0, 0.3, 0.01, 1e-4)]
    assert numbers == sorted(numbers) and numbers[0] == 6
    # ((1.96 + 0.84) / d)^2, to which the t-test comes for many seeds
    assert numbers[-1] == pytest.approx(7.849e8, rel=1e-3) and numbers[-2] == pytest.approx(78490, rel=1e-3)
    assert paired_test([0.1, -0.1, 0.3, -0.3, 0.2, -0.2]).seeds_needed() is None
    assert paired_test([0.4]).seeds_needed() is None


@settings(deadline=None)
@given(st.integers(3, 6))
def test_the_power_at_the_seeds_needed_is_what_was_asked_for(tenths):
    """The t-test's power, simulated: 2000 samples at the number told, within 4 standard errors of 80 % and no lower."""
    size = tenths / 10 + 0.2
    n = of_size(size).seeds_needed()
    sample = np.random.default_rng(tenths).standard_normal((2000, n)) + size
    power = (stats.ttest_1samp(sample, 0.0, axis=1).pvalue <= 0.05).mean()
    assert 0.8 - 4 * math.sqrt(0.16 / 2000) <= power <= 0.9


def test_the_sentences():
    assert str(paired_test([-0.4, -0.3, -0.5, -0.2, -0.4, -0.45])) == "better by 23 % (p = .031)"
    assert str(paired_test([0.4, 0.3, 0.5, 0.2, 0.4, 0.45])) == "worse by 30 % (p = .031)"
    assert str(paired_test([2.0, 1.0, 3.0, 2.0, 2.0, 2.0, 2.0])) == "worse by a factor of 4 (p = .016)"
    for n, verb in ((1, "seed cannot show a difference at the 5 % level whatever it gives"), (5, "whatever they give")):
        told = str(paired_test([-1.0] * n))
        assert verb in told and told.endswith("; at least 6 are needed")
    unsure = paired_test([-0.1, 0.2, -0.3, -0.4, 0.1, -0.2, -0.35])
    assert str(unsure) == (
        f"no difference found (p = .17; about {unsure.seeds_needed()} seeds would be needed to find a difference of this size)"
    )
    assert "more than 1000 seeds" in str(paired_test([0.01, -0.0101, 0.3, -0.299, 0.1, -0.1]))
    assert "the seeds even out" in str(paired_test([0.1, -0.1, 0.3, -0.3, 0.2, -0.2]))


def test_an_adjusted_p_value_changes_the_sentence():
    found = paired_test([-0.4, -0.3, -0.5, -0.2, -0.4, -0.45])
    assert str(dataclasses.replace(found, p_value=0.094)).startswith("no difference found (p = .094; ")


def test_one_diverged_seed_does_not_turn_the_words_against_the_sign_of_the_test():
    found = paired_test([-0.5, -0.4, -0.6, -0.3, -0.7, -0.5, -0.2, -0.45, -0.35, INF])
    assert found.mean == INF and found.effect < 0
    assert found.p_value > 0.05 and "no difference found" in str(found)


def test_where_the_size_is_unknown_the_sentence_tells_the_direction():
    """Ranks -4 -4 -4 +4 +4 -1: 44 of the 64 patterns sum to 5 or more in size, and the middle half has both infinities."""
    found = paired_test([-INF, -INF, -INF, INF, INF, -1.0], alpha=0.7)
    assert math.isnan(found.effect) and found.p_value == 44 / 64
    assert str(found) == "better on most seeds (p = .69)"


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="log_ratios is empty"):
        paired_test([])
    with pytest.raises(ValueError, match="alpha=5"):
        paired_test([0.1], alpha=5)
    with pytest.raises(ValueError, match="power=80"):
        paired_test([0.1, 0.2]).seeds_needed(power=80)

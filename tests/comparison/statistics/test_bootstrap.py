"""The interval holds the true value as often as is known by theory, and survives what seeds do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.comparison.statistics.bootstrap import Interval, bootstrap_interval
from landscape.comparison.statistics.location import STATISTICS

INF, NAN = math.inf, math.nan
TRIALS = 1000


def band(share: float) -> tuple[float, float]:
    """Where an observed share of TRIALS lies if the true one is ``share``, but for a chance of 6e-5 (4 standard errors)."""
    error = 4 * math.sqrt(share * (1 - share) / TRIALS)
    return share - error, share + error


def coverage(draw, n: int, statistic: str, truth: float, **options) -> float:
    rng = np.random.default_rng(0)
    found = [bootstrap_interval(draw(rng, n), statistic, num_resamples=1000, seed=t, **options) for t in range(TRIALS)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def normal(rng, n):
    return rng.standard_normal(n)


def lognormal(rng, n):
    return rng.lognormal(size=n)


@pytest.mark.parametrize(("n", "theory"), [(3, 0.75), (5, 0.9375)])
def test_of_so_few_values_the_median_is_covered_as_often_as_the_range_covers_it(n, theory):
    """The interval is the whole range, beyond which the median lies with probability 2 / 2^n whatever the distribution."""
    low, high = band(theory)
    assert low <= coverage(lognormal, n, "median", 1.0) <= high
    assert Interval(0.0, -1.0, 1.0, 0.95, n).attainable_level == theory


@pytest.mark.parametrize(("n", "level"), [(10, 0.95), (20, 0.95), (10, 0.8)])
def test_the_mean_of_normal_values_is_covered_at_the_level(n, level):
    low, high = band(level)
    assert low <= coverage(normal, n, "mean", 0.0, level=level) <= high


def test_the_plain_percentile_interval_would_fail_this_test():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((TRIALS, 10))[:, rng.integers(10, size=(500, 10))].mean(axis=-1)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert ((low <= 0) & (high >= 0)).mean() < band(0.95)[0]


@pytest.mark.parametrize("statistic", ["iqm", "median"])
def test_the_middle_of_ten_skewed_values_is_covered_no_less_than_the_level(statistic):
    # The mean of the middle half of a log-normal distribution, int exp(z) phi(z) dz between the quartiles, doubled.
    quartile = stats.norm.ppf(0.75)
    between = stats.norm.cdf(quartile - 1) - stats.norm.cdf(-quartile - 1)
    truth = {"iqm": 2 * math.exp(0.5) * between, "median": 1.0}[statistic]
    assert coverage(lognormal, 10, statistic, truth) >= band(0.95)[0]


def test_all_resamples_of_three_values_are_listed_with_their_probabilities():
    """The ends are two of the 27 ordered means, as far from either end as the tail says."""
    values = np.array([0.0, 1.0, 5.0])
    means = np.sort([np.mean(chosen) for chosen in itertools.product(values, repeat=3)])
    level = 0.5
    tail = stats.norm.sf(math.sqrt(3 / 2) * stats.t.isf((1 - level) / 2, 2))
    first = math.ceil(27 * tail) - 1
    found = bootstrap_interval(values, "mean", level=level)
    assert (found.low, found.high) == (pytest.approx(means[first]), pytest.approx(means[26 - first]))


def test_listing_and_drawing_agree(monkeypatch):
    values = np.random.default_rng(3).standard_normal(8)
    listed = bootstrap_interval(values, "mean")
    monkeypatch.setattr("landscape.comparison.statistics.bootstrap.LISTED_UP_TO", 0)
    drawn = bootstrap_interval(values, "mean", num_resamples=100_000)
    spread = listed.high - listed.low
    assert drawn.low == pytest.approx(listed.low, abs=0.02 * spread)
    assert drawn.high == pytest.approx(listed.high, abs=0.02 * spread)


def test_the_same_seed_gives_the_same_interval_and_another_hardly_another():
    values = np.random.default_rng(1).standard_normal(12)
    one, same, other = (bootstrap_interval(values, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert one.low == pytest.approx(other.low, abs=0.2)


@settings(max_examples=40)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.sampled_from(sorted(STATISTICS)))
def test_the_interval_holds_the_estimate_in_the_range_and_mirrors_with_the_values(values, statistic):
    found = bootstrap_interval(values, statistic, num_resamples=500)
    mirrored = bootstrap_interval([-value for value in values], statistic, num_resamples=500)
    assert mirrored.estimate == pytest.approx(-found.estimate, abs=1e-9)
    if len(values) == 1:
        assert math.isnan(found.low) and math.isnan(found.high)
        return
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert (mirrored.low, mirrored.high) == (pytest.approx(-found.high, abs=1e-9), pytest.approx(-found.low, abs=1e-9))


def test_a_higher_level_gives_a_wider_interval():
    values = np.random.default_rng(2).standard_normal(10)
    ends = [bootstrap_interval(values, level=level) for level in (0.5, 0.8, 0.95, 0.99)]
    assert all(wide.low <= narrow.low and narrow.high <= wide.high for narrow, wide in itertools.pairwise(ends))


def test_degenerate_values_give_degenerate_intervals():
    one = bootstrap_interval([2.0])
    assert one.estimate == 2.0 and math.isnan(one.low) and math.isnan(one.high)
    assert bootstrap_interval([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 0.95, 3)
    for value in (0.1, 1e308):
        equal = bootstrap_interval([value] * 7, "iqm")
        assert equal.low == equal.estimate == equal.high == value
    assert bootstrap_interval([INF, INF]) == Interval(INF, INF, INF, 0.95, 2)
    missing = bootstrap_interval([1.0, 2.0, NAN])
    assert math.isnan(missing.estimate) and math.isnan(missing.low) and math.isnan(missing.high)


def test_infinite_values_make_an_end_infinite_where_they_reach_it():
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, INF]
    assert bootstrap_interval(values, "mean").high == INF
    found = bootstrap_interval([*values[:-1], *values], "median")  # one of fifteen
    assert math.isfinite(found.high) and math.isfinite(found.low)
    both = bootstrap_interval([-INF, 0.0, 1.0, INF], "mean")
    assert math.isnan(both.estimate) and math.isnan(both.low)


def test_a_statistic_of_ones_own_is_taken():
    found = bootstrap_interval([1.0, 2.0, 3.0, 4.0], lambda x: x.max(axis=-1))
    assert found.estimate == 4.0 and found.high == 4.0
    with pytest.raises(ValueError, match="it must reduce the last axis"):
        bootstrap_interval([1.0, 2.0, 3.0, 4.0], lambda x: x.max())


def test_the_sentence_says_what_few_values_cannot_hold():
    assert str(bootstrap_interval([1.0])) == "1 (no interval, 1 value)"
    assert "which 3 values hold to 75 % at most" in str(bootstrap_interval([1.0, 2.0, 4.0]))
    assert str(bootstrap_interval(np.arange(6.0), "median")) == "2.5 (95 % interval 0 to 5, 6 values)"


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"statistic='mode' is unknown; there are 'mean', 'median', 'iqm'"):
        bootstrap_interval([1.0, 2.0], "mode")
    with pytest.raises(ValueError, match="level=95"):
        bootstrap_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="num_resamples=0"):
        bootstrap_interval([1.0, 2.0], num_resamples=0)
    with pytest.raises(ValueError, match="values has shape"):
        bootstrap_interval([[1.0, 2.0]])

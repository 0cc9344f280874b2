"""Holm's adjustment against values by hand, another implementation's, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.statistics.holm import holm

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_four_p_values_adjusted_by_hand():
    """Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and the last is raised to the .06 before it."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-14)


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        # statsmodels 0.15.0: statsmodels.stats.multitest.multipletests(raw, method="holm")[1]
        (
            [0.0003, 0.012, 0.0125, 0.02, 0.049, 0.3, 0.7, 0.012],
            [0.0024, 0.084, 0.084, 0.084, 0.14700000000000002, 0.6, 0.7, 0.084],
        ),
        ([0.2, 0.2, 0.2], [0.6000000000000001, 0.6000000000000001, 0.6000000000000001]),
        ([0.001, 0.9, 0.5, 0.0101], [0.004, 1.0, 1.0, 0.0303]),
    ],
)
def test_it_agrees_with_statsmodels(raw, adjusted):
    np.testing.assert_allclose(holm(raw), adjusted, rtol=1e-14)


def test_tests_that_were_not_made_do_not_count():
    found = holm([0.01, np.nan, 0.04, 0.03, np.nan, 0.005])
    np.testing.assert_allclose(found, [0.03, np.nan, 0.06, 0.06, np.nan, 0.02], rtol=1e-14)
    assert np.isnan(holm([np.nan, np.nan])).all()


@given(probabilities)
def test_adjusted_are_no_less_than_raw_and_no_more_than_bonferroni_or_1(raw):
    found = holm(raw)
    assert (found >= raw).all()
    assert (found <= np.minimum(1.0, len(raw) * np.array(raw))).all()
    assert found.min() == min(1.0, len(raw) * min(raw))


@given(probabilities, st.randoms(use_true_random=False))
def test_the_order_of_the_tests_does_not_matter_and_the_order_of_the_values_stays(raw, random):
    found = holm(raw)
    shuffled = list(range(len(raw)))
    random.shuffle(shuffled)
    np.testing.assert_array_equal(holm([raw[at] for at in shuffled]), found[shuffled])
    assert (np.diff(found[np.argsort(raw)]) >= 0).all()


@given(probabilities, st.floats(0.001, 0.999))
def test_it_rejects_what_the_step_down_procedure_rejects(raw, level):
    """Holm's own words: go up the sorted values and stop at the first above level / (tests left)."""
    rejected = np.zeros(len(raw), dtype=bool)
    for done, at in enumerate(np.argsort(raw, kind="stable")):
        if raw[at] * (len(raw) - done) > level:
            break
        rejected[at] = True
    np.testing.assert_array_equal(holm(raw) <= level, rejected)


@pytest.mark.parametrize("bad", [-0.1, 1.5, np.inf])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match="needed are probabilities"):
        holm([0.5, bad])
    with pytest.raises(ValueError, match="p_values is empty"):
        holm([])

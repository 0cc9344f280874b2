"""The response to fixed swap epochs, and whether the swap time matters, on curves that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from landscape.comparison.response import chosen_on_others, response, swap_time
from tests.comparison import made


def test_the_curve_has_a_row_for_each_epoch_and_a_last_one_for_never():
    curve = response(made.comparison(3), "cg")

    assert curve.epochs == (0, 4, 8, 16, 32)
    assert curve.values.tolist() == [[x, 2 * x, 4 * x] for x in (4.0, 2.0, 1.0, 2.0, 4.0, 8.0)]
    assert curve.median.tolist() == [8.0, 4.0, 2.0, 4.0, 8.0, 16.0]
    assert curve.best_epoch == 8
    assert (curve.low <= curve.median).all() and (curve.median <= curve.high).all()


def test_where_never_is_lowest_there_is_no_best_epoch():
    assert response(made.comparison(3, never=0.5), "cg").best_epoch is None


def test_the_valley_matters_and_its_bottom_beats_never():
    time = swap_time(made.comparison(8), "cg")

    assert (time.best_epoch, time.chosen, time.is_hindsight) == (8, (8,) * 8, False)
    assert (time.ratio_to_never, time.spread, time.seed_spread) == (1 / 8, 4.0, 4.0)
    assert time.against_never.p_value == 2 / 2**8
    assert time.friedman_p < 1e-4


def test_friedmans_statistic_of_three_epochs_that_all_seeds_rank_alike():
    """With n blocks and k treatments in full agreement it is n (k - 1); of chi-square with 2 degrees, P = exp(-n)."""
    time = swap_time(made.comparison(6, grid={0: 1.0, 4: 2.0, 8: 3.0}), "cg")

    assert time.friedman_p == pytest.approx(math.exp(-6), rel=1e-12)


def test_a_flat_response_gives_no_reason_to_choose_an_epoch():
    time = swap_time(made.comparison(8, grid={0: 2.0, 4: 2.0, 8: 2.0}), "cg")

    assert (time.spread, time.friedman_p, time.best_epoch) == (1.0, 1.0, 0)


@pytest.mark.parametrize(("num_seeds", "grid"), [(2, made.GRID), (8, {0: 1.0, 4: 2.0})])
def test_fewer_than_three_seeds_or_epochs_are_too_few_for_friedmans_test(num_seeds, grid):
    assert math.isnan(swap_time(made.comparison(num_seeds, grid=grid), "cg").friedman_p)


def test_with_one_seed_the_choice_knows_what_it_is_judged_by():
    time = swap_time(made.comparison(1), "cg")

    assert time.is_hindsight and time.chosen == (8,) and time.losses == (1.0,)


def test_losses_of_which_one_row_diverged_have_an_infinite_spread_and_a_finite_choice():
    time = swap_time(made.comparison(8, grid={0: math.inf, 4: 2.0, 8: 1.0}), "cg")

    assert (time.spread, time.best_epoch, time.ratio_to_never) == (math.inf, 8, 1 / 8)


@given(arrays.arrays(np.float64, (4, 6), elements=st.floats(0.0, 10.0)))
def test_the_choice_for_a_seed_does_not_depend_on_its_own_losses(values):
    chosen = chosen_on_others(values)

    for seed in range(values.shape[1]):
        changed = values.copy()
        changed[:, seed] = changed[::-1, seed] * 3
        assert chosen_on_others(changed)[seed] == chosen[seed]


def test_choosing_on_the_other_seeds_has_no_winners_curse():
    """For epochs that are all alike, the loss of the chosen one is on average that of any: the least median is below it."""
    rng = np.random.default_rng(0)
    honest, greedy = [], []
    for _ in range(200):
        values = rng.standard_normal((8, 5))
        honest.append(values[chosen_on_others(values), np.arange(5)].mean())
        greedy.append(values[np.median(values, axis=1).argmin()].mean())

    error = np.std(honest) / math.sqrt(len(honest))
    assert abs(np.mean(honest)) < 4 * error
    assert np.mean(greedy) < -8 * error


def test_a_comparison_without_fixed_epochs_is_refused():
    with pytest.raises(ValueError, match=r"no fixed swap epochs \(grid=\(\)\)"):
        swap_time(made.comparison(3, grid={}), "cg")


def test_a_seed_whose_first_phase_crashed_changes_neither_curve_nor_choice():
    lost, whole = made.without_seed(made.comparison(9), 4), made.comparison(9)

    curve = response(lost, "cg")
    time = swap_time(lost, "cg")

    assert np.isnan(curve.values[:, 4]).all() and not np.isnan(np.delete(curve.values, 4, axis=1)).any()
    assert curve.median.tolist() == np.median(np.delete(response(whole, "cg").values, 4, axis=1), axis=1).tolist()
    assert (len(time.losses), time.against_never.n, time.best_epoch, time.chosen) == (8, 8, 8, (8,) * 8)

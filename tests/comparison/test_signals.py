"""Signals that rank the fixed epochs as the benefit does, the other way round, or not at all."""

from __future__ import annotations

import dataclasses
import math

import pytest

from landscape.comparison.comparison import Comparison, SignalAt
from landscape.comparison.signals import SignalCorrelation, signal_correlations
from tests.comparison import made


def correlations_of(comparison: Comparison) -> dict[str, SignalCorrelation]:
    return {found.signal: found for found in signal_correlations(comparison, "cg")}


def test_a_signal_that_ranks_epochs_within_each_seed_has_a_correlation_of_one_whatever_it_is_between_seeds():
    found = correlations_of(made.comparison(4))

    assert found["benefit"].correlation.coefficient == 1.0
    assert found["harm"].correlation.coefficient == -1.0
    assert math.isnan(found["constant"].correlation.coefficient) and math.isnan(found["constant"].p_holm)


def test_the_number_of_the_epoch_is_among_them_and_says_nothing_about_a_symmetric_valley():
    found = correlations_of(made.comparison(4))

    assert found["epoch"].is_clock
    assert found["epoch"].correlation.coefficient == 0.0


def test_on_a_falling_curve_the_clock_is_as_good_as_any_signal():
    found = correlations_of(made.comparison(4, grid={0: 8.0, 4: 4.0, 8: 2.0}))

    assert found["epoch"].correlation.coefficient == found["benefit"].correlation.coefficient == 1.0


def test_the_clock_is_asked_at_the_same_epochs_as_the_signals():
    """Without what was measured at epoch 0, the valley is 2, 1, 2, 4 and the ranks of its benefit 2.5, 4, 2.5, 1."""
    comparison = made.comparison(4)
    later = tuple(each for each in comparison.signals if each.epoch > 0)

    found = correlations_of(dataclasses.replace(comparison, signals=later))

    assert found["epoch"].correlation.n == found["benefit"].correlation.n == 16
    ranks = [(-1.5, 0.0), (-0.5, 1.5), (0.5, 0.0), (1.5, -1.5)]
    expected = sum(u * v for u, v in ranks) / math.sqrt(5.0 * 4.5)
    assert found["epoch"].correlation.coefficient == pytest.approx(expected, rel=1e-12)


def test_holms_correction_is_for_signals_and_not_for_the_clock():
    found = correlations_of(made.comparison(4))

    assert found["benefit"].p_holm == 2 * found["benefit"].correlation.p_value
    assert found["epoch"].p_holm == found["epoch"].correlation.p_value


def test_the_closest_come_first_and_those_without_a_correlation_last():
    assert [found.signal for found in signal_correlations(made.comparison(4), "cg")] == [
        "benefit",
        "harm",
        "epoch",
        "constant",
    ]


def test_each_pair_is_a_fixed_epoch_of_a_seed_and_what_was_not_measured_is_missing():
    comparison = made.comparison(4)
    gone = dataclasses.replace(
        comparison,
        signals=tuple(each for each in comparison.signals if (each.name, each.seed) != ("benefit", 2)),
    )

    correlation = correlations_of(gone)["benefit"].correlation

    assert (correlation.n, correlation.num_missing, correlation.num_groups) == (15, 5, 3)


def test_signals_where_only_policies_swapped_do_not_count():
    comparison = made.comparison(4)
    elsewhere = tuple(SignalAt(seed, 5, "benefit", -1e9) for seed in comparison.seeds)
    more = dataclasses.replace(comparison, signals=comparison.signals + elsewhere)

    assert correlations_of(more)["benefit"] == correlations_of(comparison)["benefit"]


def test_a_nan_is_missing_and_an_infinite_signal_has_a_rank():
    comparison = made.comparison(4)
    changed = {"benefit": math.nan, "harm": math.inf}
    signals = tuple(
        dataclasses.replace(each, value=changed.get(each.name, each.value)) if each.epoch == 0 else each
        for each in comparison.signals
    )

    found = correlations_of(dataclasses.replace(comparison, signals=signals))

    assert found["benefit"].correlation.num_missing == 4
    assert found["harm"].correlation.num_missing == 0
    assert -1.0 < found["harm"].correlation.coefficient < 0.0


@pytest.mark.parametrize("changes", [{"signals": ()}, {"grid": ()}])
def test_without_signals_or_fixed_epochs_there_are_none(changes):
    assert signal_correlations(dataclasses.replace(made.comparison(2), **changes), "cg") == ()


def test_a_seed_that_did_not_run_has_no_benefits():
    correlation = correlations_of(made.without_seed(made.comparison(4), 1))["benefit"].correlation

    assert (correlation.coefficient, correlation.n, correlation.num_groups) == (1.0, 15, 3)

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.policies import AfterEpochs, GradientNormPeak, MissingColumnError, Never, SearchFailures
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History

# seed-paper measurement: vit-mlp on 20,000 Fashion-MNIST images, norms after epochs 1, 2, ...
MEAN_BATCH = [0.618, 0.136, 0.131, 0.184, 0.240, 0.243, 0.214, 0.171]
FULL = [0.133, 0.160, 0.085, 0.406, 0.234]


def history_of(norms, norm="full", start=4.64):
    rows = [{"epoch": 0, "phase": "first", "gradient_norm": start}]
    rows += [{"epoch": t, "phase": "first", NORM_COLUMNS[norm]: n} for t, n in enumerate(norms, start=1)]
    return History(rows)


def first_firing(policy, norms, norm="full"):
    """Epoch after which the policy first says swap, as a trainer would ask it; None if never."""
    full = history_of(norms, norm)
    for epoch in range(1, len(norms) + 1):
        if policy.decide(History(list(full)[: epoch + 1])).swap:
            return epoch
    return None


def algorithm_1(norms, factor=0.9):
    """The paper's listing, line by line."""
    adam, gnmax = True, 0.0
    for epoch, gn in enumerate(norms, start=1):
        if adam:
            gnmax = max(gn, gnmax)
            adam = gn > gnmax * factor
        if not adam:
            return epoch
    return None


@given(
    norms=st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    factor=st.sampled_from([0.9, 0.5, 0.999]),
    norm=st.sampled_from(sorted(NORM_COLUMNS)),
)
def test_it_is_algorithm_1_to_the_letter(norms, factor, norm):
    assert first_firing(GradientNormPeak(factor, norm=norm), norms, norm) == algorithm_1(norms, factor)


@given(
    rise=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=15, unique=True).map(sorted),
    fall=st.floats(0.001, 0.9999),
    norm=st.sampled_from(sorted(NORM_COLUMNS)),
)
def test_with_a_factor_of_one_it_fires_at_the_first_epoch_after_the_maximum(rise, fall, norm):
    """The letter of the rule, not(n > 1.0 * max), would fire at once."""
    norms = [*rise, rise[-1] * fall]
    assert first_firing(GradientNormPeak(factor=1.0, norm=norm), norms, norm) == len(norms)
    assert algorithm_1(norms, 1.0) == 1


def test_with_a_factor_of_one_a_constant_norm_never_fires():
    assert first_firing(GradientNormPeak(factor=1.0), [2.0] * 10) is None
    assert first_firing(GradientNormPeak(factor=1.0, require_rise=True), [3.0, 2.0, 2.5, 2.5, 2.4]) == 5


def test_on_the_measured_vit_it_fires_where_the_study_says():
    assert first_firing(GradientNormPeak(norm="mean_batch"), MEAN_BATCH, "mean_batch") == 2
    assert first_firing(GradientNormPeak(), FULL) == 3
    assert first_firing(GradientNormPeak(norm="mean_batch", min_epochs=2), MEAN_BATCH, "mean_batch") == 7
    assert first_firing(GradientNormPeak(norm="mean_batch", require_rise=True), MEAN_BATCH, "mean_batch") == 7


@given(norms=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_with_a_rise_required_a_falling_norm_never_fires(norms):
    assert first_firing(GradientNormPeak(require_rise=True), sorted(norms, reverse=True)) is None


@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), skip=st.integers(0, 10))
def test_min_epochs_is_the_rule_begun_later(norms, skip):
    fired = first_firing(GradientNormPeak(min_epochs=skip + 1), norms)
    expected = algorithm_1(norms[skip:]) if norms[skip:] else None
    assert fired == (None if expected is None else expected + skip)


@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=10), scale=st.sampled_from([2.0**-20, 2.0**20]))
def test_the_unit_of_the_loss_does_not_matter(norms, scale):
    for policy in (GradientNormPeak(), GradientNormPeak(require_rise=True)):
        assert first_firing(policy, norms) == first_firing(policy, [norm * scale for norm in norms])


def test_the_reason_and_the_evidence_carry_the_numbers():
    decision = GradientNormPeak(norm="mean_batch", min_epochs=2).decide(history_of(MEAN_BATCH[:7], "mean_batch"))
    assert decision.swap
    assert decision.reason == "mean_batch gradient norm 0.214 is at or below 0.9 of its peak 0.243 (epoch 6)"
    assert decision.score == pytest.approx(0.214 / 0.243)
    assert decision.evidence == {"norm": 0.214, "peak": 0.243, "peak_epoch": 6}


def test_a_nan_norm_never_fires_and_is_named():
    decision = GradientNormPeak().decide(history_of([1.0, 2.0, math.nan]))
    assert not decision.swap and "NaN" in decision.reason and math.isnan(decision.score)


def test_a_norm_that_was_skipped_in_the_last_epoch_does_not_fire():
    rows = [*history_of([1.0, 2.0]), {"epoch": 3, "phase": "first"}]
    decision = GradientNormPeak().decide(History(rows))
    assert not decision.swap and "was not measured in epoch 3" in decision.reason


def test_after_a_swap_back_the_rule_starts_afresh():
    rows = list(history_of([8.0, 1.0]))
    rows += [{"epoch": 3, "phase": "second", "gradient_norm": 9.0}]
    rows += [{"epoch": 4, "phase": "first", "gradient_norm": 0.5}]
    assert not GradientNormPeak().decide(History(rows)).swap
    rows += [{"epoch": 5, "phase": "first", "gradient_norm": 0.4}]
    assert GradientNormPeak().decide(History(rows)).swap
    assert not AfterEpochs(3).decide(History(rows)).swap
    assert AfterEpochs(2).decide(History(rows)).swap


def test_a_missing_column_is_explained():
    rows = [{"epoch": 1, "phase": "first", "loss": 1.0}]
    with pytest.raises(MissingColumnError, match=r"'gradient_norm_mean_batch', but nothing records it .*'loss'"):
        GradientNormPeak(norm="mean_batch").decide(History(rows))


@pytest.mark.parametrize(
    "policy", [GradientNormPeak(), GradientNormPeak(require_rise=True), AfterEpochs(1), Never(), SearchFailures()]
)
def test_an_empty_history_and_a_start_row_never_fire(policy):
    for history in (History(), History([{"epoch": 0, "phase": "first", "gradient_norm": 1.0}])):
        decision = policy.decide(history)
        assert not decision.swap and decision.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 0.0}, r"factor=0.0.*\(0, 1\]"),
        ({"factor": 1.1}, "factor=1.1"),
        ({"min_epochs": -1}, "min_epochs=-1"),
        ({"norm": "max"}, "norm='max'.*'full', 'mean_batch', 'batch_mean'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GradientNormPeak(**settings)


def test_search_failures_counts_only_the_end_of_the_second_phase():
    def rows(*statuses):
        return History([{"epoch": t, "phase": "second", "status": s} for t, s in enumerate(statuses, start=1)])

    assert not SearchFailures(2).decide(rows("SEARCH_FAILED", "ACCEPTED", "SEARCH_FAILED")).swap
    assert SearchFailures(2).decide(rows("ACCEPTED", "SEARCH_FAILED", "SEARCH_FAILED")).swap
    assert SearchFailures(5).decide(rows("ACCEPTED", "STALLED")).swap

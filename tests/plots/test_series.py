from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.plots.series import MAX_POINTS, losses, stretches, thin, work
from landscape.tracking.history import History
from tests.plots.histories import history


def test_the_loss_over_all_data_wins_over_the_running_loss():
    recorded = losses(History([{"loss": 1.0, "loss_running": 3.0}, {"loss_running": 2.0}, {}]))

    np.testing.assert_array_equal(recorded.values, [1.0, 2.0, math.nan])
    assert recorded.measured.tolist() == [True, True, False]
    assert recorded.kind == "mixed"


@pytest.mark.parametrize(
    ("columns", "kind"),
    [({"loss": 1.0}, "full"), ({"loss_running": 1.0}, "running"), ({"loss": 1.0, "loss_running": 2.0}, "full")],
)
def test_the_kind_of_loss_is_told_apart(columns, kind):
    assert losses(History([columns, {}])).kind == kind


def test_a_measured_nan_loss_is_not_replaced_by_the_running_one():
    recorded = losses(History([{"loss": math.nan, "loss_running": 2.0}]))

    assert math.isnan(recorded.values[0]) and recorded.measured[0]


def test_work_falls_back_to_epochs_and_then_to_rows_and_says_so():
    assert work(History([{"gradient_equivalents": 4.0}]))[0].tolist() == [4.0]
    epochs, label = work(History([{"epoch": 7}]))
    assert epochs.tolist() == [7.0] and "work was not recorded" in label
    numbers, label = work(History([{"a": 1.0}, {"a": 2.0}]))
    assert numbers.tolist() == [0.0, 1.0] and "row" in label


def test_each_stretch_begins_where_the_one_before_ended():
    phases = ["first", "first", "second", "second", "first"]
    found = stretches(History([{"epoch": e, "phase": phase} for e, phase in enumerate(phases)]))

    assert [(s.phase, s.indices.tolist(), s.joined) for s in found] == [
        ("first", [0, 1], False),
        ("second", [1, 2, 3], True),
        ("first", [3, 4], True),
    ]


def test_an_empty_history_has_no_stretches():
    assert stretches(History()) == []


def test_a_short_curve_loses_no_point():
    indices = np.arange(len(history()))

    assert thin(indices, np.array(indices, dtype=float)) is indices


@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(MAX_POINTS + 1, 20_000),
    num_missing=st.integers(0, 1000),
    share=st.sampled_from([1.0, 0.3, 0.001]),
)
def test_a_thinned_curve_keeps_its_ends_and_every_columns_extremes(seed, num_rows, num_missing, share):
    random = np.random.default_rng(seed)
    x, y = random.standard_cauchy((2, num_rows))
    y[random.integers(0, num_rows, num_missing)] = np.nan

    kept = thin(np.arange(num_rows), x, y, share=share)

    assert len(kept) <= max(MAX_POINTS * share, 8)
    assert {0, num_rows - 1, int(x.argmin()), int(x.argmax())} <= set(kept.tolist())
    assert {int(np.nanargmin(y)), int(np.nanargmax(y))} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()

from __future__ import annotations

import math

import pytest

from landscape.report.words import amount, metric, number, percent
from landscape.tracking.history import from_json_value


@pytest.mark.parametrize("say", [number, amount, percent])
def test_what_is_missing_or_not_finite_is_always_said(say):
    assert [say(v) for v in (None, math.nan, math.inf, -math.inf)] == ["not measured", "NaN", "infinity", "-infinity"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1 / 3, "0.333"), (99.94, "99.9"), (99.96, "100"), (12345.6, "12,346"), (2e-7, "2e-07"), (-3.0, "-3")],
)
def test_amounts_keep_three_digits_or_all_before_the_point(value, text):
    assert amount(value) == text


def test_accuracies_are_shares_and_other_metrics_are_numbers():
    assert metric("validation_accuracy", 0.5) == "50.0 %"
    assert metric("validation_error", 0.5) == "0.5"


def test_floats_that_are_not_finite_come_back_from_json_value():
    assert math.isnan(from_json_value("NaN")) and from_json_value("-Infinity") == -math.inf
    assert from_json_value("Nan") == "Nan" and from_json_value(None) is None and from_json_value(2.5) == 2.5

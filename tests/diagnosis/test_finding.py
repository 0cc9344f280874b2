"""Findings as data: what is measured, and JSON that keeps every number."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis, DiagnosisFormatError
from landscape.diagnosis.finding import CLAIMS, Finding, Outlook, not_measured
from landscape.diagnosis.titles import CLAIM_OF, TITLES
from landscape.probes.certificate.certificate import Verdict
from landscape.status import Status
from landscape.tracking.history import History

number = st.floats(allow_nan=True, allow_infinity=True, width=64)


def same(a: object, b: object) -> bool:
    """Equal, with NaN equal to NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(
    value=st.none() | number,
    interval=st.none() | st.tuples(number, number),
    outlook=st.sampled_from(Outlook),
    numbers=st.lists(number, max_size=3),
)
def test_strict_json_brings_a_finding_back(value, interval, outlook, numbers):
    details = {"rows": [{"name": "a", "value": entry} for entry in numbers], "is_exact": True, "nothing": None}
    finding = Finding("key", "Title", "A'", outlook, "meaning", value=value, interval=interval, details=details)
    again = Finding.from_dict(json.loads(json.dumps(finding.to_dict(), allow_nan=False)))
    for entry in fields(Finding):
        assert same(getattr(again, entry.name), getattr(finding, entry.name)), entry.name
    assert again.interval is None or isinstance(again.interval, tuple)


def test_what_was_not_measured_says_why():
    finding = not_measured("trace", "Trace", "", "No time.", "Take some.")
    assert not finding.is_measured and finding.value is None
    assert finding.status == finding.meaning == "No time."
    assert finding.next_step == "Take some."


def test_every_claim_that_is_tested_is_explained():
    assert set(CLAIM_OF) <= set(TITLES)
    assert set(CLAIM_OF.values()) <= set(CLAIMS)


@given(numbers=st.lists(number, min_size=6, max_size=6), verdict=st.none() | st.sampled_from(Verdict))
def test_strict_json_brings_a_diagnosis_back(numbers, verdict):
    found = Diagnosis(
        name="a",
        headline="b",
        verdict=verdict,
        findings=(Finding("key", "Title", "", Outlook.NEUTRAL, "meaning", value=numbers[0]),),
        level="quick",
        budget=numbers[1],
        status=Status.CUT_SHORT,
        estimate=CostEstimate(*numbers[2:]),
        gradient_equivalents=numbers[0],
        seconds=numbers[1],
        warnings=("c",),
        provenance={"d": "e"},
        history=History([{"epoch": 0, "loss": numbers[2]}]),
    )
    again = Diagnosis.from_dict(json.loads(found.to_json()))
    for name in ("name", "headline", "verdict", "level", "budget", "status", "gradient_equivalents", "seconds"):
        assert same(getattr(again, name), getattr(found, name)), name
    assert same(vars(again.estimate), vars(found.estimate))
    assert again.to_json() == found.to_json()


@pytest.mark.parametrize(
    "document", [{}, {"format": "landscape-diagnosis", "version": 99}, {"format": "other", "version": 1}]
)
def test_other_documents_are_refused(document):
    with pytest.raises(DiagnosisFormatError, match="landscape-diagnosis"):
        Diagnosis.from_dict(document)


def test_a_finding_that_is_not_there_is_named_with_those_that_are():
    found = Diagnosis("a", "b", None, (), "quick", None, Status.COMPLETED, CostEstimate(0, 0, 0, 0), 0.0, 0.0)
    with pytest.raises(KeyError, match="no finding 'trace'"):
        found.finding("trace")

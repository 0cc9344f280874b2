"""A comparison that is written and read again is the same one."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.comparison import Comparison, SignalAt
from landscape.comparison.saved import FORMAT, VERSION, ComparisonFormatError, from_json, to_json
from tests.comparison import made

ORDINARY = st.floats(allow_nan=False, width=64)


def test_a_comparison_reads_back_equal_with_infinite_losses_and_arms_that_were_not_asked():
    written = made.comparison(5, finishers=("cg", "lbfgs-2"))

    read = from_json(to_json(written))

    assert read == written
    assert math.isinf(read.of(Arm("policy", "cg", policy="crashes"))[0].value("train_loss"))
    assert read.of(Arm("policy", "cg", policy="blind"))[0].values == {}


def test_reading_and_writing_again_gives_the_same_text():
    text = to_json(made.comparison(3))

    assert to_json(from_json(text)) == text


@given(loss=ORDINARY, signal=ORDINARY, reason=st.text())
def test_every_number_reads_back_to_the_same_bits_and_every_text_to_the_same_characters(loss, signal, reason):
    result = ArmResult(Arm("never"), 0, "finished", reason=reason, values={"train_loss": loss}, curve=((0.0, loss),))
    written = Comparison(
        "one",
        {"a": reason},
        1.0,
        (0,),
        "train_loss",
        0.0,
        (),
        ("cg",),
        (),
        (),
        (result,),
        (SignalAt(0, 0, "s", signal),),
    )

    read = from_json(to_json(written))

    assert read == written
    assert math.copysign(1.0, read.results[0].values["train_loss"]) == math.copysign(1.0, loss)


def test_nan_stays_nan_and_the_text_nan_stays_text():
    result = ArmResult(Arm("never"), 0, "finished", reason="NaN", seconds=math.nan, values={"train_loss": math.nan})
    written = Comparison("NaN", {"a": "Infinity"}, 1.0, (0,), "train_loss", 0.0, (), ("cg",), (), (), (result,))

    read = from_json(to_json(written))

    assert math.isnan(read.results[0].values["train_loss"]) and math.isnan(read.results[0].seconds)
    assert (read.title, read.settings["a"], read.results[0].reason) == ("NaN", "Infinity", "NaN")


def test_the_document_is_strict_json_with_a_line_for_each_result():
    comparison = made.comparison(2)

    text = to_json(comparison)

    def refuse(name):
        raise AssertionError(f"{name} is no strict JSON")

    document = json.loads(text, parse_constant=refuse)
    assert (document["format"], document["version"]) == (FORMAT, VERSION)
    assert sum(line.startswith('{"arm"') for line in text.splitlines()) == len(comparison.results)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[]", "format None"),
        ('{"format": "landscape-replay", "version": 1}', "'landscape-replay'"),
        (f'{{"format": "{FORMAT}", "version": {VERSION + 1}}}', f"version {VERSION + 1}"),
        (f'{{"format": "{FORMAT}", "version": {VERSION}}}', "KeyError: 'policies'"),
    ],
)
def test_a_foreign_newer_or_shortened_document_is_refused_with_the_reason(text, told):
    with pytest.raises(ComparisonFormatError, match=told):
        from_json(text)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"status": "crashed"', '"status": "lost"', "'lost' is none of"),
        ('"kind": "never"', '"kind": "always"', "'always' is none of"),
        ('"budget": 100.0', '"budget": "much"', "'much' is not a number"),
    ],
)
def test_a_document_that_was_changed_by_hand_is_refused_with_what_is_wrong(old, new, told):
    text = to_json(made.comparison(1))
    assert old in text

    with pytest.raises(ComparisonFormatError, match=told):
        from_json(text.replace(old, new))


def test_numpy_numbers_are_written_as_plain_ones():
    import numpy as np

    plain = made.comparison(2)
    written = dataclasses.replace(
        plain, seeds=tuple(np.arange(2)), budget=np.float64(plain.budget), floor=np.float32(0.5)
    )

    assert from_json(to_json(written)).seeds == (0, 1)
    assert from_json(to_json(written)).floor == 0.5

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.tracking.columns import COLUMNS
from landscape.tracking.history import History, HistoryFormatError, decode_lines, encode_header, encode_row

VALUES = {
    "int": st.integers(-(2**53), 2**53),
    "float": st.floats(width=64),
    "str": st.text(),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {"epoch": VALUES["int"]},
        optional={name: VALUES[column.kind] for name, column in COLUMNS.items() if name != "epoch"},
    ),
    max_size=5,
)


def encoded(history: History) -> bytes:
    return "".join(line + "\n" for line in [encode_header(), *map(encode_row, history)]).encode()


@given(rows=ROWS)
def test_a_history_reads_back_to_the_bit(rows):
    history = History(rows)
    again = History(decode_lines(encoded(history), "memory")[0])
    assert again == history
    for before, after in zip(history, again, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            if isinstance(before[name], float):
                assert np.float64(before[name]).tobytes() == np.float64(after[name]).tobytes() or math.isnan(
                    before[name]
                )
            else:
                assert before[name] == after[name]


@given(rows=ROWS.filter(len), data=st.data())
def test_a_file_cut_at_any_byte_keeps_every_whole_row(rows, data):
    content = encoded(History(rows))
    cut = data.draw(st.integers(len(encode_header()) + 1, len(content)))
    whole = content[:cut].count(b"\n") - 1
    kept, ends = decode_lines(content[:cut], "memory")
    assert History(kept) == History(rows[:whole])
    assert ends[-1] <= cut and content[: ends[-1]] == encoded(History(kept))


def test_the_file_is_strict_json():
    line = encode_row({"loss": math.nan, "gradient_norm": math.inf})
    assert json.loads(line, parse_constant=pytest.fail) == {"loss": "NaN", "gradient_norm": "Infinity"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or its first line is unfinished"),
        (b"epoch,loss\n1,2\n", "is not a history"),
        (b'{"format": "other", "version": 1}\n', "has the format 'other'"),
        (b'{"format": "landscape-history", "version": 99}\n', "reads up to version 2. Update it"),
        (encode_header().encode() + b'\n{"epoch": 1}\n{"epo\n{"epoch": 3}\n', "line 3: not a row"),
        (encode_header().encode() + b"\n[1]\n", "line 2: not a row"),
        (encode_header().encode() + b'\n{"epoch": "one"}\n', "line 2: not a row"),
        (encode_header().encode() + b"\n\xff\xfe\n", "line 2: not a row"),
    ],
)
def test_what_is_not_a_history_is_refused_with_a_reason(content, message, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(content)
    with pytest.raises(HistoryFormatError, match=message):
        History.from_jsonl(path)


def test_values_of_the_wrong_type_are_refused():
    for row in ({"loss": "low"}, {"epoch": 1.5}, {"phase": 1}, {"loss": True}, {"mine": [1]}):
        with pytest.raises(TypeError, match="History column"):
            History([row])


def test_rows_cannot_be_changed():
    history = History([{"epoch": 1, "loss": 2}])
    with pytest.raises(TypeError):
        history[0]["loss"] = 3.0
    assert history.column("loss") == [2.0]


def test_missing_is_none_and_nan_stays_nan():
    history = History([{"epoch": 0, "loss": None}, {"epoch": 1, "loss": math.nan}])
    assert history.column("loss")[0] is None and math.isnan(history.column("loss")[1])
    assert history.columns() == ["epoch", "loss"]


def test_the_latest_stretch_is_what_came_after_the_last_swap():
    history = History({"epoch": t, "phase": p} for t, p in enumerate(["first", "second", "first", "first"]))
    assert history.stretch().column("epoch") == [2, 3]
    assert history.select(phase="second").column("epoch") == [1]


def test_it_becomes_a_data_frame_and_a_file_and_comes_back(tmp_path):
    history = History([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5, "own_signal": 3}])
    frame = history.to_pandas()
    assert list(frame.columns) == ["epoch", "loss", "own_signal"] and frame["loss"].tolist() == [1.0, 0.5]
    history.to_jsonl(tmp_path / "h.jsonl")
    assert History.from_jsonl(tmp_path / "h.jsonl") == history

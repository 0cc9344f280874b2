"""What a store keeps, and what it makes of damage."""

from __future__ import annotations

import json
import math
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store, StoreError, StoreWarning
from tests.comparison.running.jobs import Call, Walk, lines
from tests.comparison.running.processes import coordinator, wait_until, wait_until_gone

NUMBERS = ("NaN", "Infinity", "-Infinity")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4).filter(lambda text: text not in NUMBERS)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def job_of(value: object = None, name: str = "a job") -> Call:
    return Call(name, lambda folder: value)


def path_of(store: Store, job: Call) -> Path:
    return store.folder(job) / "result.json"


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_values_read_back_to_the_bit(tmp_path_factory, value):
    store = Store(tmp_path_factory.getbasetemp() / "values")
    store.write(job_of(), value, 1.0)
    assert repr(store.result(job_of())) == repr({"status": "done", "value": value, "seconds": 1.0})


def test_files_are_strict_json_though_numbers_are_not(tmp_path):
    store = Store(tmp_path)
    store.write(job_of(), {"loss": math.nan, "bounds": (-math.inf, np.float64(0.1))}, 1.0)
    content = json.loads(path_of(store, job_of()).read_text(), parse_constant=pytest.fail)
    assert content["value"] == {"loss": "NaN", "bounds": ["-Infinity", 0.1]} and content["identity"] == {
        "name": "a job"
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": torch.tensor(1.0)}, r"there is a Tensor in it.*\.item\(\)"),
        ({"a": np.int64(1)}, "there is a int64 in it"),
        ({1: 2}, "names in a result are text"),
        ({"a": "NaN"}, "would read back as a number"),
        ([1], "returns a dict of results"),
        (None, "returns a dict of results"),
    ],
)
def test_a_result_that_cannot_be_kept_is_a_crash_that_says_why(tmp_path, value, message):
    (result,) = run_jobs([job_of(value)], Store(tmp_path), SerialExecutor()).values()
    assert result["status"] == "crashed"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result["error"])


@given(st.integers(0, 10**9), st.binary(max_size=3))
def test_no_damage_is_read_as_another_result(tmp_path_factory, where, bytes_there):
    """Bytes overwritten anywhere: the result is the one that was written, or none."""
    store = Store(tmp_path_factory.getbasetemp() / "damaged")
    store.write(job_of(), {"loss": 0.125, "name": "x"}, 1.0)
    path, expected = path_of(store, job_of()), store.result(job_of())
    raw = path.read_bytes()
    where %= len(raw)
    path.write_bytes(raw[:where] + bytes_there + raw[where + len(bytes_there) :])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = store.result(job_of())
    assert found == expected or (found is None and [each.category for each in caught] == [StoreWarning])


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"null", b"{}", b'{"checksum": ', b"\xff\xfe", b'{"checksum": 3, "value": 1}']
)
def test_a_damaged_result_is_computed_again_with_a_warning(tmp_path, damage):
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    first = run_jobs([Walk(0, log), Walk(1, log)], store, SerialExecutor())
    (store.folder(Walk(1, log)) / "result.json").write_bytes(damage)
    with pytest.warns(StoreWarning, match=r"is damaged .*walk 1\) will be run again"):
        again = run_jobs([Walk(0, log), Walk(1, log)], store, SerialExecutor())
    assert repr([each["value"] for each in again.values()]) == repr([each["value"] for each in first.values()])
    assert lines(log) == ["0 begun", "1 begun", "1 begun"]


def test_a_folder_of_another_job_is_refused(tmp_path):
    store = Store(tmp_path)
    store.write(job_of(name="one"), {}, 1.0)
    shutil.copytree(store.folder(job_of(name="one")), store.folder(job_of(name="two")))
    with pytest.raises(StoreError, match=r"result of another job.*one.*two.*move it away"):
        run_jobs([job_of({}, "two")], store, SerialExecutor())


def test_a_result_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("landscape.comparison.running.store.VERSION", 2)
        store.write(job_of(), {}, 1.0)
    with pytest.raises(StoreError, match=r"version 2; this landscape reads .*version 1"):
        store.result(job_of())


def test_a_store_has_one_coordinator(tmp_path):
    with coordinator(tmp_path, "serial", 1, rest=20.0) as other:
        wait_until(lambda: bool(lines(tmp_path / "log.txt")))
        with pytest.raises(StoreError, match=r"another process is writing to .*Wait for it to end"):
            run_jobs([job_of({})], Store(tmp_path / "store"), SerialExecutor())
        other.send_signal(signal.SIGKILL)
        wait_until_gone(other.pid)
        assert len(run_jobs([job_of({})], Store(tmp_path / "store"), SerialExecutor())) == 1


def test_a_store_that_is_not_held_runs_nothing(tmp_path):
    with pytest.raises(StoreError, match="is not held"):
        list(SerialExecutor().execute([job_of({})], Store(tmp_path)))


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Choose a place that can be written"), Store(tmp_path / "file").hold():
        pass


def test_deaths_count_until_they_are_too_many(tmp_path):
    store = Store(tmp_path, max_attempts=2)
    with store.hold():
        assert not store.record_death(job_of()) and store.num_deaths(job_of()) == 1
        assert store.record_death(job_of(), "Killed.")
    result = store.result(job_of())
    assert (
        result["status"] == "crashed"
        and "died 2 times without a word" in result["error"]
        and "Killed." in result["error"]
    )
    assert [path.name for path in store.folder(job_of()).iterdir()] == ["result.json"]


def test_what_another_coordinator_had_begun_is_not_begun(tmp_path):
    store = Store(tmp_path)
    with store.hold(), store.claim(job_of(), store.coordinator):
        assert store.is_begun(job_of())
    with store.hold():
        assert not store.is_begun(job_of())

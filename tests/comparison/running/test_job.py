"""Names of jobs: decided by what decides the outcome, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.running.job import canonical, job_key, largest_first, plain_identity
from tests.comparison.running.jobs import IDENTITY, Named
from tests.comparison.running.processes import ROOT

VALUES = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text().filter(lambda text: text not in ("NaN", "Infinity", "-Infinity"))
)


def test_the_key_is_the_same_in_processes_that_hash_differently():
    code = (
        "from landscape.comparison.running.job import job_key; from tests.comparison.running.jobs import IDENTITY, Named;"
        "print(job_key(Named({name: IDENTITY[name] for name in set(IDENTITY)})))"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert keys == {job_key(Named(IDENTITY))} == {"branch-f11caa0a958670f6"}


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.randoms())
def test_the_order_of_the_identity_does_not_matter(identity, chance):
    names = list(identity)
    chance.shuffle(names)
    assert job_key(Named({name: identity[name] for name in names})) == job_key(Named(identity))


@given(st.dictionaries(st.text(), VALUES, max_size=2), st.dictionaries(st.text(), VALUES, max_size=2))
def test_keys_differ_exactly_where_identities_do(one, other):
    same = canonical(plain_identity(Named(one))) == canonical(plain_identity(Named(other)))
    assert (job_key(Named(one)) == job_key(Named(other))) == same
    assert same == (sorted(map(repr, one.items())) == sorted(map(repr, other.items())))


def test_kinds_whole_numbers_floats_and_signs_make_other_jobs():
    identities = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": 0.0}, {"a": -0.0}, {"a": None}, {}]
    keys = {job_key(Named(identity)) for identity in identities} | {job_key(Named({"a": 1}, kind="first-phase"))}
    assert len(keys) == len(identities) + 1


@pytest.mark.parametrize("kind", ["", "../up", "Branch", "a/b", ".hidden"])
def test_a_kind_that_cannot_begin_a_folders_name_is_refused(kind):
    with pytest.raises(ValueError, match=r"small letters, digits and hyphens"):
        job_key(Named({}, kind=kind))


@pytest.mark.parametrize("value", [[1], {"a": 1}, torch.tensor(1.0), b"1"])
def test_an_identity_of_other_things_is_refused(value):
    with pytest.raises(TypeError, match=r"'rate' of type .*text, numbers and None"):
        job_key(Named({"rate": value}))


def test_a_text_that_reads_back_as_a_number_is_refused():
    with pytest.raises(ValueError, match="would read back as a number"):
        job_key(Named({"rate": "NaN"}))


def test_large_jobs_come_first_and_equals_stay_in_order():
    jobs = [Named({}, label=label, equivalents=cost) for label, cost in [("a", 1), ("b", 3), ("c", 1), ("d", 2)]]
    assert [job.label for job in largest_first(jobs)] == ["b", "d", "a", "c"]


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
def test_an_impossible_estimate_is_refused(cost):
    with pytest.raises(ValueError, match=r"estimates its cost at .*0 or more"):
        largest_first([Named({}, equivalents=cost)])

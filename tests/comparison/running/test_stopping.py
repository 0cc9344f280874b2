"""Comparisons that are killed or interrupted, and go on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store
from tests.comparison.running.coordinator import executor_of
from tests.comparison.running.jobs import Call, Walk, lines
from tests.comparison.running.processes import coordinator, wait_until, wait_until_gone
from tests.comparison.running.test_executors import contents, values


def done_seeds(root: Path, num_jobs: int) -> set[int]:
    store = Store(root / "store")
    return {seed for seed in range(num_jobs) if store.result(Walk(seed, root / "log.txt")) is not None}


# The latest kill comes before half of the work can be done, so that there are two at least.
@pytest.mark.parametrize(
    ("executor", "num_jobs", "rest", "kills", "latest"),
    [("serial", 6, 0.06, 3, 0.5), ("processes", 6, 0.12, 3, 0.7), ("local", 3, 0.2, 2, 0.8)],
)
def test_killed_at_random_moments_the_store_becomes_the_same_and_nothing_is_done_twice(
    tmp_path, executor, num_jobs, rest, kills, latest
):
    chance, killed = random.Random(executor), 0
    log, store = tmp_path / "log.txt", Store(tmp_path / "store")
    done: set[int] = set()
    while killed < kills:
        before = lines(log)
        with coordinator(tmp_path, executor, num_jobs, rest) as process:
            assert process.stdout.readline() == "started\n"
            time.sleep(chance.uniform(0, latest))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            # Submitit waits a minute for what a killed coordinator did not hand over.
            wait_until_gone(process.pid, 75.0)
        begun = [int(line.split()[0]) for line in lines(log)[len(before) :]]
        assert not done & set(begun), "repeated"
        done = done_seeds(tmp_path, num_jobs)
        if len(done) == num_jobs:
            break
    jobs = [Walk(seed, log, rest=rest) for seed in range(num_jobs)]
    before = lines(log)
    found = run_jobs(jobs, store, executor_of(executor, tmp_path / "cluster"))
    assert sorted(int(line.split()[0]) for line in lines(log)[len(before) :]) == sorted(set(range(num_jobs)) - done)
    whole = Store(tmp_path / "whole")
    assert values(found) == values(run_jobs(jobs, whole, SerialExecutor())) and contents(store) == contents(whole)
    assert killed >= 2 and not list(store.root.rglob("*.tmp"))


def test_killing_the_coordinator_is_not_held_against_the_job(tmp_path):
    for attempt in range(1, 4):
        with coordinator(tmp_path, "processes", 1, rest=60.0) as process:
            wait_until(lambda: len(lines(tmp_path / "log.txt")) == attempt)  # noqa: B023
            process.kill()
            process.wait()
            wait_until_gone(process.pid)
    job, store = Walk(0, tmp_path / "log.txt"), Store(tmp_path / "store")
    assert store.num_deaths(job) == 0 and store.result(job) is None
    assert (store.folder(job) / ".begun.json").exists()


@pytest.mark.parametrize(
    ("executor", "number", "whole_group"),
    [
        ("serial", signal.SIGINT, False),
        ("serial", signal.SIGTERM, False),
        ("processes", signal.SIGINT, False),
        ("processes", signal.SIGINT, True),  # as a terminal does
        ("processes", signal.SIGTERM, False),
        ("local", signal.SIGTERM, False),
        ("local", signal.SIGINT, True),
    ],
)
def test_an_interrupted_comparison_leaves_no_process_and_goes_on_later(tmp_path, executor, number, whole_group):
    log = tmp_path / "log.txt"
    with coordinator(tmp_path, executor, 3, rest=0.3) as process:
        wait_until(lambda: len(lines(log)) >= (1 if executor == "serial" else 2))
        (os.killpg if whole_group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.splitlines()[-1]) == (130, "interrupted"), err
        wait_until_gone(process.pid)
    store, jobs = Store(tmp_path / "store"), [Walk(seed, log) for seed in range(3)]
    assert all(store.result(job) is None and store.num_deaths(job) == 0 for job in jobs)
    assert [result["status"] for result in run_jobs(jobs, store, SerialExecutor()).values()] == ["done"] * 3


def test_an_interruption_is_not_a_crash_of_the_job(tmp_path):
    def interrupt(folder: Path) -> dict:
        raise KeyboardInterrupt

    store, handler = Store(tmp_path / "store"), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([Walk(0, tmp_path / "log", equivalents=2.0), Call("stop", interrupt)], store, SerialExecutor())
    assert store.result(Walk(0, tmp_path / "log"))["status"] == "done"
    assert store.result(Call("stop", interrupt)) is None and signal.getsignal(signal.SIGTERM) is handler
    with store.hold():  # it was let go
        pass

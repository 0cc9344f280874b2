"""Jobs through a scheduler: submitit's real scripts, run by stand-ins for Slurm's commands on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from landscape.comparison.running.cluster import ClusterExecutor
from landscape.comparison.running.job import job_key
from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store
from tests.comparison.running.jobs import Call, Walk, die, lines
from tests.comparison.running.processes import coordinator, group, wait_until, wait_until_gone
from tests.comparison.running.scheduler import install, running
from tests.comparison.running.test_executors import contents, values


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    folder = tmp_path / "scheduler"
    for name, value in install(folder).items():
        monkeypatch.setenv(name, value)
    yield folder
    for leader in running(folder):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def test_an_array_computes_what_serial_runs_do_and_lost_jobs_are_told(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr("landscape.comparison.running.cluster.GRACE", 0.2)

    def kill(folder: Path) -> dict:
        os.write(2, b"no more room\n")
        die()
        return {}

    walks = [Walk(seed, tmp_path / "log") for seed in range(2)]
    store, executor = Store(tmp_path / "slurm", max_attempts=1), ClusterExecutor(tmp_path / "jobs", poll_seconds=0.1)
    *found, killer = run_jobs([*walks, Call("killer", kill)], store, executor).values()
    assert "died once without a word" in killer["error"] and "no more room" in killer["error"]
    expected = run_jobs(walks, Store(tmp_path / "serial"), SerialExecutor())
    assert values(dict(zip(expected, found, strict=True))) == values(expected)
    assert contents(store) == contents(Store(tmp_path / "serial"))
    (script,) = (tmp_path / "jobs").glob("*_submission.sh")
    assert "--array=0-2%3" in script.read_text() and "--cpus-per-task=1" in script.read_text()


def test_a_job_cancelled_by_hand_is_not_submitted_again(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr("landscape.comparison.running.cluster.GRACE", 0.2)

    def cancel(folder: Path) -> dict:
        os.execvp("scancel", ["scancel", "--signal=KILL", os.environ["SLURM_JOB_ID"]])

    seen: list[str] = []
    job, store = Call("cancelled", cancel), Store(tmp_path / "store")
    executor = ClusterExecutor(tmp_path / "jobs", poll_seconds=0.1)
    assert run_jobs([job], store, executor, progress=lambda label, share: seen.append(label)) == {}
    assert seen == ["cancelled"] and store.num_deaths(job) == 0
    assert len(list((tmp_path / "jobs").glob("*_submission.sh"))) == 1


def test_a_preempted_job_is_put_back_in_the_queue_and_goes_on_from_its_folder(tmp_path):
    def preempted_once(folder: Path) -> dict:
        with (folder / "attempts").open("a") as file:
            file.write("x")
        if (folder / "attempts").read_text() == "x":
            os.kill(os.getpid(), signal.SIGUSR2)  # what Slurm sends before it takes the machine away
        return {"attempts": len((folder / "attempts").read_text())}

    executor = ClusterExecutor(tmp_path / "jobs", "local", max_concurrent=1)
    (result,) = run_jobs([Call("preempted", preempted_once)], Store(tmp_path / "store"), executor).values()
    assert result["status"] == "done" and result["value"] == {"attempts": 2}


def test_jobs_outlive_a_killed_coordinator_and_are_adopted_by_the_next_and_cancelled_by_ctrl_c(tmp_path, scheduler):
    log, store = tmp_path / "log.txt", Store(tmp_path / "store")
    with coordinator(tmp_path, "slurm", 2, rest=0.5) as process:
        wait_until(lambda: len(lines(log)) == 2)
        process.kill()
        wait_until_gone(process.pid)
    assert len(running(scheduler)) == 2
    walks = [Walk(seed, log) for seed in range(2)]
    executor = ClusterExecutor(tmp_path / "cluster", poll_seconds=0.1)
    run_jobs([Walk(7, log)], Store(tmp_path / "other"), SerialExecutor())
    found = run_jobs(walks, store, executor)
    assert [result["status"] for result in found.values()] == ["done", "done"]
    assert sorted(lines(log)) == ["0 begun", "1 begun", "7 begun"], "nothing was run twice"

    with coordinator(tmp_path, "slurm", 4, rest=60.0) as process:
        wait_until(lambda: len(lines(log)) == 5)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0].splitlines()[-1] == "interrupted"
    wait_until(lambda: not any(group(leader) for leader in running(scheduler)))
    assert all(store.result(Walk(seed, log)) is None for seed in (2, 3))


def test_ctrl_c_while_jobs_are_submitted_leaves_none_of_them(tmp_path, scheduler, monkeypatch):
    monkeypatch.setenv("SCHEDULER_INTERRUPTS", "1")
    store, walks = Store(tmp_path / "store"), [Walk(seed, tmp_path / "log.txt", rest=60.0) for seed in range(2)]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(walks, store, ClusterExecutor(tmp_path / "jobs", poll_seconds=0.1))
    assert len(list(scheduler.glob("*.state"))) == 2, "they had been submitted"
    wait_until(lambda: not any(group(leader) for leader in running(scheduler)))
    assert set(json.loads((tmp_path / "jobs" / "submitted.json").read_bytes())) == {job_key(walk) for walk in walks}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

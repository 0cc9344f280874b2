"""All executors do the same; jobs may fail, die, and hold functions of no name."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from landscape.comparison.running.cluster import ClusterExecutor
from landscape.comparison.running.job import job_key
from landscape.comparison.running.processes import ProcessExecutor
from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store, StoreError
from tests.comparison.running.jobs import Call, Walk, die, lines, note

NAMES = ["serial", "processes", "one-process", "local"]


def executor_of(name: str, folder: Path):
    return {
        "serial": SerialExecutor(),
        "processes": ProcessExecutor(2),
        "one-process": ProcessExecutor(1),
        "local": ClusterExecutor(folder / "cluster", "local", max_concurrent=2),
    }[name]


def contents(store: Store) -> dict[str, str]:
    """Every file of every job, and how it ended without the clock."""
    files = {str(path.relative_to(store.root)): path for path in store.root.glob("[!.]*/*")}
    return {name: path.read_text() for name, path in files.items() if path.name != "result.json"}


def values(results: dict) -> str:
    return repr({key: result["value"] for key, result in results.items()})


@pytest.mark.parametrize("name", NAMES[1:])
def test_all_executors_compute_the_same(tmp_path, name):
    jobs = [Walk(seed, tmp_path / "log") for seed in range(3)]
    expected = run_jobs(jobs, Store(tmp_path / "serial"), SerialExecutor())
    found = run_jobs(jobs, Store(tmp_path / name), executor_of(name, tmp_path))
    assert values(found) == values(expected) and contents(Store(tmp_path / name)) == contents(
        Store(tmp_path / "serial")
    )
    assert len(contents(Store(tmp_path / name))) == 9 and sorted(lines(tmp_path / "log")) == sorted(
        2 * [f"{n} begun" for n in range(3)]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_crash_is_kept_with_its_traceback_and_the_others_go_on(tmp_path, name):
    offset, log = 5, tmp_path / "log"

    def fail(folder: Path) -> dict:
        note(log, "tried")
        raise ArithmeticError("a reason")

    jobs = [Call("bad", fail), Call("local", lambda folder: {"value": offset + 1})]
    if name != "local":  # there, an exit may be submitit's requeueing
        jobs.append(Call("exit", lambda folder: sys.exit(3)))
    store, seen = Store(tmp_path / "store"), []
    results = run_jobs(jobs, store, executor_of(name, tmp_path), progress=lambda *step: seen.append(step))
    bad, good, *exits = results.values()
    assert bad["status"] == "crashed" and "ArithmeticError: a reason" in bad["error"] and "in fail" in bad["error"]
    assert good == {"status": "done", "value": {"value": 6}, "seconds": good["seconds"]}
    assert all("SystemExit: 3" in each["error"] for each in exits)
    assert sorted(label for label, _ in seen) == sorted(job.label for job in jobs) and seen[-1][1] == 1.0

    assert run_jobs(jobs, store, SerialExecutor()) == results and lines(log) == ["tried"]
    again = run_jobs(jobs, store, SerialExecutor(), retry=True)
    assert lines(log) == ["tried", "tried"] and again[job_key(jobs[1])] == good


def test_a_job_that_kills_its_worker_costs_the_others_nothing(tmp_path):
    log = tmp_path / "log"

    def kill(folder: Path) -> dict:
        note(log, "killer")
        die()
        return {}

    def once(folder: Path) -> dict:
        if not (folder / "been here").exists():
            (folder / "been here").touch()
            die()
        return {"times": 2}

    jobs = [Call("killer", kill, 9.0), Call("once", once, 8.0), *(Walk(seed, log, rest=0.02) for seed in range(5))]
    store = Store(tmp_path / "store")
    killer, twice, *walks = run_jobs(jobs, store, ProcessExecutor(2)).values()
    assert killer["status"] == "crashed" and "died 3 times without a word: out of memory?" in killer["error"]
    assert lines(log).count("killer") == 3
    assert twice["value"] == {"times": 2} and all(walk["status"] == "done" for walk in walks)
    assert not list(store.root.glob("*/.*.json"))


def test_a_job_lost_on_the_cluster_is_tried_again_and_its_last_words_are_kept(tmp_path):
    def kill(folder: Path) -> dict:
        os.write(2, b"no more room\n")
        die()
        return {}

    jobs = [Call("killer", kill), Walk(0, tmp_path / "log")]
    killer, walk = run_jobs(jobs, Store(tmp_path, max_attempts=2), executor_of("local", tmp_path)).values()
    assert "died 2 times" in killer["error"] and killer["error"].endswith("no more room") and walk["status"] == "done"


def test_workers_have_one_thread_and_no_ear_for_ctrl_c(tmp_path):
    def look(folder: Path) -> dict:
        import signal

        import torch

        deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return {
            "threads": torch.get_num_threads(),
            "omp": os.environ["OMP_NUM_THREADS"],
            "deaf": deaf,
            "pid": os.getpid(),
        }

    (result,) = run_jobs([Call("look", look)], Store(tmp_path), ProcessExecutor(2)).values()
    assert result["value"]["pid"] != os.getpid()
    assert {**result["value"], "pid": 0} == {"threads": 1, "omp": "1", "deaf": True, "pid": 0}


def test_pools_that_break_before_any_job_begins_are_given_up(tmp_path):
    class Poisonous:
        def __reduce__(self):
            return os._exit, (1,)

    poison = Poisonous()
    with pytest.raises(StoreError, match=r"died 3 times before they began any of 1 jobs.*SerialExecutor"):
        run_jobs([Call("poisonous", lambda folder: poison)], Store(tmp_path), ProcessExecutor(2))


def test_jobs_run_outside_the_main_thread(tmp_path):
    found = []
    jobs = [Walk(seed, tmp_path / "log") for seed in range(2)]
    thread = threading.Thread(
        target=lambda: found.append(run_jobs(jobs, Store(tmp_path / "store"), ProcessExecutor(2)))
    )
    thread.start()
    thread.join()
    assert [result["status"] for result in found[0].values()] == ["done", "done"]


def test_jobs_of_one_identity_run_once_and_shares_grow_with_the_cost(tmp_path):
    log, seen = tmp_path / "log", []
    jobs = [Walk(0, log, equivalents=1.0), Walk(1, log, equivalents=3.0), Walk(0, log, equivalents=1.0)]
    results = run_jobs(jobs, Store(tmp_path / "store"), SerialExecutor(), progress=lambda *step: seen.append(step))
    assert list(results) == [job_key(job) for job in jobs[:2]] and lines(log) == ["1 begun", "0 begun"]
    assert seen == [("walk 1", 0.75), ("walk 0", 1.0)]
    run_jobs(jobs[:1], Store(tmp_path / "store"), SerialExecutor(), progress=lambda *step: seen.append(step))
    assert seen[2:] == [("done earlier", 1.0)]


@pytest.mark.parametrize("equivalents", [0.0, 1e-300])
def test_jobs_that_cost_nothing_still_have_shares(tmp_path, equivalents):
    seen = []
    jobs = [Walk(seed, tmp_path / "log", equivalents=equivalents) for seed in range(2)]
    run_jobs(jobs, Store(tmp_path / "store"), SerialExecutor(), progress=lambda _, share: seen.append(share))
    assert seen == [0.5, 1.0]


def test_no_jobs_are_no_work(tmp_path):
    for name in NAMES:
        assert run_jobs([], Store(tmp_path), executor_of(name, tmp_path)) == {}


def test_wrong_settings_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="num_processes is 0"):
        ProcessExecutor(0)
    with pytest.raises(ValueError, match="cluster is 'slrum'"):
        ClusterExecutor(tmp_path, "slrum")
    with pytest.raises(ValueError, match="max_concurrent is 0"):
        ClusterExecutor(tmp_path, "local", max_concurrent=0)
    with pytest.raises(ValueError, match="max_attempts is 0"):
        Store(tmp_path, max_attempts=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no srun here.*ProcessExecutor"):
        run_jobs([Walk(0, tmp_path / "log")], Store(tmp_path), ClusterExecutor(tmp_path, "slurm"))

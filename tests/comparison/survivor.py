"""Runs a comparison in child processes, kills them at random, and lets the next one go on.

A script of its own: it forks, which a test worker with threads must not do. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

import landscape as ls
from landscape.comparison.running.processes import ProcessExecutor
from landscape.comparison.running.serial import SerialExecutor
from tests.comparison.running.processes import wait_until_gone
from tests.comparison.small import MINI_BATCHES, classes, content, results

POLICIES = [
    "gradient-norm-peak",
    "monotone-gradient",
    "loss-plateau:window=5",
    "race",
    "eigenvalue-ratio",
    "pflug-test",
]
#: Exits of a child.
DONE, STOPPED, FAILED = 0, 3, 1
PATIENCE = 240.0


def compare(store: Path, num_processes: int) -> dict[str, object]:
    """As a user would: everything but the seconds."""
    found = ls.compare(
        classes,
        policies=POLICIES,
        finishers=("cg", "adam-cosine"),
        controls="newton-cg",
        seeds=2,
        budget=30,
        first=MINI_BATCHES,
        grid=[0, 8],
        store=store,
        executor=SerialExecutor() if num_processes == 1 else ProcessExecutor(num_processes),
    )
    return {"markdown": found.to_markdown(), "content": content(found)}


def start(store: Path, num_processes: int) -> int:
    """Fork a process, in a group of its own, so that its workers can be found."""
    pid = os.fork()
    os.setpgid(pid, pid)  # by both, whoever comes first
    if pid:
        return pid
    try:
        (store / "printed.json").write_text(json.dumps(compare(store, num_processes)))
        os._exit(DONE)
    except KeyboardInterrupt:
        os._exit(STOPPED)
    except BaseException:
        traceback.print_exc()
        os._exit(FAILED)


def wait_for(store: Path, count: int, pid: int) -> None:
    """Until so many results are there."""
    end = time.monotonic() + PATIENCE
    while len(results(store)) < count:
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it ended too early"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def finish(store: Path, num_processes: int) -> dict[str, object]:
    """Go on to the end."""
    pid = start(store, num_processes)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == DONE
    return dict(json.loads((store / "printed.json").read_text()))


def killed(store: Path, num_processes: int, num_jobs: int, kills: int, pause: float) -> int:
    """Kill it at random moments: every second time without its workers, which then have to notice by themselves.

    Gives the number of kills that left something to be done.
    """
    chance = random.Random(num_processes)
    kept: dict[str, bytes] = {}
    unfinished = 0
    for attempt, count in enumerate(sorted(chance.sample(range(num_jobs * 2 // 3), kills))):
        if len(kept) == num_jobs:
            break
        pid = start(store, num_processes)
        wait_for(store, max(count, len(kept)), pid)
        time.sleep(chance.uniform(0, pause))
        (os.kill if attempt % 2 else os.killpg)(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it ended before it was killed"
        now = results(store)
        assert kept.items() <= now.items(), "what was done has been done again"
        kept = now
        unfinished += len(kept) < num_jobs
    return unfinished


def interrupted(store: Path, num_processes: int) -> float:
    """Stop it as a terminal does, all processes at once; seconds until they were gone."""
    pid = start(store, num_processes)
    wait_for(store, 3, pid)
    began = time.monotonic()
    os.killpg(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == STOPPED
    seconds = time.monotonic() - began
    wait_until_gone(pid, PATIENCE / 4)  # the pool's own housekeeper goes when it sees that nobody is left
    return seconds


def main(root: Path) -> dict[str, object]:
    torch.set_num_threads(1)
    stores = {name: root / name for name in ("whole", "killed-1", "killed-2")}
    for store in stores.values():
        store.mkdir()
    began = time.monotonic()
    whole = finish(stores["whole"], 1)
    duration = time.monotonic() - began
    jobs = results(stores["whole"])
    found: dict[str, object] = {"jobs": len(jobs), "whole": duration}
    for num_processes, kills in ((1, 6), (2, 2)):
        store = stores[f"killed-{num_processes}"]
        found[f"stopped-{num_processes}"] = interrupted(store, num_processes)
        before = results(store)
        found[f"kills-{num_processes}"] = killed(store, num_processes, len(jobs), kills, duration / len(jobs))
        printed = finish(store, num_processes)
        now = results(store)
        assert before.items() <= now.items() and now.keys() == jobs.keys()
        found[f"same-{num_processes}"] = printed == whole
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")

"""A comparison as a process of its own, to be killed: prints a line when it has the store, and one when it is done."""

from __future__ import annotations

import sys
from pathlib import Path

from landscape.comparison.running.cluster import ClusterExecutor
from landscape.comparison.running.executor import Executor
from landscape.comparison.running.processes import ProcessExecutor
from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store
from tests.comparison.running.jobs import Walk


def executor_of(name: str, folder: Path) -> Executor:
    if name == "serial":
        return SerialExecutor()
    if name == "processes":
        return ProcessExecutor(2)
    return ClusterExecutor(folder, "local" if name == "local" else "slurm", max_concurrent=2, poll_seconds=0.1)


def main(root: Path, name: str, num_jobs: int, rest: float) -> None:
    jobs = [Walk(seed, root / "log.txt", rest=rest, equivalents=1.0 + seed) for seed in range(num_jobs)]
    store = Store(root / "store")
    print("started", flush=True)  # noqa: T201
    try:
        run_jobs(jobs, store, executor_of(name, root / "cluster"))
    except KeyboardInterrupt:
        print("interrupted", flush=True)  # noqa: T201
        sys.exit(130)
    print("done", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

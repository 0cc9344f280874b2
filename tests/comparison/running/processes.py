"""Looks after the processes that a test has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def coordinator(root: Path, executor: str, num_jobs: int, rest: float) -> Iterator[subprocess.Popen[str]]:
    """Start a comparison with a process group of its own, of which nothing is left afterwards."""
    command = [sys.executable, "-W", "error", "-m", "tests.comparison.running.coordinator"]
    process = subprocess.Popen(
        [*command, str(root), executor, str(num_jobs), str(rest)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group(leader: int) -> list[str]:
    """The living processes of a group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,pid=,args="], capture_output=True, text=True, check=True)
    found = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [args for pgid, stat, args in found if int(pgid) == leader and not stat.startswith("Z")]


def wait_until_gone(leader: int, seconds: float = 20.0) -> None:
    """Wait until no process of a group lives."""
    deadline = time.monotonic() + seconds
    while left := group(leader):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)

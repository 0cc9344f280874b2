"""What happens in the process that runs a job."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import filelock

from landscape.comparison.running.job import Job, job_key
from landscape.comparison.running.store import Store

#: How often a worker asks whether its coordinator lives, in seconds.
PATIENCE = 0.25
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_watching = threading.Event()


def run_one(job: Job, store_root: Path | str, coordinator: str | None = None, exits_crash: bool = True) -> str:
    """Run a job and keep what comes of it, a result or the text of an error.

    Parameters
    ----------
    job : Job
        What to run.
    store_root : Path or str
        Where to keep it.
    coordinator : str, optional
        The name of the coordinator that has it run, when that is on this machine: the job is then locked while it runs, and
        marked as begun. Without it, somebody else (a cluster's scheduler) has to see that it runs once.
    exits_crash : bool
        Whether ``sys.exit`` in a job is a crash of it. A cluster's requeueing exits, and must be let through.

    Returns
    -------
    str
        The job's key. The outcome is in the store.

    Raises
    ------
    KeyboardInterrupt
        If the user stops it: that is not the job's fault and leaves no result.
    OSError
        If the outcome cannot be written.
    """
    store = Store(store_root)
    with store.claim(job, coordinator) if coordinator is not None else contextlib.nullcontext():
        if store.result(job) is None:  # a worker whose coordinator was killed may just have ended it
            _run(job, store, (Exception, SystemExit) if exits_crash else (Exception,))
    return job_key(job)


def _run(job: Job, store: Store, crashes: tuple[type[BaseException], ...]) -> None:
    folder = store.folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        value = job.run(folder)
        store.write(job, value, time.monotonic() - started)
    except crashes:
        store.write_crash(job, traceback.format_exc(), time.monotonic() - started)


def prepare_worker(store_root: Path, coordinator: str) -> None:
    """Make this process a good worker: one thread, deaf to Ctrl-C, and not to outlive its coordinator.

    Ctrl-C reaches every process of a terminal at once; the coordinator handles it and stops its workers.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_threads(1)
    leave_with_coordinator(store_root, coordinator)


def use_threads(number: int) -> None:
    """Have this process compute with so many threads, whether torch has been imported yet or will be."""
    os.environ.update(dict.fromkeys(_THREADS, str(number)))
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(number)


def leave_with_coordinator(store_root: Path, coordinator: str) -> None:
    """End this process soon after the coordinator's, however that ends; works across processes in between."""
    if _watching.is_set():
        return
    _watching.set()
    path = Store(store_root).coordinator_file(coordinator)
    threading.Thread(target=_watch, args=(path,), name="coordinator-watch", daemon=True).start()


def _watch(path: Path) -> None:
    """Exit when the coordinator's lock can be had: the operating system releases it when that process is gone."""
    lock = filelock.FileLock(path)
    while path.exists():
        try:
            lock.acquire(timeout=0)
            break
        except OSError:  # held (a timeout is one), or the file system stumbled
            time.sleep(PATIENCE)
    os._exit(1)  # files are written whole or not at all, so nothing half-done stays

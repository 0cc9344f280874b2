"""Jobs on a cluster, through its scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from landscape.comparison.running.executor import Finished, finished
from landscape.comparison.running.interrupts import deferred_interrupts
from landscape.comparison.running.job import Job, job_key, largest_first
from landscape.comparison.running.store import Store
from landscape.comparison.running.worker import leave_with_coordinator, run_one, use_threads
from landscape.files import write_atomically

#: Schedulers refuse larger arrays (MaxArraySize is 1001 unless an administrator raised it).
MAX_ARRAY = 1000
#: A result written on one machine may take a while to be seen on another, in seconds.
GRACE = 30.0
#: What Slurm calls a job that will still run, or does.
ALIVE = frozenset({"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "RESIZING", "SUSPENDED", "PREEMPTED"})
_DAY = 24 * 60


class ClusterExecutor:
    """Runs jobs through Slurm, in one array, by submitit.

    Parameters
    ----------
    folder : Path or str
        For submitit's scripts and the jobs' standard streams; like the store, it must be seen by all machines.
    cluster : {"slurm", "local"}
        ``"local"`` starts the same processes on this machine, without a scheduler, to try things out.
    max_concurrent : int, optional
        How many jobs run at a time. Default: as many as Slurm grants, or one a core locally.
    poll_seconds : float, optional
        How often the jobs are looked after. Default: 5, or 0.1 locally.
    **parameters
        For submitit: ``timeout_min`` (default: one day), ``cpus_per_task`` (default: 1; as many threads are used), ``mem_gb``,
        ``slurm_partition``, ...

    Raises
    ------
    ValueError
        If ``cluster`` is none of these, or ``max_concurrent`` less than 1.

    Notes
    -----
    A job that is lost (its machine or its memory went away) is submitted again, and counts as crashed with the end of its
    standard error when that has happened too often; one whose time is up, or that is preempted, is put back in the queue by
    submitit, and goes on from what is in its folder. Jobs that somebody cancels by hand are not submitted again.

    If the coordinator is killed, the jobs go on; the next coordinator with the same ``folder`` waits for them instead of
    submitting them twice. Ctrl-C cancels them. Local jobs end within a second of their coordinator; only a process that
    was being submitted when the coordinator was killed stays for a minute, without beginning its job.
    """

    def __init__(
        self,
        folder: Path | str,
        cluster: Literal["slurm", "local"] = "slurm",
        max_concurrent: int | None = None,
        poll_seconds: float | None = None,
        **parameters: Any,
    ) -> None:
        if cluster not in ("slurm", "local"):
            raise ValueError(f"cluster is {cluster!r}; needed is 'slurm' or 'local'.")
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError(f"max_concurrent is {max_concurrent}; needed is at least 1, or None.")
        self.folder = Path(folder)
        self.cluster = cluster
        self.max_concurrent = max_concurrent
        self.poll_seconds = poll_seconds if poll_seconds is not None else (0.1 if cluster == "local" else 5.0)
        self.parameters = {"timeout_min": _DAY, "cpus_per_task": 1, **parameters}

    def __repr__(self) -> str:
        return f"ClusterExecutor({str(self.folder)!r}, cluster={self.cluster!r})"

    def execute(self, jobs: Iterable[Job], store: Store) -> Generator[Finished, None, None]:
        """Run jobs; see :class:`landscape.comparison.running.executor.Executor`.

        Raises
        ------
        RuntimeError
            If there is no Slurm on this machine.
        """
        queue = largest_first(jobs)
        if not queue:
            return
        batch = _Batch(self, store, queue)
        batch.adopt()
        try:
            while batch.queue or batch.running:
                batch.submit()
                yield from batch.collect()
                if batch.running:
                    time.sleep(self.poll_seconds)
        finally:
            batch.cancel()

    @property
    def width(self) -> int:
        """How many jobs may be handed over at a time; Slurm keeps the limit for arrays itself."""
        return (self.max_concurrent or os.cpu_count() or 1) if self.cluster == "local" else MAX_ARRAY

    def submitter(self) -> Any:
        """A submitit executor with all parameters set."""
        import submitit

        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise RuntimeError(
                "cluster='slurm' needs Slurm's commands (srun, sbatch, sacct, scancel), but there is no srun here. Start this "
                "on a login node of the cluster, or use ProcessExecutor(num_processes) on this machine."
            )
        submitter = submitit.AutoExecutor(self.folder.absolute(), cluster=self.cluster)
        submitter.update_parameters(**self.parameters)
        if self.cluster == "slurm":
            submitter.update_parameters(slurm_array_parallelism=self.max_concurrent or MAX_ARRAY)
        return submitter


class _Task:
    """What submitit pickles and runs on the other side."""

    def __init__(self, job: Job, store_root: Path, coordinator: str | None, num_threads: int) -> None:
        self.job = job
        self.store_root = store_root
        self.coordinator = coordinator
        self.num_threads = num_threads

    def __call__(self) -> str:
        use_threads(self.num_threads)
        if self.coordinator is not None:
            leave_with_coordinator(self.store_root, self.coordinator)
        return run_one(self.job, self.store_root, self.coordinator, exits_crash=False)

    def checkpoint(self) -> Any:
        """Be put back in the queue when the time is up; the job goes on from its folder."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class _Batch:
    """Jobs that wait to be submitted, and those that have been."""

    def __init__(self, executor: ClusterExecutor, store: Store, queue: list[Job]) -> None:
        self.queue = queue
        self.running: dict[str, tuple[Job, Any]] = {}
        self._submitter = executor.submitter()
        self._local = executor.cluster == "local"
        self._width = executor.width
        self._num_threads = int(executor.parameters["cpus_per_task"])
        self._register_file = executor.folder / "submitted.json"
        self._register: dict[str, str] = {}
        self._store = store
        self._ended_at: dict[str, float] = {}

    def adopt(self) -> None:
        """Take over what an earlier coordinator submitted and the scheduler still has; locally, such jobs have ended."""
        if self._local:
            return
        import submitit

        with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged one is as good as none
            self._register = dict(json.loads(self._register_file.read_bytes()))
        candidates: list[tuple[Job, Any]] = [
            (job, submitit.SlurmJob(self._submitter.folder, self._register[job_key(job)]))
            for job in self.queue
            if job_key(job) in self._register
        ]
        for index, (job, submitted) in enumerate(candidates):
            state = submitted.get_info(mode="cache" if index else "force").get("State", "")  # one question tells of all
            if state.split(" ")[0] in ALIVE:
                self.running[job_key(job)] = (job, submitted)
                self.queue.remove(job)

    def submit(self) -> None:
        """Hand over as many jobs as there is room for."""
        room = self._width - len(self.running) if self._local else self._width
        jobs, self.queue = self.queue[: max(room, 0)], self.queue[max(room, 0) :]
        if not jobs:
            return
        coordinator = self._store.coordinator if self._local else None
        tasks = [_Task(job, self._store.root.absolute(), coordinator, self._num_threads) for job in jobs]
        with deferred_interrupts():  # jobs that nobody knows of would not be cancelled, and be run twice
            for job, submitted in zip(jobs, self._submitter.submit_array(tasks), strict=True):
                self.running[job_key(job)] = (job, submitted)
                self._register[job_key(job)] = submitted.job_id
            write_atomically(self._register_file, json.dumps(self._register).encode())

    def collect(self) -> Iterator[Finished]:
        """Tell of those that have ended, and queue again those that were lost."""
        for key, (job, submitted) in list(self.running.items()):
            ended = submitted.done()
            if self._store.result(job) is not None and (ended or not self._local):
                del self.running[key]
                yield finished(job, self._store)
            elif ended and self._waited_enough(key):
                del self.running[key], self._ended_at[key]
                yield from self._lose(job, submitted)

    def _waited_enough(self, key: str) -> bool:
        since = self._ended_at.setdefault(key, time.monotonic())
        return self._local or time.monotonic() - since > GRACE

    def _lose(self, job: Job, submitted: Any) -> Iterator[Finished]:
        words = _tail(submitted)
        if submitted.state.upper().startswith("CANCELLED"):
            yield Finished(job, f"somebody cancelled it on the cluster (job {submitted.job_id}).", float("nan"))
        elif self._store.record_death(job, words):
            yield finished(job, self._store)
        else:
            self.queue.append(job)

    def cancel(self) -> None:
        """Stop everything that has not ended."""
        submitted = [each for _, each in self.running.values()]
        if self._local:  # these are our children
            for each in submitted:
                with contextlib.suppress(OSError):  # it ended in this moment
                    each.cancel(check=False)
            while not all(each.done() for each in submitted):
                time.sleep(0.05)
        elif submitted:
            numbers = [each.job_id for each in submitted]
            # Nothing more begins; then nothing goes on. Submitit's processes ignore the gentle signal for half a minute, in
            # which somebody might have the same jobs run again.
            subprocess.run(["scancel", *numbers], check=False)
            subprocess.run(["scancel", "--signal=KILL", *numbers], check=False, stderr=subprocess.DEVNULL)
        self.running.clear()


def _tail(submitted: Any, num_lines: int = 40) -> str:
    """The end of what a job wrote to its standard error."""
    lines = (submitted.stderr() or "").splitlines()
    return "\n".join(lines[-num_lines:])

"""Run what has not been run yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from typing import Any

from landscape.comparison.running.executor import Executor
from landscape.comparison.running.interrupts import termination_interrupts
from landscape.comparison.running.job import Job, job_key, largest_first
from landscape.comparison.running.store import Store

#: What progress is told instead of a label when it is of work that was there already.
EARLIER = "done earlier"
#: Takes the label of the job that has ended, and the share of the work that is done, 0 to 1.
Progress = Callable[[str, float], None]


def run_jobs(
    jobs: Iterable[Job], store: Store, executor: Executor, progress: Progress | None = None, retry: bool = False
) -> dict[str, dict[str, Any]]:
    """Run those of the jobs that the store does not hold, and give the results of all.

    Parameters
    ----------
    jobs : iterable of Job
        Independent of each other. Jobs of equal identity are run once.
    store : Store
        Where results are kept; another process that holds it is refused.
    executor : Executor
        How to run them.
    progress : callable, optional
        Called with a label and the share of the gradient equivalents that is done, whenever a job ends, and once at the
        beginning if some were there already.
    retry : bool
        Whether jobs that crashed earlier are run again.

    Returns
    -------
    dict
        By key, in the order given; see :meth:`landscape.comparison.running.store.Store.result`. Jobs that crashed are there
        with ``status`` ``"crashed"``. A job is missing only if somebody cancelled it on the cluster.

    Raises
    ------
    StoreError
        If another process holds the store, or it holds something foreign.
    KeyboardInterrupt
        On Ctrl-C or a termination signal, after all workers have been stopped. What was done is kept; running the same jobs
        again goes on from there.

    Examples
    --------
    >>> import dataclasses, tempfile
    >>> from landscape.comparison.running.serial import SerialExecutor
    >>> @dataclasses.dataclass(frozen=True)
    ... class Square:
    ...     number: int
    ...     kind = "square"
    ...     equivalents = 1.0
    ...
    ...     @property
    ...     def label(self):
    ...         return f"the square of {self.number}"
    ...
    ...     @property
    ...     def identity(self):
    ...         return {"number": self.number}
    ...
    ...     def run(self, folder):
    ...         return {"square": self.number**2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = run_jobs([Square(3), Square(4)], Store(folder), SerialExecutor(), progress=print)
    the square of 3 0.5
    the square of 4 1.0
    >>> [result["value"] for result in results.values()]
    [{'square': 9}, {'square': 16}]
    """
    by_key = {job_key(job): job for job in jobs}
    largest_first(by_key.values())  # refuses impossible estimates before any work
    with termination_interrupts(), store.hold():
        results = {key: store.result(job) for key, job in by_key.items()}
        if retry:
            for key, job in by_key.items():
                if (results[key] or {}).get("status") == "crashed":
                    store.discard(job)
                    results[key] = None
        missing = [job for key, job in by_key.items() if results[key] is None]
        meter = _Meter(by_key.values(), missing)
        if progress is not None and len(missing) < len(by_key):
            progress(EARLIER, meter.share)
        with closing(executor.execute(missing, store)) as ended:
            for finished in ended:
                results[job_key(finished.job)] = store.result(finished.job)
                meter.count(finished.job)
                if progress is not None:
                    progress(finished.job.label, meter.share)
    return {key: result for key, result in results.items() if result is not None}


class _Meter:
    """The share of the gradient equivalents that is done; of the jobs, if none of them costs any."""

    def __init__(self, jobs: Collection[Job], missing: Collection[Job]) -> None:
        self._by_cost = any(job.equivalents for job in jobs)
        self._total = math.fsum(map(self._weight, jobs))
        self._missing = {job_key(job): self._weight(job) for job in missing}

    def _weight(self, job: Job) -> float:
        return job.equivalents if self._by_cost else 1.0

    def count(self, job: Job) -> None:
        del self._missing[job_key(job)]

    @property
    def share(self) -> float:
        left = math.fsum(self._missing.values())
        return 1.0 - left / self._total if self._total else 1.0

"""Jobs in many processes of this machine."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing

from landscape.comparison.running.executor import Finished, finished
from landscape.comparison.running.job import Job, job_key, largest_first
from landscape.comparison.running.store import Store, StoreError
from landscape.comparison.running.worker import prepare_worker, run_one

#: How many pools in a row may break before any of their workers has begun a job.
MAX_EARLY_BREAKS = 3


class ProcessExecutor:
    """Runs jobs in worker processes of one thread each, which live as long as there are jobs.

    When a worker dies, it takes the pool with it. The pool is made anew, and the jobs that were running are run again,
    last and alone: the guilty one then shows itself, and a job that wanted all of the memory gets it.

    Parameters
    ----------
    num_processes : int
        How many jobs run at a time.

    Raises
    ------
    ValueError
        If it is less than 1.

    Notes
    -----
    Jobs reach the workers through cloudpickle, so lambdas and local functions in them are fine. Workers end within a
    second of their coordinator, however that ends.
    """

    def __init__(self, num_processes: int) -> None:
        if num_processes < 1:
            raise ValueError(f"num_processes is {num_processes}; needed is at least 1.")
        self.num_processes = num_processes

    def __repr__(self) -> str:
        return f"ProcessExecutor({self.num_processes})"

    def execute(self, jobs: Iterable[Job], store: Store) -> Generator[Finished, None, None]:
        """Run jobs; see :class:`landscape.comparison.running.executor.Executor`.

        Raises
        ------
        StoreError
            If pools break again and again before a job is even begun.
        """
        waiting = {job_key(job): job for job in largest_first(jobs)}
        suspected = {key for key, job in waiting.items() if store.num_deaths(job)}
        early_breaks = 0
        while waiting:
            together = [key for key in waiting if key not in suspected]
            batch = together or [next(iter(waiting))]
            try:
                with closing(self._run([waiting[key] for key in batch], store)) as ended:
                    for key in ended:
                        yield finished(waiting.pop(key), store)
            except BrokenProcessPool as error:
                before = len(waiting)
                unseen = [key for key in batch if key in waiting and store.result(waiting[key]) is not None]
                yield from (finished(waiting.pop(key), store) for key in unseen)
                begun = [key for key in batch if key in waiting and store.is_begun(waiting[key])]
                suspected.update(begun)
                fatal = [key for key in begun if store.record_death(waiting[key])]
                yield from (finished(waiting.pop(key), store) for key in fatal)
                early_breaks = 0 if begun or len(waiting) < before else early_breaks + 1
                if early_breaks == MAX_EARLY_BREAKS:
                    raise StoreError(
                        f"worker processes died {early_breaks} times before they began any of {len(waiting)} jobs. Run one "
                        "with SerialExecutor() to see why; often a job's class cannot be imported in another process."
                    ) from error

    def _run(self, jobs: list[Job], store: Store) -> Generator[str, None, None]:
        """Run jobs in a pool of their own; when this ends, in any way, all workers are gone."""
        import joblib  # type: ignore[import-untyped]
        from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

        root, coordinator = store.root.absolute(), store.coordinator
        task = joblib.delayed(functools.partial(run_one, store_root=root, coordinator=coordinator))
        with joblib.parallel_config(
            backend="loky", inner_max_num_threads=1, initializer=prepare_worker, initargs=(root, coordinator)
        ):
            pool = joblib.Parallel(
                # With one, joblib would run the jobs right here; one at a time is what pre_dispatch is for.
                n_jobs=max(2, self.num_processes),
                pre_dispatch=self.num_processes,
                batch_size=1,
                return_as="generator_unordered",
                max_nbytes=None,  # arrays in jobs stay arrays that can be written to
            )
        try:
            with closing(pool(task(job) for job in jobs)) as ended:
                yield from ended
        finally:
            get_reusable_executor(reuse=True, kill_workers=True).shutdown(wait=True, kill_workers=True)

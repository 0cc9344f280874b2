"""Jobs one after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from landscape.comparison.running.executor import Finished, finished
from landscape.comparison.running.job import Job, largest_first
from landscape.comparison.running.store import Store
from landscape.comparison.running.worker import run_one


class SerialExecutor:
    """Runs jobs here, one at a time, so that a debugger can see them.

    A job that kills its process kills the whole comparison, which is then for the user to see; it is not counted. Torch
    uses as many threads as the caller has set: with ``torch.set_num_threads(1)``, results are those of other executors.
    """

    def __repr__(self) -> str:
        return "SerialExecutor()"

    def execute(self, jobs: Iterable[Job], store: Store) -> Generator[Finished, None, None]:
        """Run jobs; see :class:`landscape.comparison.running.executor.Executor`."""
        coordinator = store.coordinator
        for job in largest_first(jobs):
            run_one(job, store.root, coordinator)
            yield finished(job, store)

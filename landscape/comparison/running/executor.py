"""What everything that runs jobs has in common."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol

from landscape.comparison.running.job import Job
from landscape.comparison.running.store import Store, StoreError


@dataclass(frozen=True)
class Finished:
    """A job that has ended.

    Attributes
    ----------
    job : Job
        Which one.
    error : str or None
        Why it crashed, if it did.
    seconds : float
        How long it took, NaN if its process died.
    """

    job: Job
    error: str | None
    seconds: float

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.job.label}: done in {self.seconds:.1f} s"
        return f"{self.job.label}: {self.error.strip().splitlines()[-1]}"


class Executor(Protocol):
    """Something that runs jobs."""

    def execute(self, jobs: Iterable[Job], store: Store) -> Generator[Finished, None, None]:
        """Run jobs that depend on nothing but what is in the store already.

        Parameters
        ----------
        jobs : iterable of Job
            Each once.
        store : Store
            Held by this process; the outcomes are written to it.

        Yields
        ------
        Finished
            One for each job, as it ends, in any order. Closing the iterator stops whatever is running.
        """


def finished(job: Job, store: Store) -> Finished:
    """Tell how a job ended, from what is in the store.

    Raises
    ------
    StoreError
        If there is nothing.
    """
    result = store.result(job)
    if result is None:
        raise StoreError(
            f"{job.label} ended, but left no result in {store.folder(job)}. Check that the disk is sound and that nobody else "
            "writes there, and run it again."
        )
    return Finished(job, result.get("error"), result["seconds"])

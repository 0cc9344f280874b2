"""Where finished jobs are kept: each in a folder named by its content, done once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from landscape.comparison.running.job import Job, canonical, job_key, plain_identity
from landscape.comparison.running.plain import decode, encode
from landscape.files import TEMPORARY_SUFFIX, write_atomically

FORMAT = "landscape-job"
VERSION = 1


class StoreError(OSError):
    """A store that cannot be used, or a folder in it that belongs to something else."""


class StoreWarning(UserWarning):
    """Something in a store is damaged and will be computed again."""


class Store:
    """Results of jobs as files, found again by what decided them.

    Each job has a folder ``root/<key>/`` for its files, and ``result.json`` in it once it has ended: ``done`` with its
    value, or ``crashed`` with the text of the error. A damaged result counts as none, with a warning, and is computed
    again; a result of another identity is refused.

    One process at a time coordinates a store (:meth:`hold`). Its workers may be on other machines that see the folder; a
    second coordinator on another machine is kept out only as far as the file system keeps ``flock`` across machines.

    Parameters
    ----------
    root : Path or str
        The folder; made when it is first held.
    max_attempts : int
        How many times a job's process may die before the job counts as crashed.

    Notes
    -----
    A job whose process dies without a word (killed for its memory, say) leaves a marker with the name of the coordinator
    that had it run. Only a coordinator that saw its own worker die counts a death; what a coordinator that was itself
    killed leaves behind counts for nothing. So stopping a comparison, however roughly, is never held against its jobs.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> job = SimpleNamespace(kind="branch", identity={"seed": 3}, label="seed 3")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     print(store.result(job))
    ...     store.write(job, {"loss": float("inf")}, seconds=2.0)
    ...     store.result(job)
    None
    {'status': 'done', 'value': {'loss': inf}, 'seconds': 2.0}
    """

    def __init__(self, root: Path | str, max_attempts: int = 3) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; a job needs at least 1.")
        self.root = Path(root)
        self.max_attempts = max_attempts
        self._coordinator: str | None = None

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    # Who may write

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only coordinator while the block runs; the locks die with the process, however it dies.

        Raises
        ------
        StoreError
            If another process holds the store, or its folder cannot be made.
        """
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreError(
                f"another process is writing to {self.root}. Wait for it to end, stop it, or use another folder."
            ) from None
        except OSError as error:
            raise StoreError(
                error.errno,
                f"could not use {self.root}: {error.strerror or error}. Choose a place that can be written.",
            ) from error
        try:
            for left in self._locks.glob("coordinator-*"):  # of coordinators that were killed
                left.unlink(missing_ok=True)
            self._coordinator = uuid.uuid4().hex
            with filelock.FileLock(self.coordinator_file(self._coordinator)):
                yield
        finally:
            if self._coordinator is not None:
                self.coordinator_file(self._coordinator).unlink(missing_ok=True)
            self._coordinator = None
            lock.release()

    @property
    def coordinator(self) -> str:
        """The name of the coordinator that this object is, while it holds the store."""
        if self._coordinator is None:
            raise StoreError(
                f"{self.root} is not held: run jobs in `with store.hold():`, or with run_jobs, which does it."
            )
        return self._coordinator

    def coordinator_file(self, coordinator: str) -> Path:
        """The file that is locked as long as a coordinator lives."""
        return self._locks / f"coordinator-{coordinator}"

    @contextlib.contextmanager
    def claim(self, job: Job, coordinator: str) -> Iterator[None]:
        """Be the only process that runs a job, and leave a marker that it has been begun.

        Waits for a worker that outlives its killed coordinator for a moment.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._locks / job_key(job)):
            folder = self.folder(job)
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):  # of a process that was killed while it wrote
                leftover.unlink(missing_ok=True)
            write_atomically(
                folder / ".begun.json", json.dumps({"coordinator": coordinator, "process": os.getpid()}).encode()
            )
            yield

    @property
    def _locks(self) -> Path:
        return self.root / ".locks"

    # What is there

    def folder(self, job: Job) -> Path:
        """The folder of a job's files, made when the job is run."""
        return self.root / job_key(job)

    def result(self, job: Job) -> dict[str, Any] | None:
        """What a job ended with.

        Returns
        -------
        dict or None
            ``status`` (``"done"`` or ``"crashed"``), ``seconds``, and ``value`` or ``error`` (the text of the error). None
            if the job has not ended, or its result is damaged (with a :class:`StoreWarning`).

        Raises
        ------
        StoreError
            If the folder holds the result of another identity, or one of a newer version.
        """
        path = self.folder(job) / "result.json"
        content = self._read(path, f"the job ({job.label})")
        if content is None:
            return None
        self._check_owner(path, content, job)
        return {name: decode(content[name]) for name in ("status", "value", "error", "seconds") if name in content}

    def _read(self, path: Path, what: str) -> dict[str, Any] | None:
        """The content of a result; None if there is none, or it is damaged."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            content = json.loads(raw)
            checksum = content.pop("checksum")
            if hashlib.sha256(canonical(content)).hexdigest() != checksum:
                raise ValueError("its checksum does not fit its content")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            warnings.warn(f"{path} is damaged ({error}); {what} will be run again.", StoreWarning, stacklevel=3)
            return None
        return dict(content)

    def _check_owner(self, path: Path, content: Mapping[str, Any], job: Job) -> None:
        if content.get("format") != FORMAT or content.get("version") != VERSION:
            raise StoreError(
                f"{path} has the format {content.get('format')!r}, version {content.get('version')!r}; this landscape reads "
                f"{FORMAT!r}, version {VERSION}. Update it, or use another folder."
            )
        wanted = {"kind": job.kind, "identity": plain_identity(job)}
        found = {name: content.get(name) for name in wanted}
        if canonical(found) != canonical(wanted):
            raise StoreError(
                f"{path} is the result of another job: of {canonical(found).decode()}, but asked for was "
                f"{canonical(wanted).decode()}. Its folder was renamed or copied; move it away, and the job will be run."
            )

    def done(self, kind: str) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
        """Folder, identity and value of every job of a kind that is done, in the order of their keys."""
        for path in sorted(self.root.glob(f"{kind}-*/result.json")):
            content = self._read(path, "it")
            if content is not None and content.get("kind") == kind and content.get("status") == "done":
                yield path.parent, decode(content["identity"]), decode(content["value"])

    # What is written

    def write(self, job: Job, value: Mapping[str, Any], seconds: float) -> None:
        """Keep what a job computed, whole or not at all.

        Raises
        ------
        TypeError, ValueError
            If the value cannot be written as JSON; see :func:`landscape.comparison.running.plain.encode`.
        OSError
            If the disk is full or cannot be written.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"a job returns a dict of results, but {job.label!r} returned {value!r}.")
        self._end(job, {"status": "done", "value": encode(value), "seconds": encode(seconds)})

    def write_crash(self, job: Job, error: str, seconds: float) -> None:
        """Keep why a job did not end well."""
        self._end(job, {"status": "crashed", "error": error, "seconds": encode(seconds)})

    def _end(self, job: Job, outcome: Mapping[str, Any]) -> None:
        owner = {"kind": job.kind, "identity": plain_identity(job), "label": job.label}
        content = {"format": FORMAT, "version": VERSION, **owner, **outcome}
        checked = {"checksum": hashlib.sha256(canonical(content)).hexdigest(), **content}
        folder = self.folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "result.json", (json.dumps(checked, indent=1, allow_nan=False) + "\n").encode())
        self._forget_attempts(job)

    def discard(self, job: Job) -> None:
        """Forget how a job ended, so that it is run again; its other files stay."""
        (self.folder(job) / "result.json").unlink(missing_ok=True)
        self._forget_attempts(job)

    def _forget_attempts(self, job: Job) -> None:
        for name in (".begun.json", ".deaths.json"):
            (self.folder(job) / name).unlink(missing_ok=True)

    # Attempts

    def is_begun(self, job: Job) -> bool:
        """Whether this coordinator had the job begun, and it has not ended."""
        return self._read_note(job, ".begun.json").get("coordinator") == self.coordinator

    def num_deaths(self, job: Job) -> int:
        """How many times a coordinator saw the job's process die."""
        count = self._read_note(job, ".deaths.json").get("deaths")
        return count if isinstance(count, int) else 0

    def record_death(self, job: Job, last_words: str = "") -> bool:
        """Count that the job's process died under the eyes of this coordinator.

        Returns
        -------
        bool
            Whether that was once too often; the job has then been written down as crashed.
        """
        deaths = self.num_deaths(job) + 1
        if deaths >= self.max_attempts:
            times = f"{deaths} times" if deaths > 1 else "once"
            words = f" Its last words were:\n{last_words}" if last_words else ""
            self.write_crash(job, f"its process died {times} without a word: out of memory?{words}", float("nan"))
            return True
        folder = self.folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ".deaths.json", json.dumps({"deaths": deaths}).encode())
        (folder / ".begun.json").unlink(missing_ok=True)
        return False

    def _read_note(self, job: Job, name: str) -> dict[str, Any]:
        try:
            note = json.loads((self.folder(job) / name).read_bytes())
        except (FileNotFoundError, ValueError):  # a damaged marker is no evidence of anything
            return {}
        return note if isinstance(note, dict) else {}

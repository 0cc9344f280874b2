"""The folder of a run: who may write to it, and how nothing in it gets lost."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import torch

from landscape.files import TEMPORARY_SUFFIX, write_atomically
from landscape.tracking.jsonl import HistoryFile, Row
from landscape.training.checkpoint import load_checkpoint, save_checkpoint


class RunDirectoryError(OSError):
    """A run directory that cannot be used or written."""


class RunDirectory:
    """The files of one run.

    ``history.jsonl`` is appended to row by row; ``checkpoint.pt`` is replaced as a whole; ``weights/`` keeps the model
    at the start, at each swap and at the end, as plain state dicts. One process at a time may hold the directory.

    Parameters
    ----------
    path : Path or str
        The folder; made when it is first held.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     directory = RunDirectory(folder)
    ...     with directory.hold():
    ...         directory.begin_history()
    ...         directory.append({"epoch": 0, "loss": 1.0})
    ...     directory.cut_history(1)[0]
    {'epoch': 0, 'loss': 1.0}
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.history_file = self.path / "history.jsonl"
        self._history = HistoryFile(self.history_file)
        self.checkpoint_file = self.path / "checkpoint.pt"
        self.weights_folder = self.path / "weights"

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep every other process out while the block runs; the lock dies with the process, however it dies.

        Raises
        ------
        RunDirectoryError
            If another process holds the directory, or it cannot be made.
        """
        with self.writing("the directory"):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise RunDirectoryError(
                    f"another process is writing to {self.path}. Wait for it to end, stop it, or use another --run-dir."
                ) from None
        try:
            self._drop_unfinished_files()
            yield
        finally:
            lock.release()

    def _drop_unfinished_files(self) -> None:
        """Remove what processes that were killed in the middle of a write left behind."""
        for folder in (self.path, self.weights_folder, self.path / "points"):
            for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)

    @property
    def has_run(self) -> bool:
        """Whether a run has been begun here."""
        return self.history_file.exists() or self.checkpoint_file.exists()

    def begin_history(self) -> None:
        """Start an empty history."""
        with self.writing(self.history_file.name):
            self._history.begin()

    def append(self, row: Row, skipped: Iterable[str] = ()) -> None:
        """Add one row to the history file and hand it to the operating system; columns of ``skipped`` are null in it."""
        with self.writing(self.history_file.name):
            self._history.append(row, skipped)

    def cut_history(self, num_rows: int) -> list[Row]:
        """Drop the rows that came after a checkpoint (they will come again), and give those that stay.

        Raises
        ------
        HistoryFormatError
            If the file has fewer rows than the checkpoint counted, or is damaged.
        """
        with self.writing(self.history_file.name):
            return self._history.cut(num_rows)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, after making sure that the rows it counts are on the disk."""
        with self.writing(self.checkpoint_file.name):
            with self.history_file.open("rb") as file:
                os.fsync(file.fileno())
            save_checkpoint(self.checkpoint_file, state)

    def load_checkpoint(self) -> dict[str, Any]:
        """The latest checkpoint; see :func:`landscape.training.checkpoint.load_checkpoint`."""
        return load_checkpoint(self.checkpoint_file)

    def save_weights(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a model's state dict as ``weights/<name>.pt``, to be read with ``torch.load``."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        with self.writing(f"weights/{name}.pt"):
            self.weights_folder.mkdir(exist_ok=True)
            write_atomically(self.weights_folder / f"{name}.pt", buffer.getvalue())

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run whole or not at all."""
        with self.writing(name):
            write_atomically(self.path / name, content)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Say what could not be written, what is safe, and how to go on."""
        try:
            yield
        except RunDirectoryError:
            raise
        except OSError as error:
            kept = (
                f" The last checkpoint ({self.checkpoint_file}) is intact: make room, then go on with "
                f"`landscape train --resume {self.path}`."
                if self.checkpoint_file.exists()
                else " Nothing had been saved yet. Choose a place that can be written with --run-dir."
            )
            raise RunDirectoryError(
                error.errno, f"could not write {what} in {self.path}: {error.strerror or error}.{kept}"
            ) from error

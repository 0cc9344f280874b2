"""Rows of a history as scalars of TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landscape.tracking.history import History, Row
from landscape.training.listener import Listener
from landscape.training.result import Swap

_REMEDY = "Install it with `pip install 'torch-landscape[loggers]'`."


class TensorBoardListener(Listener):
    """Writes every number of every row, by epoch; for trainers and monitors.

    Parameters
    ----------
    log_dir : Path or str, optional
        Where to write. Default: TensorBoard's own, ``runs/<time>_<host>``.
    writer : torch.utils.tensorboard.SummaryWriter, optional
        Write to this one instead; it is flushed, and left open.
    prefix : str
        Goes before the columns' names.

    Raises
    ------
    ModuleNotFoundError
        If TensorBoard is not installed.

    Notes
    -----
    Numbers that are not finite are written as such. A run that is resumed goes on in a new event file of the same folder.
    """

    def __init__(self, log_dir: Path | str | None = None, *, writer: Any = None, prefix: str = "landscape/") -> None:
        if writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(f"TensorBoardListener needs the package tensorboard. {_REMEDY}") from error
            writer, self._owned = SummaryWriter(None if log_dir is None else str(log_dir)), True
        else:
            self._owned = False
        self._writer = writer
        self._prefix = prefix

    def recorded(self, row: Row) -> None:
        """Write the numbers."""
        epoch = row.get("epoch")
        for name, value in scalars(row):
            self._writer.add_scalar(self._prefix + name, value, global_step=epoch)

    def swapped(self, swap: Swap) -> None:
        """Write the reason as text."""
        self._writer.add_text(f"{self._prefix}swap", f"to the {swap.to_phase} phase: {swap.reason}", swap.epoch)

    def started(self, history: History, epochs: int | None, budget: float | None) -> None:
        """Nothing: what was recorded before a resumption is written already."""

    def close(self) -> None:
        """Flush, and close a writer of one's own."""
        self._writer.flush()
        if self._owned:
            self._writer.close()


def scalars(row: Row) -> Iterator[tuple[str, float]]:
    """The numbers of a row, but for the epoch, which they are drawn over.

    Examples
    --------
    >>> list(scalars({"epoch": 1, "phase": "first", "loss": 0.5}))
    [('loss', 0.5)]
    """
    for name, value in row.items():
        if name != "epoch" and isinstance(value, (int, float)):
            yield name, float(value)

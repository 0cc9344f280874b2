"""Rows of a history as a replay sees them."""

from __future__ import annotations

from landscape.tracking.history import History, Row


def is_asked(row: Row) -> bool:
    """Whether a trainer asks its policy after this row: after every epoch of the first phase, not at the start."""
    return row.get("phase") != "second" and row.get("epoch") != 0


def epoch_at(history: History, row: int) -> int:
    """The epoch of a row; the row's number where epochs were not recorded."""
    epoch = history[row].get("epoch")
    return int(epoch) if isinstance(epoch, (int, float)) else row

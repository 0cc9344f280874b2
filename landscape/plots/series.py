"""Columns of a history as arrays to draw: what is missing, where phases meet, and fewer points of long runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landscape.tracking.history import History

Array = NDArray[np.float64]

#: More points than this are not told apart in a figure of a page's width.
MAX_POINTS = 2000


_LOSS_WORDS = {
    "full": "training loss over all data",
    "running": "running training loss,\nmean of each epoch's batches",
    "mixed": "training loss over all data, or mean\nof the epoch's batches",
}


@dataclass(frozen=True)
class Losses:
    """The loss of every row and what kind of loss it is.

    Parameters
    ----------
    values : array
        One per row; NaN where none was measured, or where it is NaN.
    measured : array of bool
        Whether there is a value at all.
    kind : {"full", "running", "mixed"}
        What the values are.
    """

    values: Array
    measured: NDArray[np.bool_]
    kind: Literal["full", "running", "mixed"]

    def axis_label(self, *, log: bool) -> str:
        """What the values are, for an axis."""
        return _LOSS_WORDS[self.kind] + (" (log scale)" if log else "")


@dataclass(frozen=True)
class Stretch:
    """An unbroken stretch of one phase.

    Parameters
    ----------
    phase : str
        "first", "second", or "" where the history has no phases.
    indices : array of int
        Rows, beginning with the last one of the phase before, where this one took over.
    joined : bool
        Whether there is such a row.
    """

    phase: str
    indices: NDArray[np.intp]
    joined: bool


def floats(history: History, name: str) -> Array:
    """A column as numbers; what was not measured is NaN."""
    return np.array([float(v) if isinstance(v, (int, float)) else np.nan for v in history.column(name)], dtype=float)


def present(history: History, name: str) -> NDArray[np.bool_]:
    """Which rows hold a number, be it NaN."""
    return np.array([isinstance(value, (int, float)) for value in history.column(name)], dtype=bool)


def losses(history: History) -> Losses:
    """The loss over all data, row by row, and the running loss where that was not recorded.

    Examples
    --------
    >>> history = History([{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss_running": 1.5}])
    >>> losses(history).values.tolist(), losses(history).kind
    ([2.0, 1.5], 'mixed')
    """
    full, running = present(history, "loss"), present(history, "loss_running")
    values = np.where(full, floats(history, "loss"), floats(history, "loss_running"))
    if not (running & ~full).any():
        return Losses(values, full, "full")
    return Losses(values, full | running, "mixed" if full.any() else "running")


def work(history: History) -> tuple[Array, str]:
    """What had been spent at each row, with a label that says in which unit."""
    if present(history, "gradient_equivalents").any():
        return floats(history, "gradient_equivalents"), "work so far, recording included\n(GE: gradients over all data)"
    if present(history, "epoch").any():
        return floats(history, "epoch"), "epoch (work was not recorded)"
    return np.arange(len(history), dtype=float), "row of the history\n(neither work nor epochs were recorded)"


def stretches(history: History) -> list[Stretch]:
    """Cut the rows where the phase changes.

    Examples
    --------
    >>> history = History([{"epoch": e, "phase": "first" if e < 2 else "second"} for e in range(4)])
    >>> [(stretch.phase, stretch.indices.tolist()) for stretch in stretches(history)]
    [('first', [0, 1]), ('second', [1, 2, 3])]
    """
    phases = [str(phase or "") for phase in history.column("phase")]
    starts = [i for i in range(len(phases)) if i == 0 or phases[i] != phases[i - 1]]
    ends = [*starts, len(phases)][1:]
    return [
        Stretch(phases[start], np.arange(max(start - 1, 0), end), joined=start > 0)
        for start, end in zip(starts, ends, strict=True)
    ]


def thin(indices: NDArray[np.intp], *columns: Array, share: float = 1.0) -> NDArray[np.intp]:
    """Leave out points of a long curve, but none that is an extreme of its neighbourhood.

    Parameters
    ----------
    indices : array of int
        Rows of the curve, in order.
    *columns : array
        What is drawn: in each of many equal stretches, the rows with the least and the greatest value of each stay.
    share : float
        Part of ``MAX_POINTS`` that this curve may use.

    Returns
    -------
    array of int
        A selection of ``indices`` with its first and last row.

    Examples
    --------
    >>> values = np.zeros(100_000)
    >>> values[70_001] = 9.0
    >>> kept = thin(np.arange(100_000), values)
    >>> len(kept) <= MAX_POINTS, 70_001 in kept, 99_999 in kept
    (True, True, True)
    """
    limit = max(int(MAX_POINTS * share), 8)
    if len(indices) <= limit:
        return indices
    num_parts = max((limit - 2) // (2 * len(columns)), 1)
    kept = {int(indices[0]), int(indices[-1])}
    for part in np.array_split(indices, num_parts):
        for column in columns:
            finite = part[np.isfinite(column[part])]
            if len(finite):
                kept |= {int(finite[column[finite].argmin()]), int(finite[column[finite].argmax()])}
    return np.array(sorted(kept), dtype=np.intp)

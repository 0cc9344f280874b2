"""The course of a run as a comparison keeps it, and what it had come to when a budget was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from landscape.tracking.history import History, number_in

#: Rounding of sums of gradient equivalents.
_SLACK = 1e-9
_TIMES = ("panel_seconds", "evaluation_seconds")

CourseRow = Mapping[str, float]


def rows_of(history: History) -> list[dict[str, float]]:
    """Epoch, gradient equivalents and seconds of training, and what was evaluated, for each row.

    Examples
    --------
    >>> rows_of(History([{"epoch": 0, "phase": "first", "gradient_equivalents": 0.0, "seconds": 1.0, "train_loss": 2.0}]))
    [{'epoch': 0.0, 'gradient_equivalents': 0.0, 'seconds': 1.0, 'train_loss': 2.0}]
    """
    rows = []
    for row in history:
        measuring = sum(number_in(row, name) or 0.0 for name in _TIMES)
        kept = {
            "epoch": number_in(row, "epoch") or 0.0,
            "gradient_equivalents": (number_in(row, "gradient_equivalents") or 0.0)
            - (number_in(row, "probing_equivalents") or 0.0),
            "seconds": (number_in(row, "seconds") or 0.0) - measuring,
        }
        evaluated = {name: value for name in row if name.startswith(("train_", "validation_")) for value in [row[name]]}
        rows.append({**kept, **{n: float(v) for n, v in evaluated.items() if isinstance(v, (int, float))}})
    return rows


def is_spent(row: CourseRow, equivalents: float) -> bool:
    """Whether a run of this budget ends with this row.

    Examples
    --------
    >>> is_spent({"gradient_equivalents": 2.5}, 2.0), is_spent({"gradient_equivalents": 1.0}, 2.0)
    (True, False)
    """
    return row["gradient_equivalents"] >= equivalents - _SLACK


def row_at(rows: Sequence[CourseRow], equivalents: float) -> int:
    """The row with which a run of this budget ends: the first that reaches it, or the last one.

    Examples
    --------
    >>> row_at([{"gradient_equivalents": value} for value in (0.0, 1.0, 2.5, 4.0)], 2.0)
    2
    """
    reached = (i for i, row in enumerate(rows) if is_spent(row, equivalents))
    return next(reached, len(rows) - 1)


def values_at(course: Mapping[str, Any], index: int) -> dict[str, float]:
    """What a run had come to at a row: measured there, or else last before it; at the last row, at the end.

    Parameters
    ----------
    course : mapping
        ``rows`` and ``final``, as jobs give them.
    index : int
        Of the row.
    """
    rows = course["rows"]
    if index >= len(rows) - 1:
        return dict(course["final"])
    values: dict[str, float] = {}
    for row in rows[: index + 1]:
        values.update({name: value for name, value in row.items() if name.startswith(("train_", "validation_"))})
    return values

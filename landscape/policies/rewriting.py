"""Histories as a wrapped policy is to see them: earlier, smoothed, or without some rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from landscape.policies.base import SwapPolicy
from landscape.tracking.columns import CLOCK_COLUMNS, describe_column, members
from landscape.tracking.history import History, Row, number_in

#: Settings of the optimiser are facts, and a mean of facts is none.
_NOT_SMOOTHED = CLOCK_COLUMNS | {"learning_rate"}


def with_stretch(history: History, rows: Iterable[Row]) -> History:
    """The same past with other rows since the last swap; see :meth:`landscape.History.with_stretch`."""
    return history.with_stretch(rows)


def earlier(history: History, num_rows: int) -> History:
    """The history as it was when the latest stretch had ``num_rows`` rows."""
    return with_stretch(history, list(history.stretch())[:num_rows])


def is_measured(policy: SwapPolicy, row: Row) -> bool:
    """Whether a row holds everything that a policy reads."""
    columns = list(row)
    return all(members(name, columns) for name in policy.requires)


def smoothable(policy: SwapPolicy, history: History) -> list[str]:
    """The columns that a policy reads and that a mean makes sense of."""
    columns = history.columns()
    names = [name for family in sorted(policy.requires) for name in members(family, columns)]
    return [name for name in names if name not in _NOT_SMOOTHED and _is_float(name)]


def _is_float(name: str) -> bool:
    column = describe_column(name)
    return column is None or column.kind == "float"


def moving_average(values: Sequence[float | None], span: int, *, exponential: bool) -> list[float | None]:
    """Means of a series so far, over the values that are finite; what is missing or not finite stays as it is.

    Parameters
    ----------
    values : sequence of float or None
        The series.
    span : int
        The window; or, for exponential weights, decay 1 - 2 / (span + 1), with the start corrected for.
    exponential : bool
        Which of both.

    Examples
    --------
    >>> moving_average([2.0, None, 4.0, 9.0], 2, exponential=False)
    [2.0, None, 3.0, 6.5]
    """
    means: list[float | None] = []
    seen: list[float] = []
    total = weight = 0.0
    decay = 1 - 2 / (span + 1)
    for value in values:
        if value is None or not math.isfinite(value):
            means.append(value)
            continue
        seen = [*seen, value][-span:]
        total, weight = decay * total + value, decay * weight + 1
        means.append(total / weight if exponential else math.fsum(seen) / len(seen))
    return means


def smoothed(policy: SwapPolicy, history: History, span: int, *, exponential: bool) -> History:
    """The history with the policy's columns replaced by their means since the last swap; the start row stays."""
    rows = [dict(row) for row in history.stretch()]
    counted = [row for row in rows if row.get("epoch") != 0]
    for name in smoothable(policy, history):
        means = moving_average([number_in(row, name) for row in counted], span, exponential=exponential)
        for row, mean in zip(counted, means, strict=True):
            if mean is not None:
                row[name] = mean
    return with_stretch(history, rows)

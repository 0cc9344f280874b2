"""What policies have in common: reading signals from a history, and asking for a threshold to hold several times."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from landscape.policies.base import Decision
from landscape.tracking.history import History, Row, number_in

Comparison = Literal[">", ">=", "<", "<="]

_COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str, str]] = {
    ">": (operator.gt, "above", "at or below"),
    ">=": (operator.ge, "at or above", "below"),
    "<": (operator.lt, "below", "at or above"),
    "<=": (operator.le, "at or below", "above"),
}


@dataclass(frozen=True)
class Signals:
    """The rows of a stretch in which all of some columns were measured.

    Parameters
    ----------
    epochs : tuple of int
        Their epochs.
    positions : tuple of int
        How many epochs of the phase were done at each, the unmeasured ones counted too.
    columns : dict of str to list of float
        Their values; NaN where a measured value is not a number.
    """

    epochs: tuple[int, ...]
    positions: tuple[int, ...]
    columns: dict[str, list[float]]

    def __getitem__(self, name: str) -> list[float]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.epochs)


def epochs_of(history: History) -> list[Row]:
    """The epochs since the last swap; the start (row 0) is none."""
    return [row for row in history.stretch() if row.get("epoch") != 0]


def before_phase(history: History, column: str) -> float:
    """What the run had spent when the latest phase began; 0 for the first one."""
    start = len(history) - len(history.stretch())
    return (number_in(history[start - 1], column) or 0.0) if start else 0.0


def read(history: History, *names: str, at_least: int = 1, window: int | None = None) -> Signals | Decision:
    """Read signals from the rows since the last swap.

    Parameters
    ----------
    history : History
        The history.
    *names : str
        Columns; a row counts if all of them were measured in it.
    at_least : int
        How many such rows are needed.
    window : int, optional
        Take the last so many rows only; all of them must be there and finite.

    Returns
    -------
    Signals or Decision
        A decision not to swap, which says why, if the last row was not measured, is not finite, or is too early.

    Notes
    -----
    A column that is in no row yet is no error here: a tracker that measures every tenth epoch is silent for nine.
    :func:`landscape.policies.base.check_requirements` refuses, before any work, what nobody will record.
    """
    rows = epochs_of(history)
    if not rows:
        return Decision(False, f"no epoch of this phase is recorded yet, so {_listed(names)} is not known")
    unmeasured = [name for name in names if number_in(rows[-1], name) is None]
    if unmeasured:
        return _not_measured(history, rows[-1], unmeasured)
    strange = [name for name in names if not math.isfinite(number_in(rows[-1], name) or 0.0)]
    if strange:
        value = number_in(rows[-1], strange[0])
        shown = "NaN" if value is not None and math.isnan(value) else f"{value:g}"
        return Decision(False, f"{strange[0]} is {shown} in epoch {rows[-1].get('epoch')}: no ground for a swap")
    signals = _measured(rows, names)
    needed = max(at_least, window or 1)
    if len(signals) < needed:
        return Decision(
            False, f"{_listed(names)} was measured in {len(signals)} of the {needed} epochs that are needed"
        )
    return signals if window is None else _last(signals, window)


def _measured(rows: Sequence[Row], names: Sequence[str]) -> Signals:
    values = [[number_in(row, name) for name in names] for row in rows]
    kept = [index for index, row in enumerate(values) if None not in row]
    columns = {name: [float(values[index][j] or 0.0) for index in kept] for j, name in enumerate(names)}
    epochs = tuple(int(rows[index].get("epoch") or 0) for index in kept)
    return Signals(epochs, tuple(index + 1 for index in kept), columns)


def _last(signals: Signals, window: int) -> Signals | Decision:
    columns = {name: values[-window:] for name, values in signals.columns.items()}
    for name, values in columns.items():
        if not all(map(math.isfinite, values)):
            return Decision(False, f"{name} is not finite in one of the last {window} epochs in which it was measured")
    return Signals(signals.epochs[-window:], signals.positions[-window:], columns)


def _not_measured(history: History, row: Row, names: Sequence[str]) -> Decision:
    known = set(history.columns())
    never = [name for name in names if name not in known]
    ending = f"; {_listed(never)} is in none of the {len(history)} rows so far: let it be recorded" if never else ""
    return Decision(False, f"{_listed(names)} was not measured in epoch {row.get('epoch')}{ending}")


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)


def in_a_row(values: Sequence[float], holds: Callable[[float], bool]) -> int:
    """How many values at the end hold; NaN never does.

    Examples
    --------
    >>> in_a_row([1.0, -1.0, 2.0, 3.0], lambda value: value > 0)
    2
    """
    return next((i for i, value in enumerate(reversed(values)) if not holds(value)), len(values))


def hold(
    history: History, name: str, comparison: Comparison, threshold: float, checks: int, what: str, *more: str
) -> Decision:
    """Swap once a signal has been on one side of a threshold in the last ``checks`` rows in which it was measured.

    Parameters
    ----------
    history : History
        The history.
    name : str
        The column.
    comparison : {">", ">=", "<", "<="}
        Which side.
    threshold : float
        Of what.
    checks : int
        How many times in a row.
    what : str
        The signal in words, for the reason.
    *more : str
        Further columns, without which a row does not count.
    """
    signals = read(history, name, *more)
    if isinstance(signals, Decision):
        return signals
    return judge(signals[name], comparison, threshold, checks, what, name, signals.epochs[-1])


def judge(
    values: Sequence[float], comparison: Comparison, threshold: float, checks: int, what: str, name: str, epoch: int
) -> Decision:
    """The decision of :func:`hold` on values that were read already."""
    compare, yes, no = _COMPARISONS[comparison]
    latest = values[-1]
    count = min(in_a_row(values, lambda value: compare(value, threshold)), checks)
    side = yes if compare(latest, threshold) else no
    reason = f"{what} is {latest:.4g} in epoch {epoch}, {side} {threshold:.4g}"
    if checks > 1:
        reason += f"; this is {count} of {checks} checks in a row"
    return Decision(count >= checks, reason, latest, {name: latest, "threshold": threshold, "checks": float(count)})

"""What a run has recorded: labelled rows, one per epoch, of typed columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from landscape.tracking.jsonl import (
    FORMAT,
    VERSION,
    HistoryFormatError,
    Row,
    Value,
    checked_value,
    decode_lines,
    encode_header,
    encode_row,
    from_json_value,
    json_value,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "FORMAT",
    "VERSION",
    "History",
    "HistoryFormatError",
    "Row",
    "Value",
    "decode_lines",
    "encode_header",
    "encode_row",
    "from_json_value",
    "json_value",
    "number_in",
]


class History:
    """Rows of a run in the order in which they were recorded; a row never changes once it is there.

    A row holds what was measured. So :meth:`column` gives None where a recorded column has no value, be it that a tracker
    was not due, or that it was *skipped* since it would have cost too much; :meth:`skipped` tells which. A column that
    is not in :meth:`columns` was not recorded at all. A measured value that is not a number is NaN.

    Parameters
    ----------
    rows : iterable of mappings, optional
        Rows to begin with.

    Notes
    -----
    Columns that landscape knows (:data:`landscape.tracking.columns.COLUMNS`) are typed; columns of one's own hold numbers
    or text.

    Examples
    --------
    >>> history = History([{"epoch": 0, "phase": "first", "loss": 1.0}, {"epoch": 1, "phase": "first", "loss": None}])
    >>> history.column("loss"), "loss" in history[1], history.skipped(1)
    ([1.0, None], False, ('loss',))
    >>> "gradient_norm" in history.columns(), history.column("gradient_norm")
    (False, [None, None])
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: list[Row] = []
        self._skipped: list[tuple[str, ...]] = []
        self._stretch_start = 0  # kept, since policies ask for the latest stretch after every epoch
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        # By their text, in which NaN equals NaN and the sign of zero counts: what "bit-identical" means.
        return self._lines() == other._lines()

    __hash__ = None  # type: ignore[assignment]  # a history grows

    def __repr__(self) -> str:
        return f"History({len(self)} rows; columns: {', '.join(self.columns()) or 'none'})"

    def append(self, row: Row) -> Row:
        """Add a row.

        Parameters
        ----------
        row : mapping
            None for a value that was due and skipped.

        Returns
        -------
        mapping
            What was measured, in the columns' types.

        Raises
        ------
        TypeError
            If a value is not of its column's type (numbers, text or None for columns of one's own).
        """
        checked = {name: checked_value(name, value) for name, value in row.items() if value is not None}
        if self._rows and checked.get("phase") != self._rows[-1].get("phase"):
            self._stretch_start = len(self._rows)
        skipped = () if len(checked) == len(row) else tuple(name for name, value in row.items() if value is None)
        self._skipped.append(skipped)
        self._rows.append(MappingProxyType(checked))
        return self._rows[-1]

    def columns(self) -> list[str]:
        """Names of the recorded columns, in the order in which they first appear; those always skipped are among them."""
        names = (name for row, skipped in zip(self._rows, self._skipped, strict=True) for name in (*row, *skipped))
        return list(dict.fromkeys(names))

    def column(self, name: str) -> list[Value]:
        """One value per row; None where it was not measured."""
        return [row.get(name) for row in self]

    def skipped(self, index: int = -1) -> tuple[str, ...]:
        """The columns that were due in a row and left out, since measuring them would have cost too much."""
        return self._skipped[index]

    def select(self, **values: Value) -> History:
        """The rows in which every named column has the given value, as a history of their own."""
        chosen = History()
        for row, skipped in zip(self._rows, self._skipped, strict=True):
            if all(row.get(name) == value for name, value in values.items()):
                chosen.append({**row, **dict.fromkeys(skipped)})
        return chosen

    def stretch(self) -> History:
        """The latest unbroken run of rows of one phase: what has happened since the last swap."""
        return self._of(self._rows[self._stretch_start :], self._skipped[self._stretch_start :])

    def with_stretch(self, rows: Iterable[Row]) -> History:
        """The same past with other rows since the last swap: for policies that ask "what if".

        Parameters
        ----------
        rows : iterable of mappings
            In the place of those of :meth:`stretch`, without None. They are not checked again, as they come from a history
            and policies may do this many times after every epoch.

        Examples
        --------
        >>> history = History([{"epoch": 0, "phase": "first"}, {"epoch": 1, "phase": "second"}])
        >>> len(history.with_stretch([])), history.with_stretch(history.stretch()) == history
        (1, True)
        """
        start = self._stretch_start
        given = list(rows)
        skipped = rows._skipped if isinstance(rows, History) else [()] * len(given)
        changed = self._of([*self._rows[:start], *given], [*self._skipped[:start], *skipped])
        changed._stretch_start = start
        return changed

    @classmethod
    def _of(cls, rows: list[Row], skipped: list[tuple[str, ...]]) -> History:
        """Rows of one phase that were checked before: no second check, since policies do this after every epoch."""
        history = cls()
        history._rows, history._skipped = rows, skipped
        return history

    def _lines(self) -> list[str]:
        pairs = zip(self._rows, self._skipped, strict=True)
        return [encode_row({**row, **dict.fromkeys(skipped)}) for row, skipped in pairs]

    def to_jsonl(self, path: Path | str) -> None:
        """Write all rows as JSON lines; see :meth:`from_jsonl`."""
        Path(path).write_text("".join(line + "\n" for line in [encode_header(), *self._lines()]), encoding="utf-8")

    @classmethod
    def from_jsonl(cls, path: Path | str) -> History:
        """Read a history from JSON lines, of this version of the format or an older one.

        A last line that a killed process left unfinished is left out; anything else that is wrong is refused.

        Raises
        ------
        HistoryFormatError
            If the file is not a history, is damaged, or comes from a newer version of landscape.
        OSError
            If the file cannot be read.
        """
        path = Path(path)
        return cls(decode_lines(path.read_bytes(), str(path))[0])

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with one row per row and one typed column per column.

        Whole numbers are ``int64`` (``Int64`` where some are missing), text is ``string``, numbers are ``float64``: there NaN
        stands for both "not measured" and "not a number", which only the history keeps apart.
        """
        from landscape.tracking.tables import data_frame

        return data_frame(self)

    def to_xarray(self) -> xr.Dataset:
        """A labelled data set with the dimension ``row``; columns of single layers are one variable of ``(row, layer)``.

        Every variable carries ``units`` and ``long_name``. ``to_netcdf`` writes it.

        Raises
        ------
        ModuleNotFoundError
            If xarray is not installed.
        """
        from landscape.tracking.tables import data_set

        return data_set(self)


def number_in(row: Row, name: str) -> float | None:
    """A value of a row as a float; None where it was not measured, NaN where it is NaN."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else None

"""What a run has recorded: labelled rows, one per epoch, kept as JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from landscape.tracking.columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Value = int | float | str | None
Row = Mapping[str, Value]

FORMAT = "landscape-history"
VERSION = 1
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class HistoryFormatError(ValueError):
    """A history file that cannot be read: foreign, damaged, or written by a newer version."""


class History:
    """Rows of a run in the order in which they were recorded; a row never changes once it is there.

    A value that was not measured is None; a measured value that is not a number is NaN.

    Parameters
    ----------
    rows : iterable of mappings, optional
        Rows to begin with.

    Examples
    --------
    >>> history = History([{"epoch": 0, "phase": "first", "loss": 1.0}, {"epoch": 1, "phase": "first", "loss": 0.5}])
    >>> history.column("loss")
    [1.0, 0.5]
    >>> history.column("gradient_norm")
    [None, None]
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: list[Row] = []
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
        return [encode_row(row) for row in self] == [encode_row(row) for row in other]

    __hash__ = None  # type: ignore[assignment]  # a history grows

    def __repr__(self) -> str:
        return f"History({len(self)} rows; columns: {', '.join(self.columns()) or 'none'})"

    def append(self, row: Row) -> Row:
        """Add a row; values that were not measured are left out.

        Raises
        ------
        TypeError
            If a value is not of its column's type (numbers, text or None for columns of one's own).
        """
        checked = {name: _checked(name, value) for name, value in row.items() if value is not None}
        if self._rows and checked.get("phase") != self._rows[-1].get("phase"):
            self._stretch_start = len(self._rows)
        self._rows.append(MappingProxyType(checked))
        return self._rows[-1]

    def columns(self) -> list[str]:
        """Names of the columns that hold at least one value, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self for name in row))

    def column(self, name: str) -> list[Value]:
        """One value per row; None where it was not measured."""
        return [row.get(name) for row in self]

    def select(self, **values: Value) -> History:
        """The rows in which every named column has the given value, as a history of their own."""
        return History(row for row in self if all(row.get(name) == value for name, value in values.items()))

    def stretch(self) -> History:
        """The latest unbroken run of rows of one phase: what has happened since the last swap."""
        return self._of(self._rows[self._stretch_start :])

    @classmethod
    def _of(cls, rows: list[Row]) -> History:
        """Rows of one phase that were checked before: no second check, for the same reason."""
        history = cls()
        history._rows = rows
        return history

    def to_jsonl(self, path: Path | str) -> None:
        """Write all rows as JSON lines; see :meth:`from_jsonl`."""
        lines = [encode_header(), *(encode_row(row) for row in self)]
        Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    @classmethod
    def from_jsonl(cls, path: Path | str) -> History:
        """Read a history from JSON lines.

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
        """A data frame with one row per row and one column per column."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame({name: self.column(name) for name in self.columns()})
        return frame


def encode_header() -> str:
    """The first line of a history file."""
    return json.dumps({"format": FORMAT, "version": VERSION})


def encode_row(row: Row) -> str:
    """One row as one line of strict JSON; every finite float reads back to the same bits."""
    return json.dumps({name: json_value(value) for name, value in row.items()}, allow_nan=False)


def json_value(value: Any) -> Any:
    """Strict JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def from_json_value(value: Any) -> Any:
    """Undo :func:`json_value`."""
    return _NONFINITE.get(value, value) if isinstance(value, str) else value


def decode_lines(content: bytes, source: str) -> tuple[list[Row], list[int]]:
    """Read the bytes of a history file.

    Parameters
    ----------
    content : bytes
        The whole file.
    source : str
        Its name, for messages.

    Returns
    -------
    rows : list of mappings
    ends : list of int
        For the header and then for each row, the number of bytes up to and including its line.

    Raises
    ------
    HistoryFormatError
        See :meth:`History.from_jsonl`.
    """
    lines = content.split(b"\n")[:-1]  # what follows the last newline was cut off in the middle of a write
    if not lines:
        raise HistoryFormatError(f"{source} is not a history: it is empty or its first line is unfinished.")
    _check_header(lines[0], source)
    rows: list[Row] = []
    ends = [len(lines[0]) + 1]
    for number, line in enumerate(lines[1:], start=2):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("a row must be a JSON object")
            rows.append({name: _decoded(name, value) for name, value in row.items()})
        except (ValueError, TypeError) as error:
            raise HistoryFormatError(
                f"{source}, line {number}: not a row of a history ({error}). The file was damaged after it was written; "
                "restore it from a copy, or take the lines before this one."
            ) from error
        ends.append(ends[-1] + len(line) + 1)
    return rows, ends


def _check_header(line: bytes, source: str) -> None:
    try:
        header = json.loads(line)
        name, version = header["format"], header["version"]
    except (ValueError, TypeError, KeyError) as error:
        raise HistoryFormatError(
            f"{source} is not a history: its first line should say {encode_header()}, but is {line[:80]!r}."
        ) from error
    if name != FORMAT or not isinstance(version, int):
        raise HistoryFormatError(f"{source} has the format {name!r}, version {version!r}; needed is {FORMAT!r}.")
    if version > VERSION:
        raise HistoryFormatError(
            f"{source} has version {version} of the format; this landscape reads up to version {VERSION}. Update it."
        )


def _checked(name: str, value: Value) -> Value:
    column = COLUMNS.get(name)
    kind = column.kind if column else ("str" if isinstance(value, str) else "float")
    if kind == "str" and isinstance(value, str):
        return value
    if kind != "str" and isinstance(value, int) and not isinstance(value, bool):
        return value if kind == "int" or column is None else float(value)
    if kind == "float" and isinstance(value, float):
        return float(value)
    raise TypeError(
        f"History column {name!r} holds values of type {kind}, but {value!r} ({type(value).__name__}) was given. Convert it "
        f"first, for a tensor with .item()."
    )


def _decoded(name: str, value: Any) -> Value:
    """Undo :func:`json_value`. A column of one's own that holds the text "NaN" reads back as a number."""
    column = COLUMNS.get(name)
    return _checked(name, from_json_value(value) if column is None or column.kind == "float" else value)


def number_in(row: Row, name: str) -> float | None:
    """A value of a row as a float; None where it was not measured, NaN where it is NaN."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else None

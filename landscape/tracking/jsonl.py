"""Histories as files: a header and one line of JSON per row, appended as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from landscape.files import write_atomically
from landscape.tracking.columns import describe_column

Value = int | float | str | None
Row = Mapping[str, Value]

FORMAT = "landscape-history"
#: 2: a column that was due in a row and left out is null there. 1: such columns were not there. Both are read.
VERSION = 2
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class HistoryFormatError(ValueError):
    """A history file that cannot be read: foreign, damaged, or written by a newer version."""


class HistoryFile:
    """A history on the disk that grows row by row.

    Parameters
    ----------
    path : Path or str
        The file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = HistoryFile(f"{folder}/history.jsonl")
    ...     file.begin()
    ...     file.append({"epoch": 0, "loss": 1.0})
    ...     file.append({"epoch": 1, "loss": 0.5})
    ...     file.cut(1)
    [{'epoch': 0, 'loss': 1.0}]
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"HistoryFile({str(self.path)!r})"

    def begin(self) -> None:
        """Start an empty history; one that was there is replaced."""
        write_atomically(self.path, (encode_header() + "\n").encode())

    def append(self, row: Row, skipped: Iterable[str] = ()) -> None:
        """Add one row and hand it to the operating system; columns of ``skipped`` are null in it."""
        with self.path.open("ab") as file:
            file.write((encode_row({**row, **dict.fromkeys(skipped)}) + "\n").encode())

    def cut(self, num_rows: int) -> list[Row]:
        """Drop the rows after the first ``num_rows``, and a line that was left unfinished; give the rows that stay.

        Raises
        ------
        HistoryFormatError
            If the file is damaged, or has fewer rows.
        """
        content = self.path.read_bytes()
        rows, ends = decode_lines(content, str(self.path))
        if len(rows) < num_rows:
            raise HistoryFormatError(
                f"{self.path} has {len(rows)} rows, but {num_rows} were written to it. The file was shortened; restore it from "
                "a copy."
            )
        kept = (encode_header() + "\n").encode() + content[ends[0] : ends[num_rows]]
        if kept != content:  # rows to drop, or the header of an older version
            write_atomically(self.path, kept)
        return rows[:num_rows]


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
        None where a value was skipped.
    ends : list of int
        For the header and then for each row, the number of bytes up to and including its line.

    Raises
    ------
    HistoryFormatError
        If the file is not a history, is damaged, or comes from a newer version of landscape. A last line that a killed
        process left unfinished is left out.
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


def checked_value(name: str, value: Value) -> Value:
    """A value as its column holds it.

    Raises
    ------
    TypeError
        If it is of another type.
    """
    column = describe_column(name)
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


def _decoded(name: str, value: Any) -> Value:
    """Undo :func:`json_value`. A column of one's own that holds the text "NaN" reads back as a number."""
    if value is None:
        return None
    column = describe_column(name)
    return checked_value(name, from_json_value(value) if column is None or column.kind == "float" else value)

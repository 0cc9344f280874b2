"""Older files, skipped values, growing files, and tables of other packages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from landscape.tracking.columns import COLUMNS
from landscape.tracking.history import History, HistoryFormatError
from landscape.tracking.jsonl import VERSION, HistoryFile

#: Written by `landscape train --num-train 200 --epochs 8 --policy after-epochs:epochs=4` of the first version of the format.
OLDER = Path(__file__).parent / "data" / "history-version-1.jsonl"

ROWS = [
    {"epoch": 0, "phase": "first", "step": 0, "loss": 1.0, "lambda_min": None, "gradient_norm/head": 2.0},
    {"epoch": 1, "phase": "first", "step": 4, "loss": math.nan, "gradient_norm/head": 1.0, "gradient_norm/body.0": 3.0},
    {"epoch": 2, "phase": "second", "step": 5, "loss": 0.5, "status": "ACCEPTED", "lambda_min": -0.25, "mine": 7},
]


def test_a_history_of_the_older_format_is_read_and_written_anew(tmp_path):
    lines = OLDER.read_text().splitlines()
    assert json.loads(lines[0]) == {"format": "landscape-history", "version": 1} and VERSION == 2
    history = History.from_jsonl(OLDER)
    assert [dict(row) for row in history] == [json.loads(line) for line in lines[1:]]
    assert history.column("phase") == ["first"] * 5 + ["second"] * 4
    history.to_jsonl(tmp_path / "new.jsonl")
    new = (tmp_path / "new.jsonl").read_text().splitlines()
    assert json.loads(new[0])["version"] == 2 and new[1:] == lines[1:]


def test_going_on_with_an_older_file_makes_it_one_of_today(tmp_path):
    file = HistoryFile(tmp_path / "history.jsonl")
    file.path.write_bytes(OLDER.read_bytes())
    assert len(file.cut(9)) == 9
    file.append({"epoch": 9, "phase": "second"}, skipped=["lambda_min"])
    assert History.from_jsonl(file.path).skipped() == ("lambda_min",)
    assert json.loads(file.path.read_text().splitlines()[0])["version"] == 2


def test_skipped_is_none_in_a_recorded_column_and_survives_the_file(tmp_path):
    history = History(ROWS)
    assert history.column("lambda_min") == [None, None, -0.25]
    assert [history.skipped(index) for index in range(3)] == [("lambda_min",), (), ()]
    assert "lambda_min" in History(ROWS[:1]).columns() and "lambda_min" not in History(ROWS[:1])[0]
    assert "curvature_gradient" not in history.columns() and history.column("curvature_gradient") == [None] * 3
    history.to_jsonl(tmp_path / "h.jsonl")
    again = History.from_jsonl(tmp_path / "h.jsonl")
    assert again == history and again.skipped(0) == ("lambda_min",)
    assert History([{k: v for k, v in row.items() if v is not None} for row in ROWS]) != history
    assert history.select(phase="first").skipped(0) == ("lambda_min",)
    assert history.stretch().skipped(0) == () and len(history.stretch()) == 1


def test_a_growing_file_is_cut_at_any_row(tmp_path):
    file, history = HistoryFile(tmp_path / "h.jsonl"), History()
    file.begin()
    for row in ROWS:
        file.append(history.append(row), history.skipped())
    assert History.from_jsonl(file.path) == history
    with file.path.open("ab") as growing:
        growing.write(b'{"epoch": 3, "lo')  # killed in the middle of a write
    assert History(file.cut(2)) == History(ROWS[:2])
    assert History.from_jsonl(file.path) == History(ROWS[:2])
    with pytest.raises(HistoryFormatError, match="has 2 rows, but 3 were written to it"):
        file.cut(3)


def test_rows_since_the_swap_can_be_replaced():
    history = History([*ROWS, {"epoch": 3, "phase": "second", "loss": 0.25}])
    changed = history.with_stretch([{"epoch": 2, "phase": "second", "loss": 9.0}])
    assert changed.column("loss")[2:] == [9.0] and changed.stretch().column("loss") == [9.0]
    assert len(history.with_stretch([]).stretch()) == 0 and history.with_stretch(history.stretch()) == history
    assert history.column("loss")[2:] == [0.5, 0.25]


def test_layers_columns_are_typed_like_their_family():
    with pytest.raises(TypeError, match="'gradient_norm/head' holds values of type float"):
        History([{"gradient_norm/head": "large"}])


def test_a_data_frame_has_typed_columns():
    frame = History(ROWS).to_pandas()
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert types["epoch"] == "int64" and types["mine"] == "Int64" and types["loss"] == "float64"
    assert types["phase"] == "string" and types["status"] == "string"
    assert frame["lambda_min"].isna().tolist() == [True, True, False] and frame["mine"][2] == 7
    assert History().to_pandas().empty


def test_a_data_set_is_labelled_and_comes_back_from_netcdf(tmp_path):
    xarray = pytest.importorskip("xarray", reason="xarray is not installed: pip install 'torch-landscape[results]'")
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed: pip install 'torch-landscape[results]'")
    data = History(ROWS).to_xarray()
    assert data.sizes == {"row": 3, "layer": 2} and data["epoch"].values.tolist() == [0, 1, 2]
    assert data["phase"].values.tolist() == ["first", "first", "second"] and "phase" in data.coords
    assert data["gradient_norm_of_layer"].sel(layer="head").values.tolist()[:2] == [2.0, 1.0]
    assert data["loss"].attrs == {"units": "loss", "long_name": COLUMNS["loss"].meaning}
    assert data.attrs["format"] == "landscape-history"
    data.to_netcdf(tmp_path / "h.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "h.nc", engine="h5netcdf") as again:
        xarray.testing.assert_identical(again.load(), data)


def test_without_xarray_the_remedy_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ModuleNotFoundError, match=r"torch-landscape\[results\]"):
        History(ROWS).to_xarray()

"""Histories as tables of other packages: pandas and xarray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.tracking.columns import FAMILIES, Column, describe_column
from landscape.tracking.jsonl import FORMAT, VERSION, Value

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from landscape.tracking.history import History

Kind = Literal["int", "float", "str", "mixed"]

#: What each row is labelled by in a data set.
_LABELS = ("epoch", "phase", "step")


def data_frame(history: History) -> pd.DataFrame:
    """See :meth:`landscape.History.to_pandas`."""
    import pandas as pd

    series = {}
    for name in history.columns():
        values = history.column(name)
        series[name] = pd.Series(values, dtype=_pandas_type(kind_of(name, values), has_gaps=None in values))
    frame: pd.DataFrame = pd.DataFrame(series, index=range(len(history)))
    return frame


def kind_of(name: str, values: Sequence[Value]) -> Kind:
    """What a column holds: by its description, or for a column of one's own by its values."""
    column = describe_column(name)
    if column is not None:
        return column.kind
    types = {type(value) for value in values if value is not None}
    if types == {str}:
        return "str"
    return "mixed" if str in types else "int" if types == {int} else "float"


def _pandas_type(kind: Kind, *, has_gaps: bool) -> Any:
    if kind == "int":
        return "Int64" if has_gaps else "int64"
    return {"float": "float64", "str": "string", "mixed": object}[kind]


def data_set(history: History) -> xr.Dataset:
    """See :meth:`landscape.History.to_xarray`."""
    try:
        import xarray as xr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "History.to_xarray needs xarray. Install it with `pip install 'torch-landscape[results]'`, or use to_pandas()."
        ) from error

    columns = history.columns()
    layered = [name for name in columns if (column := describe_column(name)) is not None and column.name in FAMILIES]
    plain = [name for name in columns if name not in layered]
    variables = {name: _variable(name, history.column(name)) for name in plain}
    layers = sorted({name.partition("/")[2] for name in layered})
    for family in sorted({name.partition("/")[0] for name in layered}):
        values = [_array(history.column(f"{family}/{layer}"), "float") for layer in layers]
        described = FAMILIES[f"{family}/*"]
        variables[f"{family}_of_layer"] = (("row", "layer"), np.stack(values, axis=1), _attributes(described))
    labels: dict[str, Any] = {name: variables.pop(name) for name in _LABELS if name in variables}
    if layers:
        labels["layer"] = layers
    return xr.Dataset(variables, coords=labels, attrs={"format": FORMAT, "version": VERSION})


def _variable(name: str, values: list[Value]) -> tuple[Any, ...]:
    return ("row", _array(values, kind_of(name, values)), _attributes(describe_column(name)))


def _array(values: list[Value], kind: Kind) -> Any:
    """Text is "" and a number NaN where there is none."""
    if kind in ("str", "mixed"):
        return np.array(["" if value is None else str(value) for value in values], dtype=str)
    gaps = None in values
    return np.array(
        [math.nan if value is None else value for value in values],
        dtype=np.int64 if kind == "int" and not gaps else float,
    )


def _attributes(column: Column | None) -> dict[str, str]:
    return {} if column is None else {"units": column.unit, "long_name": column.meaning}

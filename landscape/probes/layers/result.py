"""Gradient and curvature of each layer, as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landscape.status import Status

_HEADINGS = {
    "name": "layer",
    "num_params": "parameters",
    "parameter_norm": "norm",
    "gradient_norm": "gradient norm",
    "lambda_max": "lambda_max",
    "lambda_min": "lambda_min",
    "trace": "trace",
}
_ERRORS = {"lambda_max": "lambda_max_residual", "lambda_min": "lambda_min_residual", "trace": "trace_standard_error"}


@dataclass(frozen=True)
class LayerCurvature:
    """One layer: some parameter tensors and the diagonal block of the Hessian that belongs to them.

    Attributes
    ----------
    name : str
        Of the module or the parameter; "(root)" for parameters of the model itself.
    tensors : tuple of str
        Names of its parameters.
    num_params : int
    parameter_norm : float
    gradient_norm : float or None
    lambda_max, lambda_min : float or None
        Extreme Ritz values of the block; never outside its spectrum, up to rounding.
    lambda_max_residual, lambda_min_residual : float or None
        Some eigenvalue of the block lies that near to the Ritz value: the residual norm, or the rounding of products if that is
        more.
    trace, trace_standard_error : float or None
        The error is 0 where the trace is exact.
    num_matvecs : int
        Products with this block.
    status : Status
        How the search for the extreme eigenvalues ended; COMPLETED if none was asked for.

    Notes
    -----
    What was not asked for is None; what could not be computed is NaN.
    """

    name: str
    tensors: tuple[str, ...]
    num_params: int
    parameter_norm: float
    gradient_norm: float | None
    lambda_max: float | None
    lambda_max_residual: float | None
    lambda_min: float | None
    lambda_min_residual: float | None
    trace: float | None
    trace_standard_error: float | None
    num_matvecs: int
    status: Status


@dataclass(frozen=True)
class LayerCurvatures:
    """All layers, in the model's order; iterate, or index by name.

    Attributes
    ----------
    rows : tuple of LayerCurvature
    matrix : str
        What the matrix is.
    num_matvecs : int
        Products in all.
    gradient_equivalents : float
        What all of it cost, in gradients over all data, by the nominal prices. A product with one layer's block is charged
        as a whole one, though it takes less time.
    status : Status
        COMPLETED, or CUT_SHORT if interrupted: the last row may lack its trace (NaN), and later layers are missing.
    """

    rows: tuple[LayerCurvature, ...]
    matrix: str
    num_matvecs: int
    gradient_equivalents: float
    status: Status

    def __iter__(self) -> Iterator[LayerCurvature]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> LayerCurvature:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"there is no layer {name!r}; the layers are {', '.join(row.name for row in self.rows)}.")

    def to_table(self) -> list[dict[str, Any]]:
        """One dict a layer, of plain numbers and strings, without what was not asked for: for a data frame."""
        table = []
        for row in self.rows:
            entries = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
            entries["tensors"], entries["status"] = ", ".join(row.tensors), row.status.name
            table.append({key: value for key, value in entries.items() if value is not None})
        return table

    def __str__(self) -> str:
        keys = [key for key in _HEADINGS if any(getattr(row, key) is not None for row in self.rows)]
        cells = [[_HEADINGS[key] for key in keys], *([_cell(row, key) for key in keys] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
        lines = [
            "  ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(line))
            for line in (list(zip(line, widths, strict=True)) for line in cells)
        ]
        unsettled = [row.name for row in self.rows if row.status in (Status.MAX_MATVECS, Status.INTERRUPTED)]
        note = f" Not settled to the tolerance: {', '.join(unsettled)}." if unsettled else ""
        note += "" if self.status is Status.COMPLETED else f" {self.status}"
        told = (
            f"Diagonal blocks of {self.matrix}; after ±, residuals of eigenvalues and standard errors of traces. "
            f"{self.num_matvecs} products, {self.gradient_equivalents:.4g} gradient equivalents.{note}"
        )
        return "\n".join([*(line.rstrip() for line in lines), told])


def _cell(row: LayerCurvature, key: str) -> str:
    value = getattr(row, key)
    if value is None or not isinstance(value, float):
        return "" if value is None else str(value)
    error = getattr(row, _ERRORS[key]) if key in _ERRORS else None
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.1g}")

"""The columns of a history: their types, units and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One quantity that a row may carry."""

    name: str
    kind: Literal["int", "float", "str"]
    unit: str
    meaning: str


_COLUMNS = (
    Column("epoch", "int", "epochs", "passes over the data so far; row 0 is the start"),
    Column("phase", "str", "", "'first' or 'second': the optimiser that made this epoch"),
    Column("step", "int", "updates", "optimiser updates so far, both phases"),
    Column("loss", "float", "loss", "mean loss over all data at the end of the epoch"),
    Column("loss_running", "float", "loss", "mean of the mini-batch losses met during the epoch, at moving parameters"),
    Column("gradient_norm", "float", "loss/parameter", "2-norm of the full-data gradient at the end of the epoch"),
    Column(
        "gradient_norm_mean_batch", "float", "loss/parameter", "mean over the epoch of the mini-batch gradients' norms"
    ),
    Column(
        "gradient_norm_batch_mean", "float", "loss/parameter", "norm of the mean of the epoch's mini-batch gradients"
    ),
    Column("step_size", "float", "", "step size of a second-phase step"),
    Column("status", "str", "", "name of the Status of a second-phase step"),
    Column("gradient_equivalents", "float", "GE", "training and probing so far"),
    Column("probing_equivalents", "float", "GE", "the part of gradient_equivalents spent on recording, not on steps"),
    Column("forwards", "float", "passes", "forward-only passes so far, in units of the data"),
    Column("gradients", "float", "passes", "gradients so far, in units of the data"),
    Column("hessian_products", "float", "passes", "Hessian-vector products so far, in units of the data"),
    Column("samples", "int", "samples", "samples that went through the model so far"),
    Column("seconds", "float", "s", "wall time of training so far; the one column that a resumed run need not repeat"),
)

COLUMNS: dict[str, Column] = {column.name: column for column in _COLUMNS}

#: The columns of the gradient norm that the seed paper leaves open, by the name a policy takes.
NORM_COLUMNS = {
    "full": "gradient_norm",
    "mean_batch": "gradient_norm_mean_batch",
    "batch_mean": "gradient_norm_batch_mean",
}

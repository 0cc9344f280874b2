"""The columns of a history: their types, units and meanings.

In the meanings, x is the flat vector of trainable parameters at the end of the epoch, f the mean loss over all data, g and H
its gradient and Hessian at x. P is Adam's preconditioner, the diagonal 1 / (sqrt(v) + eps) with the bias-corrected second
moment v of the optimiser as it stands at the end of the epoch. A step is one optimiser update; g_b is the mini-batch gradient
that a step was made from, b the number of samples in it. Sums and dot products are accumulated in float64. A quantity whose
denominator is 0 is NaN; one that could not be taken (no Adam state, no reference point) is left out of the row.
"""

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


_RUN = (
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
    Column(
        "step_curvature",
        "float",
        "loss/parameter^2",
        "mean of u^T H u along a second-phase step, u the unit vector in its direction: the change of the slope over the step "
        "by its length; negative: the loss is not convex between its two ends",
    ),
    Column("status", "str", "", "name of the Status of a second-phase step"),
    Column(
        "sample_size", "int", "samples", "k: samples that a second-phase step on a sample of the data was made from"
    ),
    Column(
        "sample_noise",
        "float",
        "",
        "sqrt(v (1 - k/N) / k) / ||g||, the standard error of the gradient g over the last freshly drawn sample as a share of "
        "its norm, v the trace of the covariance of single samples' gradients as the sample's micro-batches tell it; 0 with "
        "all data",
    ),
    Column("gradient_equivalents", "float", "GE", "training and probing so far"),
    Column("probing_equivalents", "float", "GE", "the part of gradient_equivalents spent on recording, not on steps"),
    Column(
        "spent_share",
        "float",
        "",
        "share of the run that is over, of its budget or of its epochs, whichever is larger; recorded where a policy reads it",
    ),
    Column("forwards", "float", "passes", "forward-only passes so far, in units of the data"),
    Column("gradients", "float", "passes", "gradients so far, in units of the data"),
    Column("hessian_products", "float", "passes", "Hessian-vector products so far, in units of the data"),
    Column("samples", "int", "samples", "samples that went through the model so far"),
    Column("seconds", "float", "s", "wall time of training so far; the one column that a resumed run need not repeat"),
)

_OPTIMISER = (
    Column("parameter_norm", "float", "parameter", "||x||, the 2-norm of all trainable parameters"),
    Column(
        "learning_rate",
        "float",
        "",
        "rate of the epoch's last step; the largest one where parameter groups differ; absent in row 0",
    ),
    Column(
        "batch_size",
        "int",
        "samples",
        "b: samples per step, as asked for (a ragged last batch does not count); all of them in a full-batch epoch",
    ),
    Column("dataset_size", "int", "samples", "N: samples in the training data"),
    Column("dtype", "str", "", "number format of the parameters, such as 'float32'"),
    Column("update_norm", "float", "parameter", "||p||, p = x_after - x_before of the epoch's last step"),
    Column(
        "distance_from_start",
        "float",
        "parameter",
        "||x - x_s||, x_s the parameters when the present phase began: at row 0, or in the last row before the swap",
    ),
    Column(
        "gradient_norm_adam",
        "float",
        "sqrt(loss)",
        "sqrt(g'Pg), the norm of the full-data gradient that is dual to Adam's metric",
    ),
    Column("step_dot_step", "float", "parameter^2", "p'p, p = x_after - x_before of the epoch's last step"),
    Column(
        "step_dot_gradient", "float", "loss", "p'g_b of the epoch's last step; below 0 where it goes down the gradient"
    ),
)

_NOISE = (
    Column(
        "gradient_variance",
        "float",
        "(loss/parameter)^2",
        "trace of the per-sample gradients' covariance at x: sum_i ||g_i - mean||^2 / (n - 1) over n samples, or "
        "b * sum_k ||g_k - mean||^2 / (K - 1) over K independent batches of b samples drawn with replacement",
    ),
    Column(
        "gradient_norm_squared_unbiased",
        "float",
        "(loss/parameter)^2",
        "unbiased estimate of ||g||^2 at x: ||g||^2 itself where the full-data gradient is known, else "
        "(B ||g_B||^2 - b ||g_b||^2) / (B - b) from independent batches of b and B > b samples; may fall below 0",
    ),
    Column(
        "norm_test_ratio",
        "float",
        "",
        "sum_i ||g_i - g_b||^2 / ((b - 1) b ||g_b||^2) over the b per-sample gradients of one mini-batch at x, with the "
        "run's batch size b",
    ),
    Column(
        "inner_product_test_ratio",
        "float",
        "",
        "sum_i (g_i'g_b - ||g_b||^2)^2 / ((b - 1) b ||g_b||^4) over the b per-sample gradients of one mini-batch at x",
    ),
    Column(
        "evidence",
        "float",
        "",
        "1 - (b/D) sum_d g_bd^2 / s_d^2 over the D coordinates, s_d^2 = sum_i (g_id - g_bd)^2 / (b - 1) the per-sample "
        "variance within one mini-batch at x; coordinates with s_d = 0 are left out of sum and D",
    ),
    Column(
        "gradient_autocorrelation",
        "float",
        "(loss/parameter)^2",
        "mean over the epoch's steps of g_t'g_{t-1}, the mini-batch gradients of consecutive steps, each at the parameters "
        "of its own step (the first pair reaches back into the epoch before, where there was one)",
    ),
    Column(
        "position_dot_gradient",
        "float",
        "loss",
        "mean over the epoch's steps of x_t'g_t, the parameters before step t and the mini-batch gradient there",
    ),
    Column(
        "update_square", "float", "parameter^2", "mean over the epoch's steps of ||x_{t+1} - x_t||^2, momentum included"
    ),
)

_CURVATURE = (
    Column("curvature_gradient", "float", "loss/parameter^2", "g'Hg / g'g"),
    Column("curvature_update", "float", "loss/parameter^2", "d'Hd / d'd, d = x - (x at the row before)"),
    Column("curvature_adam", "float", "loss/parameter^2", "q'Hq / q'q along Adam's own direction q = Pg"),
    Column(
        "gradient_hessian_adam",
        "float",
        "(loss/parameter)^2",
        "g'HPg: under Adam's flow x' = -Pg, d||g||^2/dt = -2 g'HPg; a bilinear form, no curvature",
    ),
    Column(
        "model_agreement",
        "float",
        "",
        "(f(x) - f(x + s)) / (-g's - s'Hs/2), s a trial step of the second phase from x, not taken",
    ),
    Column(
        "gauss_newton_gap", "float", "", "|g'(H - G)g| / g'Gg, G the generalised Gauss-Newton matrix of the same loss"
    ),
    Column(
        "trial_cg_curvature",
        "float",
        "loss/parameter^2",
        "min_j p_j'Hp_j / p_j'p_j over the directions p_j of a trial of linear conjugate gradients on (H + 2 eps I)s = -g; "
        "the quotient is of H alone, without the damping",
    ),
    Column(
        "symmetry_curvature",
        "float",
        "loss/parameter^2",
        "min u'Hu / u'u over the directions u of the model's known symmetries, in closed form from g; absent if none is "
        "known",
    ),
)

_SPECTRUM = (
    Column("lambda_min", "float", "loss/parameter^2", "smallest Ritz value of H: never below the smallest eigenvalue"),
    Column("lambda_max", "float", "loss/parameter^2", "largest Ritz value of H: never above the largest eigenvalue"),
    Column("lambda_min_residual", "float", "loss/parameter^2", "||Hy - theta y|| of lambda_min's unit Ritz vector y"),
    Column("lambda_max_residual", "float", "loss/parameter^2", "||Hy - theta y|| of lambda_max's unit Ritz vector y"),
    Column(
        "negative_mass",
        "float",
        "",
        "share of H's eigenvalues below -eps, eps = 1e-3 |lambda_max|: sum of the weights w_i = (e_1's_i)^2 of Ritz values "
        "theta_i < -eps, averaged over Lanczos runs from independent random unit vectors (stochastic quadrature)",
    ),
    Column(
        "gradient_negative_mass",
        "float",
        "",
        "sum of the weights w_i = (e_1's_i)^2 of Ritz values theta_i < 0 in a Lanczos run started at g/||g||: the share of "
        "||g||^2 that lies in directions of negative curvature, as far as the run resolves it",
    ),
    Column("certificate", "str", "", "name of the verdict on lambda_min: NEGATIVE, ABOVE or UNDECIDED"),
    Column("certificate_lower", "float", "loss/parameter^2", "lower bound of the certificate; may be -inf"),
    Column(
        "certificate_upper", "float", "loss/parameter^2", "upper bound of the certificate: a curvature that was met"
    ),
    Column("certificate_delta", "float", "", "probability with which this one certificate's ABOVE may be wrong"),
    Column(
        "preconditioned_sharpness",
        "float",
        "",
        "learning_rate * lambda_1(P^(1/2) H P^(1/2)): the largest eigenvalue of the Hessian in Adam's metric times the rate",
    ),
)

_PATH = (
    Column(
        "secant_curvature",
        "float",
        "loss/parameter^2",
        "(g_b - g_a)'(x_b - x_a) / ||x_b - x_a||^2 with full-data gradients at the checkpoint before (a) and at this row (b)",
    ),
    Column(
        "lower_bound_gap",
        "float",
        "loss",
        "min of f(y) - f(x) - g_x'(y - x) over all ordered pairs (x, y) of the checkpoints kept, this row's among them; below "
        "0 where a tangent at one lies above the loss at another",
    ),
    Column(
        "segment_second_difference",
        "float",
        "loss",
        "min_i f_{i-1} - 2 f_i + f_{i+1} over points spaced evenly on the segment from the checkpoint before to x",
    ),
)

_REFERENCE = (
    Column(
        "reference_gap",
        "float",
        "loss",
        "f(x) - f(y) - g'(x - y), y the reference point; at most 0 where the loss is convex between both",
    ),
    Column("restricted_secant", "float", "loss/parameter^2", "g'(x - y) / ||x - y||^2, y the reference point"),
    Column("error_bound", "float", "loss/parameter^2", "||g|| / ||x - y||, y the reference point"),
)

_TRIAL = (
    Column(
        "trial_search",
        "int",
        "",
        "1 if a trial line search of the second phase from a copy of x met its acceptance test, 0 if not",
    ),
    Column(
        "race_rate",
        "float",
        "loss/GE",
        "(f(x) - f after m trial steps of the second phase from a copy of x) / GE that they cost, line searches included",
    ),
    Column(
        "first_phase_rate",
        "float",
        "loss/GE",
        "(loss w epochs ago - loss now) / GE of training (without probing) in between, within the first phase; w is the "
        "tracker's, fewer at its beginning",
    ),
    Column(
        "rounding_floor",
        "float",
        "loss",
        "how far rounding may put the loss off: the larger of u |f| (u the unit roundoff of dtype) and |f - f in float64|",
    ),
)

COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (*_RUN, *_OPTIMISER, *_NOISE, *_CURVATURE, *_SPECTRUM, *_PATH, *_REFERENCE, *_TRIAL)
}

#: Families of columns with one meaning, one column for each layer; the name ends in ``/*`` where all are meant. A layer is a
#: module with trainable parameters of its own, named as in ``model.named_modules()``.
FAMILIES: dict[str, Column] = {
    family.name: family
    for family in (
        Column(
            "gradient_norm/*", "float", "loss/parameter", "||g_l||, the part of the full-data gradient in layer l's own"
        ),
        Column("parameter_norm/*", "float", "parameter", "||x_l||, the 2-norm of layer l's own parameters"),
    )
}

#: The columns of the gradient norm that the seed paper leaves open, by the name a policy takes.
NORM_COLUMNS = {
    "full": "gradient_norm",
    "mean_batch": "gradient_norm_mean_batch",
    "batch_mean": "gradient_norm_batch_mean",
}

#: The columns that say how far a run has come, in whatever unit.
CLOCK_COLUMNS = frozenset(
    {
        "epoch",
        "step",
        "gradient_equivalents",
        "probing_equivalents",
        "spent_share",
        "forwards",
        "gradients",
        "hessian_products",
        "samples",
        "seconds",
    }
)


def describe_column(name: str) -> Column | None:
    """Type, unit and meaning of a column, a layer's included; None for a column of one's own.

    Examples
    --------
    >>> describe_column("gradient_norm/blocks.0.attention").unit
    'loss/parameter'
    """
    family, slash, _ = name.partition("/")
    return COLUMNS.get(name) or (FAMILIES.get(f"{family}/*") if slash else None)


def members(family: str, columns: list[str]) -> list[str]:
    """The columns that belong to ``family``: those of a ``.../*``, else the column itself if it is there.

    Examples
    --------
    >>> members("gradient_norm/*", ["loss", "gradient_norm", "gradient_norm/head"])
    ['gradient_norm/head']
    """
    if family.endswith("/*"):
        return [name for name in columns if name.startswith(family[:-1])]
    return [name for name in columns if name == family]

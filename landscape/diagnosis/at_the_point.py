"""Findings about the point itself: whether it is stationary, and how exact the numbers about it are."""

from __future__ import annotations

import math
from typing import Any

import torch

from landscape.diagnosis.finding import Finding, Outlook
from landscape.diagnosis.titles import TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.operators.base import ROUNDING_EPSILONS
from landscape.vectors import norm

#: A relative gradient below this counts as stationary: moving all parameters by 1 % of their length changes the loss by
#: 1e-4 of it at most, to first order.
STATIONARY = 1e-2


def stationarity(bench: Workbench) -> Finding:
    r"""Gradient norm, in its own units and relative: :math:`\|g\| \|x\| / |f|`, which no rescaling of loss or unit changes."""
    loss, size, length = bench.loss, norm(bench.gradient), norm(bench.params)
    relative = relative_gradient(loss, size, length)
    outlook, meaning, step = _told(bench, size, relative)
    return Finding(
        "stationarity",
        TITLES["stationarity"],
        "",
        outlook,
        meaning,
        value=relative,
        threshold=STATIONARY,
        threshold_text="stationary up to",
        next_step=step,
        details={
            "gradient_norm": size,
            "relative": relative,
            "loss": loss,
            "parameter_norm": length,
            "per_layer": _per_layer(bench),
        },
    )


def relative_gradient(loss: float, gradient_norm: float, parameter_norm: float) -> float:
    """The gradient norm in units of loss over parameter norm; NaN where these have no scale.

    Examples
    --------
    >>> relative_gradient(loss=2.0, gradient_norm=0.5, parameter_norm=8.0), relative_gradient(1.0, 0.0, 0.0)
    (2.0, 0.0)
    """
    if gradient_norm == 0.0:
        return 0.0
    if parameter_norm == 0.0:
        return math.nan
    return gradient_norm * parameter_norm / abs(loss) if loss != 0.0 else math.inf


def _told(bench: Workbench, size: float, relative: float) -> tuple[Outlook, str, str]:
    eigenvalues = "The eigenvalues tell a minimum from a saddle."
    if not bench.is_finite:
        meaning = (
            f"The loss is {bench.loss:.4g} and the gradient norm {size:.4g}: nothing can be said about such a point."
        )
        return Outlook.UNFAVOURABLE, meaning, "Look for a diverged training run, a logarithm or a division at 0."
    if size == 0.0:
        return Outlook.FAVOURABLE, f"The gradient is exactly zero. {eigenvalues}", ""
    rounding = ROUNDING_EPSILONS * torch.finfo(bench.params.dtype).eps * bench.stretch * norm(bench.params)
    if size <= rounding:
        meaning = f"The gradient norm is {size:.3g}, zero to rounding, which may change it by {rounding:.2g}."
        return Outlook.FAVOURABLE, f"{meaning} {eigenvalues}", ""
    meaning = f"The gradient norm is {size:.3g}"
    if relative <= STATIONARY:
        part = f"moving the parameters by 1 % of their length changes the loss by {0.01 * relative:.1g} of it at most"
        return Outlook.FAVOURABLE, f"{meaning}, which is small: {part}. {eigenvalues}", ""
    meaning += ": the loss falls on from here"
    if 1.0 < relative < math.inf:
        meaning += f", by a tenth of it, to first order, if the parameters move by {0.1 / relative:.2g} of their length"
    elif relative <= 1.0:
        meaning += f", by {0.01 * relative:.2g} of it, to first order, if the parameters move by 1 % of their length"
    step = "Minimum or saddle is no question before the gradient is small; curvature counts all the same."
    return Outlook.NEUTRAL, f"{meaning}.", step


def _per_layer(bench: Workbench) -> list[dict[str, Any]]:
    parts, points = bench.per_layer(bench.gradient), bench.per_layer(bench.params)
    return [
        {"name": name, "gradient_norm": norm(parts[name]), "parameter_norm": norm(points[name])}
        for name in bench.layers
    ]


def precision(bench: Workbench) -> Finding:
    """Error of a Hessian product against float64, and what the verification of derivatives found."""
    found = bench.verification
    if bench.is_finite:  # else there is nothing that could be trusted, and the loss says so
        found.raise_if_failed(swapping=bench.method == "finite-difference")
    failed = [check for check in found.checks if not check.passed]
    dtype = str(bench.problem.layout.dtype).removeprefix("torch.")
    resolved = torch.finfo(bench.problem.layout.dtype).eps * abs(bench.loss)
    value = found.product_error
    if failed:
        outlook = Outlook.UNDECIDED
        meaning = f"A check of the derivatives failed: {'; '.join(str(check).strip() for check in failed)}."
        step = "Repair what is named first."
    else:
        outlook, step = Outlook.NEUTRAL, ""
        error = f"a Hessian product in {dtype} is off by {value:.1e} of its length"
        if math.isnan(value):
            why = "it is float64 already" if dtype == "float64" else "there is no copy in float64 to compare with"
            error = f"the error of a Hessian product was not measured ({why})"
        meaning = (
            f"The derivatives passed all checks; {error}. Rounding is part of every bound on an eigenvalue. Losses that differ "
            f"by less than {resolved:.1e} cannot be told apart."
        )
    checks = [str(check) for check in found.checks]
    return Finding(
        "precision",
        TITLES["precision"],
        "",
        outlook,
        meaning,
        value=None if math.isnan(value) else value,
        next_step=step,
        details={"product_error": value, "loss_rounding": resolved, "checks": checks, "method": found.method},
    )

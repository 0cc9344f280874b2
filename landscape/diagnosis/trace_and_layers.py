"""Findings about the trace of the Hessian, and about the part of it that each layer has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.diagnosis.finding import Finding, Outlook
from landscape.diagnosis.titles import CURVATURE, TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.probes.layers.layerwise import layerwise
from landscape.probes.layers.result import LayerCurvature
from landscape.probes.spectrum.trace import mean_and_standard_error, random_signs
from landscape.status import Status
from landscape.vectors import dot, norm

#: Products at most for the ends of one layer's block.
MAX_LAYER_PRODUCTS = 30


def trace_and_layers(bench: Workbench) -> list[Finding]:
    r"""Trace of the Hessian and of every layer's block, from the same products: :math:`z^\top H z` for random signs z.

    Hutchinson (1989), Commun. Stat. Simul. 18: the sum over a layer's own coordinates of :math:`z_i (H z)_i` has the trace of
    that block as its mean. Where there are products enough for every coordinate, coordinates take the place of signs.
    """
    size, count = bench.problem.num_params, bench.level.trace_products
    is_exact = size <= count
    generator = bench.generator(4)
    totals: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in bench.layers}
    for index in range(min(size, count)):
        z = _coordinate(bench, index) if is_exact else random_signs(bench.hessian, 1, generator)[:, 0].contiguous()
        product = bench.hessian @ z
        totals.append(dot(z, product))
        zs, products = bench.per_layer(z), bench.per_layer(product)
        for name, values in parts.items():
            values.append(dot(zs[name], products[name]))
        bench.tick()
    traces = {name: _sum_or_mean(values, is_exact) for name, values in parts.items()}
    return [_trace(*_sum_or_mean(totals, is_exact), size, len(totals)), _layers(bench, traces)]


def _coordinate(bench: Workbench, index: int) -> Tensor:
    z = torch.zeros_like(bench.params)
    z[index] = 1.0
    return z


def _sum_or_mean(values: list[float], is_exact: bool) -> tuple[float, float]:
    if is_exact:
        return math.fsum(values) if all(map(math.isfinite, values)) else math.nan, 0.0
    return mean_and_standard_error(torch.tensor(values, dtype=torch.float64))


def _trace(value: float, error: float, size: int, num_products: int) -> Finding:
    step = ""
    if math.isnan(value):
        outlook, meaning = Outlook.UNDECIDED, "A product was not finite, so the trace is no number."
    elif abs(value) <= 2 * error:
        outlook = Outlook.UNDECIDED
        meaning = f"The trace is {value:.4g} with a standard error of {error:.2g}: its sign is not known."
        step = "More random vectors (a higher level) narrow the standard error."
    elif value > 0:
        outlook = Outlook.NEUTRAL
        meaning = (
            f"The mean eigenvalue is {value / size:.3g} (trace {value:.4g}, standard error {error:.2g}): positive curvature "
            "outweighs negative. That does not say that there is none."
        )
    else:
        outlook = Outlook.UNFAVOURABLE if value < 0 else Outlook.NEUTRAL
        told = "negative curvature outweighs positive" if value < 0 else "positive and negative curvature cancel"
        meaning = f"The mean eigenvalue is {value / size:.3g} (trace {value:.4g}, standard error {error:.2g}): {told}."
    return Finding(
        "trace",
        TITLES["trace"],
        "",
        outlook,
        meaning,
        value=value,
        error=error,
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="negative curvature outweighs below",
        next_step=step,
        details={"num_products": num_products, "is_exact": error == 0.0, "mean_eigenvalue": value / size},
    )


def _layers(bench: Workbench, traces: Mapping[str, tuple[float, float]]) -> Finding:
    gradients, points = bench.per_layer(bench.gradient), bench.per_layer(bench.params)
    ends, status = _ends(bench)
    rows: list[dict[str, Any]] = []
    for name, (trace, error) in traces.items():
        row: dict[str, Any] = {
            "name": name,
            "num_params": gradients[name].numel(),
            "gradient_norm": norm(gradients[name]),
            "parameter_norm": norm(points[name]),
            "trace": trace,
            "trace_standard_error": error,
        }
        if name in ends:
            end = ends[name]
            row.update(lambda_min=end.lambda_min, lambda_max=end.lambda_max)
            row.update(lambda_min_residual=end.lambda_min_residual, lambda_max_residual=end.lambda_max_residual)
        rows.append(row)
    return Finding(
        "layers",
        TITLES["layers"],
        "",
        Outlook.NEUTRAL,
        _told_of_layers(rows),
        value=float(len(rows)),
        unit="layers" if len(rows) != 1 else "layer",
        status="" if status is Status.COMPLETED else str(status),
        details={"rows": rows},
    )


def _ends(bench: Workbench) -> tuple[dict[str, LayerCurvature], Status]:
    """Extreme eigenvalues of each layer's block, where the level asks for them; all layers share the products."""
    if not bench.level.layer_products:
        return {}, Status.COMPLETED
    found = layerwise(
        bench.problem,
        quantities=("lambda_max", "lambda_min"),
        operator=bench.hessian,
        max_matvecs=max(1, min(MAX_LAYER_PRODUCTS, bench.level.layer_products // len(bench.layers))),
        generator=bench.generator(5),
    )
    return {row.name: row for row in found.rows}, found.status


def _told_of_layers(rows: list[dict[str, Any]]) -> str:
    if len(rows) == 1:
        return f"All parameters belong to one module, {_called(rows[0]['name'])}, so there is nothing to compare."
    finite = [row for row in rows if not math.isnan(row["trace"])]
    told = ""
    if finite:
        sharpest = max(finite, key=lambda row: row["trace"])
        total = math.fsum(row["trace"] for row in finite)
        share = f" ({sharpest['trace'] / total:.0%} of the trace)" if total > 0 and sharpest["trace"] <= total else ""
        told = f"Most curvature is in {_called(sharpest['name'])}{share}; the"
    steepest = max(rows, key=lambda row: row["gradient_norm"])
    told = f"{told or 'The'} largest part of the gradient is in {_called(steepest['name'])}."
    negative = [_called(row["name"]) for row in finite if row["trace"] < -2 * row["trace_standard_error"]]
    if negative:
        others = f" and {len(negative) - 3} more" if len(negative) > 3 else ""
        told += f" The loss curves down on average along parameters of {', '.join(negative[:3])}{others}."
    below = [_called(row["name"]) for row in rows if row.get("lambda_min", 0.0) < -row.get("lambda_min_residual", 0.0)]
    if below:
        told += f" {len(below)} of {len(rows)} layers have negative curvature of their own."
    return told


def _called(name: str) -> str:
    return "the model's own parameters" if name == "(root)" else f"layer {name!r}"

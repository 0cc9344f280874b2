"""Findings about all eigenvalues together: trace, density, condition number, layers, sharpness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import CURVATURE, TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.lanczos import lanczos
from landscape.probes.layers.layerwise import layerwise
from landscape.probes.layers.result import LayerCurvature
from landscape.probes.spectrum.density import SpectralDensity, spectral_density
from landscape.probes.spectrum.trace import mean_and_standard_error, random_signs
from landscape.status import Status
from landscape.vectors import dot, norm

#: Fewer negative eigenvalues than this share count as none.
NEGLIGIBLE = 0.01
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
    return "the model's own parameters" if name == "(root)" else name


def density_and_condition(bench: Workbench) -> list[Finding]:
    """Spectral density with the share of negative eigenvalues, and the condition number of what was resolved."""
    found = spectral_density(
        bench.hessian,
        num_probes=bench.level.density_probes,
        num_steps=bench.level.density_steps,
        generator=bench.generator(6),
        callback=lambda _: bench.tick(),
    )
    if not found.probes:
        reason = str(found.status)
        return [
            not_measured("density", TITLES["density"], "A'", reason),
            not_measured("condition_number", TITLES["condition_number"], "", reason),
        ]
    return [_density(bench, found), _condition(bench, found)]


def _density(bench: Workbench, found: SpectralDensity) -> Finding:
    mass = found.mass_below()
    low, high = mass.interval()
    curve = found.density(axis="symlog")
    outlook = (
        Outlook.UNFAVOURABLE if low > NEGLIGIBLE else Outlook.FAVOURABLE if high < NEGLIGIBLE else Outlook.UNDECIDED
    )
    size = bench.problem.num_params
    if found.is_exact:
        count = round(mass.value * size)
        meaning = f"Of all {size} eigenvalues {count} {'is' if count == 1 else 'are'} below {mass.threshold:.2g}."
    else:
        meaning = (
            f"About {mass.value:.2%} of the eigenvalues ({mass.value * size:.0f} of {size}) are below {mass.threshold:.2g}; "
            f"between {low:.2%} and {high:.2%}, with two standard errors for the random starts."
        )
    return Finding(
        "density",
        TITLES["density"],
        "A'",
        outlook,
        meaning,
        value=mass.value,
        error=mass.standard_error,
        interval=(low, high),
        threshold=NEGLIGIBLE,
        threshold_text="negligible below",
        status=str(found.status),
        next_step="" if outlook is not Outlook.UNDECIDED else "More steps and probes (a higher level) narrow this.",
        details={
            "grid": curve.grid.tolist(),
            "density": curve.values.tolist(),
            "nodes": found.nodes.tolist(),
            "weights": found.weights.tolist(),
            "negative_mass": mass.value,
            "negative_mass_error": mass.standard_error,
            "negative_threshold": mass.threshold,
            "linear_range": curve.linear_range,
            "num_probes": len(found.probes),
            "is_exact": found.is_exact,
        },
    )


def _condition(bench: Workbench, found: SpectralDensity) -> Finding:
    title = TITLES["condition_number"]
    values, residuals = found.converged()
    floor = found.product_error * float(found.nodes.abs().max())
    resolved = values[(values > floor) & (values > 10 * residuals)]
    largest = max(float(found.nodes.max()), bench.certificate.lambda_max if bench.certificate is not None else 0.0)
    if len(resolved) == 0:
        return not_measured(
            "condition_number", title, "", "No positive eigenvalue was resolved.", "Ask for a higher level."
        )
    smallest = float(resolved.min())
    value = largest / smallest
    count = f"{len(resolved)} positive one{'s' * (len(resolved) != 1)}"
    meaning = (
        f"The largest eigenvalue is {value:.3g} times the smallest of the {count} above rounding ({smallest:.3g})."
        if found.is_exact
        else f"At least {value:.3g}: the largest eigenvalue over the smallest of the {count} resolved ({smallest:.3g})."
    )
    least = "" if found.is_exact else "at least "
    return Finding(
        "condition_number",
        title,
        "",
        Outlook.NEUTRAL,
        f"{meaning} For each digit of accuracy conjugate gradients take {least}about {1.15 * math.sqrt(value):.2g} steps, "
        f"steepest descent {1.15 * value:.2g}.",
        value=value,
        status="" if found.is_exact else "A lower bound: smaller positive eigenvalues were not resolved.",
        details={"num_resolved": len(resolved), "smallest": smallest, "largest": largest, "is_exact": found.is_exact},
    )


def sharpness(bench: Workbench) -> Finding:
    r"""Largest eigenvalue of :math:`|x| H |x|`, the Hessian in units of each parameter's own size.

    Kwon, Kim, Park, Choi (2021), ASAM, ICML: rescaling a layer and its successor, which changes no output, leaves it.
    """
    scaled = RescaledOperator(bench.hessian, bench.params.abs())
    found = lanczos(
        scaled,
        ends="largest",
        max_matvecs=bench.level.sharpness_products,
        generator=bench.generator(7),
        callback=lambda *_: bench.tick(),
    )
    value, error = found.largest.value, max(found.largest.residual_norm, scaled.product_error * found.norm_estimate)
    if math.isnan(value):
        return not_measured("sharpness", TITLES["sharpness"], "", str(found.status))
    relative = value / abs(bench.loss) if bench.loss != 0.0 else math.nan
    rise = 0.5e-4 * value
    part = "" if math.isnan(relative) else f" ({0.5e-4 * relative:.2g} of it)"
    meaning = (
        f"Relative changes of the parameters whose squares add up to (1 %)^2 raise the loss by up to about {rise:.2g}{part}, "
        "to second order."
        if value > 0
        else "Relative changes of the parameters do not raise the loss to second order."
    )
    details: dict[str, Any] = {"relative_to_loss": relative, "num_matvecs": found.num_matvecs}
    if bench.certificate is not None:
        details["squared_norm_times_lambda_max"] = norm(bench.params) ** 2 * bench.certificate.lambda_max
    return Finding(
        "sharpness",
        TITLES["sharpness"],
        "",
        Outlook.NEUTRAL,
        f"{meaning} Unlike lambda_max this does not change where layers are rescaled without changing the outputs.",
        value=value,
        error=error,
        unit="loss",
        status=str(found.status),
        details=details,
    )


class RescaledOperator(LinearOperator):
    """D A D for a diagonal D: an operator in other units.

    Parameters
    ----------
    base : LinearOperator of shape (n, n)
        A.
    scale : Tensor of shape (n,)
        The diagonal of D.
    """

    def __init__(self, base: LinearOperator, scale: Tensor) -> None:
        super().__init__(base.size, base.dtype, base.device)
        self.base = base
        self.scale = scale

    @property
    def product_error(self) -> float:
        """That of the base."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """What the matrix is."""
        return f"{self.base.description}, in units of each parameter's size"

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.scale * (self.base @ (self.scale * vector))

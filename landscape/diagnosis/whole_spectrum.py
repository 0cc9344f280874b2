"""Findings about all eigenvalues together: trace, density, condition number, layers, sharpness."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from landscape.diagnosis.extreme_eigenvalues import CURVATURE
from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.workbench import Workbench
from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.lanczos import lanczos
from landscape.probes.layers.layerwise import layerwise
from landscape.probes.layers.result import LayerCurvature
from landscape.probes.spectrum.density import SpectralDensity, spectral_density
from landscape.probes.spectrum.trace import mean_and_standard_error, random_signs
from landscape.vectors import dot, norm


def trace_and_layers(bench: Workbench) -> list[Finding]:
    r"""Trace of the Hessian and of every layer's block, from the same products: :math:`z^\top H z` for random signs z.

    Hutchinson (1989), Commun. Stat. Simul. 18: the sum over a layer's own coordinates of :math:`z_i (H z)_i` has the trace of
    that block as its mean.
    """
    signs = random_signs(bench.hessian, bench.level.trace_products, bench.generator(4))
    totals: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in bench.layers}
    for z in signs.T:
        product = bench.hessian @ z.contiguous()
        totals.append(dot(z.contiguous(), product))
        zs, products = bench.per_layer(z.contiguous()), bench.per_layer(product)
        for name, values in parts.items():
            values.append(dot(zs[name], products[name]))
    value, error = mean_and_standard_error(torch.tensor(totals, dtype=torch.float64))
    size = bench.problem.num_params
    decided = abs(value) > 2 * error
    outlook = Outlook.UNDECIDED if not decided else Outlook.FAVOURABLE if value > 0 else Outlook.UNFAVOURABLE
    meaning = (
        f"The mean eigenvalue is {value / size:.3g}: the trace is {value:.4g} with a standard error of {error:.2g}. A positive "
        "trace says that positive curvature outweighs negative, not that there is none."
    )
    trace = Finding(
        "trace",
        "Trace of the Hessian",
        "",
        Outlook.NEUTRAL if outlook is Outlook.FAVOURABLE else outlook,
        meaning,
        value=value,
        error=error,
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="negative curvature outweighs below",
        next_step="" if decided else "More random vectors (a higher level) narrow the standard error.",
        details={"num_products": len(totals)},
    )
    return [trace, _layers(bench, parts)]


def _layers(bench: Workbench, traces: dict[str, list[float]]) -> Finding:
    gradients, points = bench.per_layer(bench.gradient), bench.per_layer(bench.params)
    ends: dict[str, LayerCurvature] = {}
    if bench.level.layer_products:
        found = layerwise(
            bench.problem,
            quantities=("lambda_max", "lambda_min"),
            operator=bench.hessian,
            max_matvecs=bench.level.layer_products,
            generator=bench.generator(5),
        )
        ends = {row.name: row for row in found.rows}
    rows: list[dict[str, Any]] = []
    for name, values in traces.items():
        trace, error = mean_and_standard_error(torch.tensor(values, dtype=torch.float64))
        row: dict[str, Any] = {
            "name": name,
            "num_params": gradients[name].numel(),
            "gradient_norm": norm(gradients[name]),
            "parameter_norm": norm(points[name]),
            "trace": trace,
            "trace_standard_error": error,
        }
        if name in ends:
            row.update(lambda_min=ends[name].lambda_min, lambda_max=ends[name].lambda_max)
        rows.append(row)
    sharpest = max(rows, key=lambda row: row["trace"])
    steepest = max(rows, key=lambda row: row["gradient_norm"])
    total = sum(row["trace"] for row in rows)
    negative = [row["name"] for row in rows if row["trace"] < -2 * row["trace_standard_error"]]
    told = f"; {', '.join(negative[:3])} curve down on average" if negative else ""
    share = f" ({sharpest['trace'] / total:.0%} of the trace)" if total > 0 else ""
    return Finding(
        "layers",
        "Curvature and gradient of each layer",
        "",
        Outlook.NEUTRAL,
        f"Most curvature is in {sharpest['name']}{share}, the largest gradient in {steepest['name']}{told}.",
        value=float(len(rows)),
        unit="layers",
        details={"rows": rows},
    )


def density_and_condition(bench: Workbench) -> list[Finding]:
    """Spectral density with the share of negative eigenvalues, and the condition number of what was resolved."""
    found = spectral_density(
        bench.hessian,
        num_probes=bench.level.density_probes,
        num_steps=bench.level.density_steps,
        generator=bench.generator(6),
    )
    if not found.probes:
        reason = str(found.status)
        return [
            not_measured("density", "Share of negative eigenvalues", "A'", reason),
            not_measured("condition_number", "Condition number of the positive part", "", reason),
        ]
    return [_density(bench, found), _condition(bench, found)]


def _density(bench: Workbench, found: SpectralDensity) -> Finding:
    mass = found.mass_below()
    low, high = mass.interval()
    curve = found.density(axis="symlog")
    outlook = Outlook.UNFAVOURABLE if low > 0.01 else Outlook.FAVOURABLE if high < 0.01 else Outlook.UNDECIDED
    count = mass.value * bench.problem.num_params
    return Finding(
        "density",
        "Share of negative eigenvalues",
        "A'",
        outlook,
        f"About {mass.value:.2%} of the eigenvalues (some {count:.0f}) are below {mass.threshold:.2g}; between {low:.2%} and "
        f"{high:.2%}, whatever lies between the nodes.",
        value=mass.value,
        error=mass.standard_error,
        interval=(low, high),
        threshold=0.01,
        threshold_text="negligible below",
        status=str(found.status),
        next_step="" if outlook is not Outlook.UNDECIDED else "More steps and probes (a higher level) narrow this.",
        details={
            "grid": curve.grid.tolist(),
            "density": curve.values.tolist(),
            "nodes": found.nodes.tolist(),
            "weights": found.weights.tolist(),
            "negative_threshold": mass.threshold,
            "num_probes": len(found.probes),
        },
    )


def _condition(bench: Workbench, found: SpectralDensity) -> Finding:
    title = "Condition number of the positive part"
    values, residuals = found.converged()
    resolved = values[(values > 0) & (values > 10 * residuals)]
    largest = max(float(found.nodes.max()), bench.certificate.lambda_max if bench.certificate is not None else 0.0)
    if len(resolved) == 0 or largest <= 0:
        return not_measured(
            "condition_number",
            title,
            "",
            "No positive eigenvalue but perhaps the largest was resolved.",
            "Ask for a higher level.",
        )
    smallest = float(resolved.min())
    value = largest / smallest
    return Finding(
        "condition_number",
        title,
        "",
        Outlook.NEUTRAL,
        f"At least {value:.3g}: the largest eigenvalue over the smallest of the {len(resolved)} positive ones that were "
        f"resolved ({smallest:.3g}). Conjugate gradients take some {math.sqrt(value):.0f} steps for each digit, steepest "
        f"descent {value:.2g}.",
        value=value,
        status="A lower bound: smaller positive eigenvalues were not resolved.",
        details={"num_resolved": len(resolved), "smallest": smallest, "largest": largest},
    )


def sharpness(bench: Workbench) -> Finding:
    r"""Largest eigenvalue of :math:`|x| H |x|`, the Hessian in units of each parameter's own size.

    Kwon, Kim, Park, Choi (2021), ASAM, ICML: rescaling a layer and its successor, which changes no output, leaves it.
    """
    scaled = RescaledOperator(bench.hessian, bench.params.abs())
    found = lanczos(scaled, ends="largest", max_matvecs=bench.level.sharpness_products, generator=bench.generator(7))
    value, error = found.largest.value, found.largest.residual_norm
    relative = value / abs(bench.loss) if bench.loss != 0.0 else math.nan
    return Finding(
        "sharpness",
        "Scale-invariant sharpness",
        "",
        Outlook.NEUTRAL,
        f"Changing all parameters together by 1 % of their size raises the loss by at most about {0.5e-4 * value:.2g} "
        f"({0.5e-4 * relative:.2g} of it) to second order. Unlike lambda_max this does not change when layers are rescaled.",
        value=value,
        error=error,
        unit="loss",
        status=str(found.status),
        details={"relative_to_loss": relative, "num_matvecs": found.num_matvecs},
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

"""Findings about all eigenvalues together: density, condition number, sharpness."""

from __future__ import annotations

import math
from typing import Any

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.probes.lanczos.lanczos import lanczos
from landscape.probes.spectrum.density import SpectralDensity, spectral_density
from landscape.tracking.trackers.spectrum import Preconditioned
from landscape.vectors import norm

#: Fewer negative eigenvalues than this share count as none.
NEGLIGIBLE = 0.01


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
    scaled = Preconditioned(bench.hessian, bench.params.double().square())
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

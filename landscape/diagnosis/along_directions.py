"""Findings about the directions that an optimiser uses: gradient, random ones, the space that conjugate gradients see."""

from __future__ import annotations

import math
from typing import Any

import torch

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import CURVATURE, TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.optim.capped_cg import CappedCGResult, DirectionKind, capped_conjugate_gradient
from landscape.probes.directional import directional_curvature
from landscape.probes.spectrum.gradient_spectrum import GradientSpectrum
from landscape.probes.spectrum.gradient_spectrum import gradient_spectrum as spectrum_of_gradient
from landscape.probes.spectrum.quadrature import MassEstimate
from landscape.vectors import dot, norm
from landscape.verification.result import SWAPPED

#: Less of the squared gradient norm than this in negative curvature is nothing that an optimiser would notice.
VISIBLE = 0.01
#: A second phase is promising from this relative decrease of the loss by a single step on.
PROMISING = 0.1


def directional(bench: Workbench) -> Finding:
    """Curvature along the gradient and along random directions, with the error of other samples."""
    if norm(bench.gradient) == 0.0:
        return _without_gradient("directional")
    generator = bench.generator(3)
    size, dtype = bench.problem.num_params, bench.problem.layout.dtype
    randoms = [
        torch.randn(size, generator=generator, dtype=dtype).to(bench.gradient)
        for _ in range(bench.level.random_directions)
    ]
    found = directional_curvature(bench.hessian, torch.stack([bench.gradient, *randoms], dim=1))
    names = ["gradient", *(f"random {number}" for number in range(1, len(randoms) + 1))]
    rows = [
        {"name": name, "curvature": value, "standard_error": None if math.isnan(error) else error}
        for name, value, error in zip(names, found.values.tolist(), found.standard_errors.tolist(), strict=True)
    ]
    value, error = float(found.values[0]), float(found.standard_errors[0])
    if math.isnan(value):
        outlook, meaning = Outlook.UNDECIDED, f"The curvature along the gradient is no number. {found.status}"
    elif value < 0:
        outlook = Outlook.UNFAVOURABLE
        meaning = (
            f"Along the gradient the loss curves down ({value:.3g}): a short step downhill makes the gradient longer."
        )
    else:
        outlook = Outlook.FAVOURABLE
        meaning = f"Along the gradient the loss curves up ({value:.3g}), as a convex loss does."
    if randoms:
        num_up = int((found.values[1:] >= 0).sum())
        meaning += (
            f" Of {len(randoms)} random directions it curves up along {num_up}; these see the average of all eigenvalues, "
            "never a few negative ones."
        )
    return Finding(
        "directional",
        TITLES["directional"],
        "B",
        outlook,
        meaning,
        value=value,
        error=None if math.isnan(error) else error,
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="not convex below",
        status=str(found.status),
        details={"directions": rows},
    )


def gradient_spectrum(bench: Workbench) -> Finding:
    """How much of the gradient lies in directions of negative curvature: what conjugate gradients would meet."""
    if norm(bench.gradient) == 0.0:
        return _without_gradient("gradient_spectrum")
    found = spectrum_of_gradient(bench.hessian, bench.gradient, num_steps=bench.level.gradient_steps)
    if found.quadrature is None:
        return not_measured("gradient_spectrum", TITLES["gradient_spectrum"], "B", str(found.status))
    bench.lowest, bench.highest = float(found.nodes[0]), float(found.nodes[-1])
    bench.ritz_error = found.quadrature.resolution
    mass = found.negative_mass()
    outlook, meaning, step = _told_of_mass(mass)
    return Finding(
        "gradient_spectrum",
        TITLES["gradient_spectrum"],
        "B",
        outlook,
        f"{meaning} Along the gradient itself the curvature is {found.curvature:.3g}.",
        value=mass.value,
        interval=(mass.lower, mass.upper),
        threshold=VISIBLE,
        threshold_text="visible above",
        status=str(found.status),
        next_step=step,
        details=_details_of(found, mass),
    )


def _details_of(found: GradientSpectrum, mass: MassEstimate) -> dict[str, Any]:
    return {
        "nodes": found.nodes.tolist(),
        "weights": found.weights.tolist(),
        "curvature": found.curvature,
        "negative_mass": mass.value,
        "negative_threshold": mass.threshold,
        "is_exact": found.is_exact,
    }


def _told_of_mass(mass: MassEstimate) -> tuple[Outlook, str, str]:
    if mass.lower > VISIBLE:
        meaning = (
            f"Of the squared gradient norm {mass.value:.1%} lies in negative curvature: an optimiser meets it at once."
        )
        step = (
            "Take a second phase that uses it (newton-cg) or restarts from it (cg, lbfgs), or train on with the first."
        )
        return Outlook.UNFAVOURABLE, meaning, step
    if mass.upper <= VISIBLE:
        meaning = (
            f"At most {max(mass.upper, 1e-3):.1%} of the squared gradient norm lies in negative curvature: where the gradient "
            "points, the loss looks convex."
        )
        return Outlook.FAVOURABLE, meaning, ""
    meaning = (
        f"Between {mass.lower:.1%} and {mass.upper:.1%} of the squared gradient norm lies in negative curvature; best guess "
        f"{mass.value:.1%}."
    )
    return Outlook.UNDECIDED, meaning, "More Lanczos steps (a higher level) would narrow this."


def second_phase_gain(bench: Workbench) -> Finding:
    r"""What a Newton step would gain: the decrease of :math:`g^\top s + \tfrac12 s^\top H s` along a capped CG's step."""
    if norm(bench.gradient) == 0.0:
        return _without_gradient("second_phase_gain")
    if bench.is_verified and any(check.name == SWAPPED and not check.passed for check in bench.verification.checks):
        reason = "The loss cannot be evaluated at another point without moving the model: see the warning."
        return not_measured("second_phase_gain", TITLES["second_phase_gain"], "", reason)
    scale = max(bench.stretch, 0.0 if bench.certificate is None else _number(bench.certificate.lambda_max))
    found = capped_conjugate_gradient(
        lambda vector: bench.hessian @ vector,
        bench.gradient,
        damping=1e-3 * scale or 1e-6,
        tolerance=1e-2,
        max_products=bench.level.cg_products,
    )
    bench.tick()
    step = found.solution
    has_step = 0.0 < norm(step) < math.inf
    promised = -(dot(bench.gradient, step) + 0.5 * dot(step, bench.hessian @ step)) if has_step else 0.0
    actual = bench.loss - _loss_after(bench, step) if has_step else 0.0
    share = actual / abs(bench.loss) if bench.loss != 0.0 else math.nan
    outlook, meaning, advice = _told_of_gain(found, has_step, promised, actual, share)
    return Finding(
        "second_phase_gain",
        TITLES["second_phase_gain"],
        "",
        outlook,
        meaning,
        value=share if has_step else None,
        threshold=PROMISING,
        threshold_text="promising from",
        status=str(found.kind),
        next_step=advice,
        details={
            "model_decrease": promised,
            "actual_decrease": actual,
            "kind": found.kind.name,
            "lowest_curvature": found.lowest_curvature,
            "num_products": found.num_products,
            "residual": found.residual,
        },
    )


def _loss_after(bench: Workbench, step: torch.Tensor) -> float:
    return float(bench.problem.loss((bench.params.double() + step.double()).to(bench.params.dtype)))


def _told_of_gain(
    found: CappedCGResult, has_step: bool, promised: float, actual: float, share: float
) -> tuple[Outlook, str, str]:
    met = found.kind is DirectionKind.NEGATIVE_CURVATURE
    products = f"{found.num_products} conjugate-gradient product{'s' * (found.num_products != 1)}"
    if not has_step:
        if met:
            told = (
                f"Along the gradient the curvature is negative ({found.lowest_curvature:.3g}): there is no Newton step."
            )
            return (
                Outlook.UNFAVOURABLE,
                told,
                "Use newton-cg, which steps along negative curvature, or train on with the first.",
            )
        return Outlook.UNDECIDED, f"After {products} there is no step to try. {found.kind}", ""
    told = f"The step that {products} give should lower the loss by {promised:.3g}"
    stopped = f" They stopped at negative curvature ({found.lowest_curvature:.3g})." if met else ""
    if not math.isfinite(actual):
        told += f", but the loss is {'not a number' if math.isnan(actual) else 'infinite'} there.{stopped}"
        return Outlook.UNFAVOURABLE, told, "A second phase needs its line search here; whole Newton steps would fail."
    if actual <= 0.0:
        told += f", and raises it by {-actual:.3g}: the quadratic model does not hold as far as that.{stopped}"
        return Outlook.UNFAVOURABLE, told, "A second phase needs its line search here; whole Newton steps would fail."
    part = "" if math.isnan(share) else f", {share:.3g} of it" if share < 1e-3 else f", {share:.1%} of it"
    told += f" and lowers it by {actual:.3g}{part}.{stopped}"
    if share >= PROMISING:
        wanted = "one that bears negative curvature, such as newton-cg" if met else "cg, lbfgs or newton-cg"
        return Outlook.FAVOURABLE, told, f"A second phase has much to gain: {wanted}."
    return Outlook.NEUTRAL, told, "A second phase makes many such steps; this one alone gains little."


def _number(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _without_gradient(key: str) -> Finding:
    claim = "" if key == "second_phase_gain" else "B"
    return not_measured(key, TITLES[key], claim, "The gradient is exactly zero: it points nowhere.")

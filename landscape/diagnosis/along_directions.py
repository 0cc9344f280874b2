"""Findings about the directions that an optimiser uses: gradient, random ones, the space that conjugate gradients see."""

from __future__ import annotations

import math

import torch

from landscape.diagnosis.extreme_eigenvalues import CURVATURE
from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.workbench import Workbench
from landscape.optim.capped_cg import DirectionKind, capped_conjugate_gradient
from landscape.probes.directional import directional_curvature
from landscape.probes.spectrum.gradient_spectrum import gradient_spectrum as spectrum_of_gradient
from landscape.vectors import dot, norm

#: Less of the squared gradient norm than this in negative curvature is nothing that an optimiser would notice.
VISIBLE = 0.01
#: A second phase is promising from this relative decrease of the quadratic model on.
PROMISING = 0.1


def directional(bench: Workbench) -> Finding:
    """Curvature along the gradient and along random directions, with the error of other samples."""
    title = "Curvature along gradient and random directions"
    if norm(bench.gradient) == 0.0:
        return not_measured("directional", title, "B", "The gradient is zero: it has no direction.")
    generator = bench.generator(3)
    size, dtype = bench.problem.num_params, bench.problem.layout.dtype
    randoms = [
        torch.randn(size, generator=generator, dtype=dtype).to(bench.gradient)
        for _ in range(bench.level.random_directions)
    ]
    found = directional_curvature(bench.hessian, torch.stack([bench.gradient, *randoms], dim=1))
    names = ["gradient", *(f"random {number}" for number in range(1, len(randoms) + 1))]
    rows = [
        {"name": name, "curvature": float(value), "standard_error": float(error)}
        for name, value, error in zip(names, found.values, found.standard_errors, strict=True)
    ]
    value, error = float(found.values[0]), float(found.standard_errors[0])
    num_negative = int((found.values[1:] < 0).sum())
    if value < 0:
        outlook = Outlook.UNFAVOURABLE
        meaning = (
            f"Along the gradient the loss curves down ({value:.3g}): steepest descent speeds up, and its norm grows."
        )
    else:
        outlook = Outlook.FAVOURABLE
        meaning = f"Along the gradient the loss curves up ({value:.3g}), as a convex loss would."
    if randoms:
        meaning += (
            f" So it does along {len(randoms) - num_negative} of {len(randoms)} random directions; those see the average of "
            "all eigenvalues, never a few negative ones."
        )
    return Finding(
        "directional",
        title,
        "B",
        outlook,
        meaning,
        value=value,
        error=error,
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="not convex below",
        details={"directions": rows},
    )


def gradient_spectrum(bench: Workbench) -> Finding:
    """How much of the gradient lies in directions of negative curvature: what conjugate gradients would meet."""
    title = "Share of the gradient in negative curvature"
    if norm(bench.gradient) == 0.0:
        return not_measured("gradient_spectrum", title, "B", "The gradient is zero: it points nowhere.")
    found = spectrum_of_gradient(bench.hessian, bench.gradient, num_steps=bench.level.gradient_steps)
    if found.quadrature is None:
        return not_measured("gradient_spectrum", title, "B", str(found.status))
    mass = found.negative_mass()
    if mass.lower > VISIBLE:
        outlook = Outlook.UNFAVOURABLE
        meaning = (
            f"{mass.value:.1%} of the squared gradient norm lies in negative curvature: an optimiser meets it at once."
        )
        step = "A second phase should use it (newton-cg) or restart from it (cg, lbfgs do); or train on with Adam."
    elif mass.upper <= VISIBLE:
        outlook, step = Outlook.FAVOURABLE, ""
        meaning = "The gradient hardly points into negative curvature: where an optimiser goes, the loss looks convex."
    else:
        outlook = Outlook.UNDECIDED
        meaning = (
            f"Between {mass.lower:.1%} and {mass.upper:.1%} of the squared gradient norm lies in negative curvature; best "
            f"guess {mass.value:.1%}."
        )
        step = "More Lanczos steps (a higher level) would narrow this."
    return Finding(
        "gradient_spectrum",
        title,
        "B",
        outlook,
        f"{meaning} Along the gradient itself the curvature is {found.curvature:.3g}.",
        value=mass.value,
        interval=(mass.lower, mass.upper),
        threshold=VISIBLE,
        threshold_text="visible above",
        status=str(found.status),
        next_step=step,
        details={"nodes": found.nodes.tolist(), "weights": found.weights.tolist(), "curvature": found.curvature},
    )


def second_phase_gain(bench: Workbench) -> Finding:
    r"""What a Newton step would gain: the decrease of :math:`g^\top s + \tfrac12 s^\top H s` along a capped CG's step."""
    title = "Gain of a trial Newton step, as a share of the loss"
    if norm(bench.gradient) == 0.0:
        return not_measured("second_phase_gain", title, "B", "The gradient is zero: there is nothing to gain by it.")
    scale = bench.certificate.lambda_max if bench.certificate is not None else 0.0
    found = capped_conjugate_gradient(
        lambda vector: bench.hessian @ vector,
        bench.gradient,
        damping=1e-3 * max(scale, 0.0) or 1e-6,
        tolerance=1e-2,
        max_products=bench.level.cg_products,
    )
    met = found.kind is DirectionKind.NEGATIVE_CURVATURE
    step = found.solution
    promised = 0.0
    if norm(step) > 0.0:
        promised = -(dot(bench.gradient, step) + 0.5 * dot(step, bench.hessian @ step))
    actual = bench.loss - float(bench.problem.loss((bench.params.double() + step.double()).to(bench.params.dtype)))
    share = actual / abs(bench.loss) if bench.loss != 0.0 else math.nan
    details = {
        "model_decrease": promised,
        "actual_decrease": actual,
        "kind": found.kind.name,
        "lowest_curvature": found.lowest_curvature,
        "num_products": found.num_products,
        "residual": found.residual,
    }
    told = (
        f"{found.num_products} conjugate-gradient products give a step that should lower the loss by {promised:.3g} and lowers "
        f"it by {actual:.3g}"
    )
    if met:
        told += f"; they stopped at negative curvature ({found.lowest_curvature:.3g})"
    if share >= PROMISING:
        outlook = Outlook.FAVOURABLE
        meaning, advice = f"{told}: {share:.0%} of the loss, so a second phase has much to gain here.", ""
    elif actual > 0.0:
        outlook = Outlook.NEUTRAL
        meaning, advice = f"{told}: {share:.1%} of the loss.", "More than one such step is what a second phase makes."
    else:
        outlook = Outlook.UNFAVOURABLE
        meaning = f"{told}: the quadratic model does not hold as far as that."
        advice = "A second phase needs its line search here; whole Newton steps would fail."
    return Finding(
        "second_phase_gain",
        title,
        "B",
        outlook,
        meaning,
        value=share,
        threshold=PROMISING,
        threshold_text="promising from",
        status=str(found.kind),
        next_step=advice,
        details=details,
    )
